"""Copies of boards in Redis: kept by those who write boards, asked by those who read them.

There is no version of this in memory: where Redis is not set, or does not answer, PostgreSQL ranks.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import structlog

from questline.cache import board_scripts
from questline.cache.board_meters import BoardMeters
from questline.cache.redis import Gone, RedisClient
from questline.model.board_copies import Change, CopyState, Marks, Question, Sight, Stretch
from questline.model.limits import (
    BOARD_COPIES_MAX,
    BOARD_COPY_DEADLINE_SECONDS,
    BOARD_COPY_WANTED_SECONDS,
    BOARD_PUSHED_AT_ONCE,
    REDIS_DEADLINE_SECONDS,
)

log = structlog.get_logger(__name__)

_DIGITS = 19
_SIGN = 1 << 63
_ASKED_AGAIN_SECONDS = 30.0
_ASKED_MAX = 10_000
_NONE = CopyState("none", False, {})


class Ranks:
    """Copies by their names. What readers call does without Redis; the other calls raise Gone where it does not answer."""

    def __init__(self, client: RedisClient, meters: BoardMeters, clock: Callable[[], float] = time.monotonic) -> None:
        self.meters = meters
        self._client = client
        self._clock = clock
        self._asked: dict[tuple[int, int, bool], float] = {}
        client.tells(lambda _: self._asked.clear())  # what was asked may be forgotten
        self._wanted_key = f"{client.prefix}boards:wanted"
        self._begin = client.script(board_scripts.BEGIN)
        self._fill = client.script(board_scripts.FILL)
        self._finish = client.script(board_scripts.FINISH)
        self._push = client.script(board_scripts.PUSH)
        self._check = client.script(board_scripts.CHECK)
        self._read = client.script(board_scripts.READ)

    @property
    def usable(self) -> bool:
        """Whether Redis would be asked now."""
        return self._client.usable

    async def read(self, copy: str, question: Question) -> Sight | None:
        """Answer a question by a copy; None: it is not whole, a change is half done, or Redis does not answer."""
        user = b"" if question.user_id is None else (question.user_id + _SIGN).to_bytes(8, "big")
        arguments = [question.ties, question.after, question.limit, user, question.neighbours]
        try:
            answer = await self._ask("board_read", self._read, copy, arguments)
        except Gone:
            return None
        if len(answer) < 3:
            if answer[0] == b"whole" and question.ties == "dense":
                self._asked.clear()  # that it is read as dense is not known there, and is to be said again
            return None
        marks, settled = _marks(answer[2])
        if not settled:
            return None
        return Sight(marks, int(answer[3]), _stretch(answer[4]), _stretch(answer[5]))

    async def want(self, project_id: int, board_period: int, dense: bool) -> None:
        """Say that a board is being read, so that it has a copy and keeps it; now and then, for as long as it is read."""
        key, now = (project_id, board_period, dense), self._clock()
        asked = self._asked.get(key)
        if asked is not None and now - asked < _ASKED_AGAIN_SECONDS:
            return
        if len(self._asked) >= _ASKED_MAX:
            self._asked.clear()
        self._asked[key] = now
        try:
            await self.note_wanted(*key)
        except Gone:
            self._asked.pop(key, None)

    async def note_wanted(self, project_id: int, board_period: int, dense: bool) -> None:
        """Put down that a board is to have a copy."""

        async def note(redis: Any) -> None:
            seconds, _ = await redis.time()
            await redis.zadd(self._wanted_key, {f"{project_id} {board_period} {int(dense)}": seconds})

        await self._client.ask("board_want", note)

    async def wanted(self) -> dict[tuple[int, int], bool]:
        """Return the boards (project, board period) that were read of late, each with whether as dense; the latest if many."""

        async def look(redis: Any) -> list[bytes]:
            seconds, _ = await redis.time()
            await redis.zremrangebyscore(self._wanted_key, "-inf", seconds - BOARD_COPY_WANTED_SECONDS)
            found: list[bytes] = await redis.zrevrange(self._wanted_key, 0, BOARD_COPIES_MAX - 1)
            return found

        boards: dict[tuple[int, int], bool] = {}
        for member in await self._client.ask("board_wanted", look, BOARD_COPY_DEADLINE_SECONDS):
            project_id, board_period, dense = (int(part) for part in member.split())
            board = (project_id, board_period)
            boards[board] = bool(dense) or boards.get(board, False)
        return boards

    async def begin(self, copy: str, dense: bool) -> None:
        """Make an empty copy, which takes changes from now on and is not read."""
        await self._ask("board_fill", self._begin, copy, [int(dense)])

    async def fill(self, copy: str, places: Sequence[bytes]) -> bool:
        """Put entries into a copy that is being filled; False: it is no longer there."""
        for start in range(0, len(places), BOARD_PUSHED_AT_ONCE):
            part = places[start : start + BOARD_PUSHED_AT_ONCE]
            if (await self._ask("board_fill", self._fill, copy, part, BOARD_COPY_DEADLINE_SECONDS))[0] != b"filling":
                return False
        return True

    async def finish(self, copy: str) -> bool:
        """Let a filled copy be read; False: it is no longer there."""
        return bool((await self._ask("board_fill", self._finish, copy, [], BOARD_COPY_DEADLINE_SECONDS))[0] == b"whole")

    async def push(self, change: Change) -> None:
        """Tell a copy of a change; to tell it twice, or late, does no harm. A copy that is not there is not told."""
        stamps = [change.shard, _digits(change.before), _digits(change.stamp)]
        for entries, last in _parts(change.entries):
            arguments = [*stamps, int(last), *(part for entry in entries for part in entry)]
            if (await self._ask("board_push", self._push, change.copy, arguments, BOARD_COPY_DEADLINE_SECONDS))[
                0
            ] == b"none":
                return

    async def check(self, copy: str) -> CopyState:
        """Return how a copy stands, and let it live on."""
        answer = await self._ask("board_check", self._check, copy, [], BOARD_COPY_DEADLINE_SECONDS)
        if len(answer) < 3:
            return _NONE
        return CopyState(answer[0].decode(), answer[1] == 1, _marks(answer[2])[0])

    async def drop(self, copy: str) -> None:
        """Remove a copy."""
        keys = self._keys(copy)

        async def remove(redis: Any) -> None:
            await redis.unlink(*keys)

        await self._client.ask("board_drop", remove, BOARD_COPY_DEADLINE_SECONDS)

    async def _ask(
        self,
        use: str,
        script: Any,
        copy: str,
        arguments: Sequence[Any],
        deadline_seconds: float = REDIS_DEADLINE_SECONDS,
    ) -> Any:
        keys = self._keys(copy)

        def question(redis: Any) -> Awaitable[Any]:
            called: Awaitable[Any] = script(keys=keys, args=arguments, client=redis)
            return called

        return await self._client.ask(use, question, deadline_seconds)

    def _keys(self, copy: str) -> list[str]:
        base = f"{self._client.prefix}board:{copy}:"
        return [base + part for part in ("meta", "marks", "order", "users", "scores")]


def _parts(
    entries: Sequence[tuple[bytes, bytes]],
) -> Iterator[tuple[Sequence[tuple[bytes, bytes]], bool]]:
    """Cut a change into parts that keep nobody waiting; the flag is of the last one."""
    for start in range(0, max(len(entries), 1), BOARD_PUSHED_AT_ONCE):
        end = start + BOARD_PUSHED_AT_ONCE
        yield entries[start:end], end >= len(entries)


def _digits(stamp: int) -> str:
    return f"{stamp:0{_DIGITS}d}"


def _marks(flat: Sequence[bytes]) -> tuple[Marks, bool]:
    """Return the marks by writer, and whether no change waits for one before it."""
    pairs = dict(zip(flat[::2], flat[1::2], strict=True))
    marks = {int(writer): int(stamp) for writer, stamp in pairs.items() if writer.isdigit()}
    return marks, len(marks) == len(pairs)


def _stretch(answer: Sequence[Any]) -> Stretch:
    return Stretch(list(answer[2]), int(answer[0]), int(answer[1]))
