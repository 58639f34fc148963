"""The one way to Redis: every question has a deadline, and a circuit breaker stands in front of all of them.

Redis may be gone, slow or frozen at any moment. The first question that it does not answer opens the breaker: from then
on nobody waits for it (`Gone` at once), while a probe asks it again and again, ever more rarely; once it answers the
breaker closes by itself. Whoever asks has another way to go on: memory, or PostgreSQL.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from questline.cache.meters import CacheMeters
from questline.model.limits import (
    REDIS_ASKED_AT_ONCE,
    REDIS_CONNECT_SECONDS,
    REDIS_DEADLINE_SECONDS,
    REDIS_PROBE_SECONDS_MAX,
    REDIS_PROBE_SECONDS_MIN,
    REDIS_STABLE_SECONDS,
)

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

_GRACE_SECONDS = 0.01
_PROBE_LIVES_MS = 1_000
FAULTS = (RedisError, OSError, TimeoutError)


class Gone(Exception):
    """Redis was not asked, or gave no answer in time. Nobody's mistake: go on without it."""


class RedisClient:
    """Redis as one process sees it. `prefix` begins every key, so that installations may share a server."""

    def __init__(
        self,
        url: str,
        meters: CacheMeters,
        prefix: str = "questline:",
        deadline_seconds: float | None = None,
    ) -> None:
        """Raises ValueError for a URL that is none; nothing is connected before the first question."""
        self._deadline_seconds = deadline_seconds or REDIS_DEADLINE_SECONDS
        self.prefix = prefix
        self.meters = meters
        pool = ConnectionPool.from_url(
            url,
            protocol=2,
            max_connections=2 * REDIS_ASKED_AT_ONCE,  # those given up are closed a moment later
            socket_connect_timeout=REDIS_CONNECT_SECONDS,
            socket_timeout=None,  # the deadline is kept here, for a question as a whole
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._turns = asyncio.Semaphore(REDIS_ASKED_AT_ONCE)
        self._usable = True
        self._closed_at = -REDIS_STABLE_SECONDS
        self._pause_seconds = REDIS_PROBE_SECONDS_MIN
        self._probing: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[bool], None]] = []
        meters.usable.set(1)

    @property
    def usable(self) -> bool:
        """Whether a question would be asked now; False while the breaker is open."""
        return self._usable

    def tells(self, listener: Callable[[bool], None]) -> None:
        """Have somebody told whenever the breaker opens (False) and closes (True): what Redis held may be gone then."""
        self._listeners.append(listener)

    def script(self, lua: str) -> AsyncScript:
        """Return a script to be called within a question, with `client=` the one it is given; it is loaded where needed."""
        return self._redis.register_script(lua)

    def pubsub(self) -> PubSub:
        """Return a connection to listen on, which no deadline holds for. Its faults are told by `lost`."""
        return self._redis.pubsub()

    async def ask(
        self, use: str, question: Callable[[Redis], Awaitable[Answer]], deadline_seconds: float | None = None
    ) -> Answer:
        """Return what a question is answered with; raises Gone. `use` names it in metrics, from a bounded set.

        `deadline_seconds` is for work that nobody waits for.
        """
        deadline_seconds = deadline_seconds or self._deadline_seconds
        if not self._usable:
            raise Gone("the circuit breaker is open")
        started = time.perf_counter()
        asking = asyncio.ensure_future(self._answer(question))
        try:
            await asyncio.wait((asking,), timeout=deadline_seconds)
            if not asking.done():  # was it this process that stood still? Then the answer is at the door
                await asyncio.wait((asking,), timeout=_GRACE_SECONDS)
            if not asking.done():
                raise TimeoutError(f"no answer within {deadline_seconds * 1000:.0f} ms")
            answer = asking.result()
        except FAULTS as fault:
            self.lost(use, fault)
            raise Gone(str(fault)) from fault
        finally:
            asking.cancel()
        self.meters.redis_seconds.labels(use).observe(time.perf_counter() - started)
        return answer

    def lost(self, use: str, fault: BaseException) -> None:
        """Open the breaker, and have Redis probed until it answers."""
        self.meters.redis_faults.labels(use).inc()
        if not self._usable:
            return
        self._usable = False
        self.meters.usable.set(0)
        if time.monotonic() - self._closed_at > REDIS_STABLE_SECONDS:
            self._pause_seconds = REDIS_PROBE_SECONDS_MIN
        log.warning("redis.lost", use=use, fault=repr(fault))
        self._probing = asyncio.get_running_loop().create_task(self._probe())
        self._tell(False)

    async def close(self) -> None:
        """Part with Redis; it is asked nothing more."""
        self._usable = False
        if self._probing is not None:
            self._probing.cancel()
        await self._redis.aclose()  # type: ignore[attr-defined,unused-ignore]
        await self._redis.connection_pool.disconnect()

    async def _answer(self, question: Callable[[Redis], Awaitable[Answer]]) -> Answer:
        async with self._turns:
            return await question(self._redis)

    async def _probe(self) -> None:
        """Ask until Redis takes a write: one that only reads (a replica, a full disk, no memory left) is of no use here."""
        while True:
            await asyncio.sleep(self._pause_seconds * random.uniform(0.8, 1.2))
            self._pause_seconds = min(2 * self._pause_seconds, REDIS_PROBE_SECONDS_MAX)
            try:
                async with asyncio.timeout(REDIS_CONNECT_SECONDS):
                    await self._redis.set(f"{self.prefix}probe", 1, px=_PROBE_LIVES_MS)
                    started = time.perf_counter()
                    await self._redis.ping()
            except FAULTS:
                continue
            if time.perf_counter() - started < self._deadline_seconds:
                break
        self._usable = True
        self._closed_at = time.monotonic()
        self.meters.usable.set(1)
        log.info("redis.back")
        self._tell(True)

    def _tell(self, usable: bool) -> None:
        for listener in self._listeners:
            listener(usable)
