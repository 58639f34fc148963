"""Makes copies of the boards that are read, and makes those again that are lost or stay behind. One process at a time does."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

import msgspec
import structlog

from questline.cache.board_meters import BoardMeters
from questline.cache.ranks import Ranks
from questline.cache.redis import Gone
from questline.model.board_copies import Marks
from questline.model.limits import (
    BOARD_COPY_AGAIN_SECONDS,
    BOARD_COPY_BEHIND_SECONDS,
    BOARD_COPY_ENTRIES_MIN,
    BOARD_COPY_PAGE,
)
from questline.store import board_copies as store
from questline.store import boards
from questline.store.board_copies import Copied
from questline.store.pool import Connection, close, connect, renew_plans

log = structlog.get_logger(__name__)

_NOTED_SECONDS = 60.0
_AGAIN_FACTOR = 10  # a copy is made again no sooner than after so many times what it took
_FIRST_USER = -(1 << 63)

Board = tuple[int, int]  # project, board period


class Pace(msgspec.Struct, frozen=True):
    """From how many entries on a board is copied; how long a copy may miss a change; how soon it is made again."""

    entries_min: int = BOARD_COPY_ENTRIES_MIN
    behind_seconds: float = BOARD_COPY_BEHIND_SECONDS
    again_seconds: float = BOARD_COPY_AGAIN_SECONDS


class _Watched(msgspec.Struct):
    """A whole copy: the marks it must reach, since when, and those it had when it was looked at last."""

    due: Marks
    since: float
    had: Marks


class BoardCopies:
    """Looks after all copies of a database, when it is the one to do so."""

    def __init__(
        self,
        dsn: str,
        ranks: Ranks,
        meters: BoardMeters,
        now: Callable[[], datetime],
        pace: Pace = Pace(),  # noqa: B008
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dsn = dsn
        self._ranks = ranks
        self._meters = meters
        self._now = now
        self._pace = pace
        self._clock = clock
        self._conn: Connection | None = None
        self._watched: dict[str, _Watched] = {}
        self._rest_until: dict[Board, float] = {}
        self._noted_at = -_NOTED_SECONDS

    async def run_once(self, stop: asyncio.Event | None = None) -> None:
        """Compare all copies with PostgreSQL, and make those that are wanted; `stop` ends it between two pages."""
        if not self._ranks.usable:
            return
        try:
            conn = await self._lead()
            if conn is not None:
                await self._look_after(conn, stop or asyncio.Event())
        except Gone as gone:
            log.info("board_copies.waiting", fault=str(gone))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Let another process look after the copies."""
        conn, self._conn = self._conn, None
        if conn is not None:
            await close(conn)

    async def _lead(self) -> Connection | None:
        """Return the connection whose session leads; None: another process does."""
        if self._conn is None or self._conn.is_closed():
            conn = await connect(self._dsn)
            if not await store.lead_alone(conn):
                await close(conn)
                return None
            self._conn = conn
            self._watched.clear()
        await renew_plans(self._conn)
        return self._conn

    async def _look_after(self, conn: Connection, stop: asyncio.Event) -> None:
        wanted = await self._ranks.wanted()
        copied = await store.copies(conn)
        again: dict[Board, tuple[bool, str]] = {}
        whole, old = [], {(copy.project_id, copy.board_period): copy.copy for copy in copied}
        for copy in copied:
            board = (copy.project_id, copy.board_period)
            state = await self._ranks.check(copy.copy)
            dense = wanted.get(board, state.dense)
            if state.state != "whole":
                again[board] = (dense, "lost")
            elif board not in wanted:
                await store.end(conn, *board)
                await self._ranks.drop(copy.copy)
            elif self._stays_behind(copy, state.marks):
                again[board] = (dense, "behind")
            elif dense and not state.dense:
                again[board] = (True, "wanted")
            else:
                whole.append(board)
        self._watched = {name: watched for name, watched in self._watched.items() if name in set(old.values())}
        self._meters.copies.set(len(whole))
        await self._note(conn, list(old))
        new = [board for board in wanted if board not in old]
        large = await store.sizes(conn, new) if new else {}
        again |= {b: (wanted[b], "wanted") for b in new if large.get(b, 0) >= self._pace.entries_min}
        for board, (dense, why) in again.items():
            if stop.is_set():
                return
            if self._clock() >= self._rest_until.get(board, 0.0):
                await self._make(conn, board, dense, why, stop)
                if board in old:
                    await self._ranks.drop(old[board])

    def _stays_behind(self, copy: Copied, marks: Marks) -> bool:
        """Tell whether a copy misses a change for too long, or has one that PostgreSQL does not have."""
        now = self._clock()
        watched = self._watched.get(copy.copy)
        if watched is None:
            self._watched[copy.copy] = _Watched(copy.marks, now, marks)
            return False
        ahead = any(stamp > copy.marks.get(shard, 0) for shard, stamp in watched.had.items())
        watched.had = marks
        if all(marks.get(shard, 0) >= stamp for shard, stamp in watched.due.items()):
            watched.due, watched.since = copy.marks, now
        return ahead or now - watched.since > self._pace.behind_seconds

    async def _make(self, conn: Connection, board: Board, dense: bool, why: str, stop: asyncio.Event) -> None:
        """Make a copy under a new name. What is committed from its beginning on is sent to it by the writers."""
        copy, started = uuid4(), self._clock()
        name = str(copy)
        self._rest_until[board] = started + self._pace.again_seconds
        if why == "lost":  # with it Redis may have lost who wanted it
            await self._ranks.note_wanted(*board, dense)
        async with conn.transaction():
            await boards.lock_alone(conn, board[0])
            await store.begin(conn, *board, copy, self._now())
            await self._ranks.begin(name, dense)
        entries, last = 0, _FIRST_USER
        while page := await store.page(conn, *board, last, BOARD_COPY_PAGE):
            if stop.is_set() or not await self._ranks.fill(name, [place for _, place in page]):
                return
            entries, last = entries + len(page), page[-1][0]
        if await self._ranks.finish(name):
            took = self._clock() - started
            self._rest_until[board] = self._clock() + max(self._pace.again_seconds, _AGAIN_FACTOR * took)
            self._meters.built.labels(why).inc()
            log.info("board_copies.made", board=board, entries=entries, why=why, seconds=round(took, 1))

    async def _note(self, conn: Connection, copied: list[Board]) -> None:
        """Say now and then that the copies are looked after, which they are not for long where Redis is set no more."""
        now = self._clock()
        if now - self._noted_at < _NOTED_SECONDS:
            return
        self._noted_at = now
        self._rest_until = {board: until for board, until in self._rest_until.items() if until > now}
        await store.looked_after(conn, copied, self._now())
