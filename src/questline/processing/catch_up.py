"""Users of whom more events wait than one transaction of commands takes.

Their events are applied first, part by part, on a connection of its own, while their commands wait and others' go on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import structlog

from questline.model.event import AcceptedEvent
from questline.model.limits import (
    CATCH_UP_COMMANDS_MAX,
    CATCH_UP_SECONDS,
    CATCH_UP_USERS_AT_ONCE,
    DRAIN_BYTES_MAX,
    DRAIN_EVENTS_MAX,
)
from questline.processing.apply import Applier
from questline.processing.meters import ProcessingMeters
from questline.store import boards, outbox, users
from questline.store.faults import Remedy, classify
from questline.store.pool import Connection, LockHeld, close, connect, hurried, renew_plans
from questline.store.users import UserKey
from questline.transport.pauses import backoff_seconds

log = structlog.get_logger(__name__)

_TICK_SECONDS = 0.01  # by which a timer may come early

Caller = tuple[AcceptedEvent, "asyncio.Future[Any]"]


class UserBehind(Exception):
    """More of the user's events wait than could be applied in time; nothing was stored. Try again under the same key."""

    retry_after_seconds = 1


class CatchUp:
    """Applies what waits of users who are behind, in turns, and gives their commands back."""

    def __init__(
        self,
        dsn: str,
        applier: Applier,
        meters: ProcessingMeters,
        caught_up: Callable[[Caller], None],
        gave_up: Callable[[Caller, Exception], None],
    ) -> None:
        """`caught_up` takes back a command whose turn has come; `gave_up` one that is turned away, and why."""
        self._dsn = dsn
        self._applier = applier
        self._meters = meters
        self._caught_up = caught_up
        self._gave_up = gave_up
        self._waiting: dict[UserKey, list[Caller]] = {}  # in the order of their turns
        self._commands = 0
        self._deadlines: dict[asyncio.Future[Any], float] = {}  # of callers who were here, until they are answered
        self._came = asyncio.Event()
        self._working: asyncio.Task[None] | None = None
        self._closing = False

    def has(self, caller: Caller) -> bool:
        """Tell whether commands of the same user wait here: this one would have to, too."""
        return _user(caller) in self._waiting

    def add(self, caller: Caller) -> None:
        """Let a command wait until its user's events are applied, for a bounded time however often it comes."""
        future = caller[1]
        if future not in self._deadlines:
            self._deadlines[future] = time.monotonic() + CATCH_UP_SECONDS
            future.add_done_callback(lambda done: self._deadlines.pop(done, None))
        if self._closing or self._commands >= CATCH_UP_COMMANDS_MAX or self._deadlines[future] <= time.monotonic():
            return self._gave_up(caller, UserBehind())
        self._waiting.setdefault(_user(caller), []).append(caller)
        self._commands += 1
        left = self._deadlines[future] - time.monotonic()
        asyncio.get_running_loop().call_later(left + _TICK_SECONDS, self._look_at, _user(caller))
        self._came.set()
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return None

    async def close(self) -> None:
        """Turn away who waits, and stop; what is being applied is given up, and waits as before."""
        self._closing = True
        for key in list(self._waiting):
            self._release(key, UserBehind())
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    async def _work(self) -> None:
        conn: Connection | None = None
        shard = 0
        try:
            while True:
                self._came.clear()
                if not self._waiting:
                    await self._came.wait()
                keys = list(islice(self._waiting, CATCH_UP_USERS_AT_ONCE))
                try:
                    if conn is None:
                        conn = await connect(self._dsn, gives_way=True)
                        shard = await boards.claim_shard(conn)
                    await renew_plans(conn)
                    await self._go_on(conn, shard, keys)
                except Exception as fault:
                    log.warning("commands.not_caught_up", fault=repr(fault), users=len(keys))
                    for key in keys:
                        self._release(key, UserBehind())
                    if conn is not None:
                        conn.terminate()
                        conn = None
        finally:
            if conn is not None:
                await close(conn)

    async def _go_on(self, conn: Connection, shard: int, keys: Sequence[UserKey]) -> None:
        """Apply a part of what waits of these users; where the database refuses it, each user's by itself."""
        try:
            try:
                behind = await self._apply(conn, shard, keys)
            except LockHeld:
                behind = await self._apply_free(conn, shard, keys)
        except Exception as fault:
            remedy = classify(fault).remedy
            if conn.is_closed() or remedy is Remedy.WAIT:
                raise
            self._meters.retries.inc()
            if remedy is Remedy.RETRY:
                await asyncio.sleep(backoff_seconds(1))
                behind = set(keys)
            elif len(keys) > 1:
                for key in keys:
                    await self._go_on(conn, shard, [key])
                return
            else:  # an event is at fault: a worker's lane finds it, and settles that
                log.warning("commands.not_caught_up", fault=repr(fault), users=1)
                self._release(keys[0], UserBehind())
                return
        for key in keys:
            if key not in behind:
                self._release(key, None)
            elif key in self._waiting:  # the others' turn comes first
                self._waiting[key] = self._waiting.pop(key)

    async def _apply_free(self, conn: Connection, shard: int, keys: Sequence[UserKey]) -> set[UserKey]:
        """Apply, project by project, what waits of those whom nobody holds, nor what they need; return who is left."""
        behind: set[UserKey] = set()
        async with hurried(conn):
            for project in {key[0] for key in keys}:
                own = [key for key in keys if key[0] == project]
                try:
                    behind |= await self._apply(conn, shard, own, free=True)
                except LockHeld:
                    behind.update(own)
        return behind

    async def _apply(
        self, conn: Connection, shard: int, keys: Sequence[UserKey], *, free: bool = False
    ) -> set[UserKey]:
        """Apply a part of what waits of these users, or of those whom nobody holds; return of whom more waits."""
        hashes = {key: callers[0][0].user_hash for key in keys if (callers := self._waiting.get(key))}
        async with conn.transaction():
            locked = await users.lock(conn, hashes, hashes if free else ())
            held = hashes.keys() - locked.keys()
            hashes = {key: hashed for key, hashed in hashes.items() if key in locked and not locked[key].parked}
            events, behind = await outbox.drain(conn, hashes, DRAIN_EVENTS_MAX, DRAIN_BYTES_MAX)
            verdicts = await self._applier.apply(conn, shard, events, locked) if events else []
        self._applier.committed(events)
        self._meters.count(verdicts, self._applier.now())
        return behind | held

    def _look_at(self, key: UserKey) -> None:
        """Turn away those of a user's commands that have waited for too long."""
        now = time.monotonic()
        callers = self._waiting.get(key, [])
        late = [caller for caller in callers if self._deadlines.get(caller[1], now) <= now]
        if not late:
            return
        self._waiting[key] = [caller for caller in callers if caller not in late]
        if not self._waiting[key]:
            del self._waiting[key]
        self._commands -= len(late)
        for caller in late:
            self._gave_up(caller, UserBehind())

    def _release(self, key: UserKey, error: Exception | None) -> None:
        """Give a user's commands back, or turn them away."""
        callers = self._waiting.pop(key, [])
        self._commands -= len(callers)
        for caller in callers:
            if error is None and not caller[1].done():
                self._caught_up(caller)
            else:  # or its caller went away: nothing of it is stored
                self._gave_up(caller, error or UserBehind())


def _user(caller: Caller) -> UserKey:
    return caller[0].project_id, caller[0].user
