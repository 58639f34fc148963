"""The part of the composition root that chooses caches: Redis where it is set, and nothing at all where it is not."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from questline.cache.board_meters import BoardMeters
from questline.cache.meters import CacheMeters
from questline.model.board_copies import Change
from questline.model.limits import BOARD_COPIES_CHECKED_SECONDS, SHUTDOWN_SECONDS_MAX
from questline.outward.board_changes import BoardChanges
from questline.processing.services import keep_doing
from questline.settings import SettingError, Settings, variable_of
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.history import installation_of
from questline.store.pool import Connection, Pool, close, connect
from questline.transport.pauses import backoff_seconds, pause

if TYPE_CHECKING:
    from questline.cache.ranks import Ranks
    from questline.cache.redis import RedisClient

log = structlog.get_logger(__name__)


async def open_redis(settings: Settings, registry: CollectorRegistry, pool: Pool | Connection) -> "RedisClient | None":
    """Return the way to Redis, None where it is not set; raises SettingError. It need not be there yet.

    Its keys begin with the name of the database that the pool is of.
    """
    if not settings.redis_url:
        return None
    client = _client(settings, registry)
    client.prefix = await _prefix(pool)
    return client


async def close_redis(client: "RedisClient | None", boards: "BoardsRead | None") -> None:
    """Part with Redis, after what waits is sent."""
    if boards is not None:
        await boards.close()
    if client is not None:
        await client.close()


def _client(settings: Settings, registry: CollectorRegistry) -> "RedisClient":
    """Return a client whose prefix is not known yet."""
    variable = variable_of("redis_url")
    try:
        from questline.cache.redis import RedisClient
    except ImportError as error:
        message = f"{variable} is set, and redis-py is not installed: pip install 'questline[redis]'"
        raise SettingError(message) from error
    try:
        return RedisClient(settings.redis_url, CacheMeters(registry))
    except ValueError as error:
        raise SettingError(f"{variable} cannot be used: {error}") from None


async def _prefix(pool: Pool | Connection) -> str:
    return f"questline:{await installation_of(pool)}:"


class BoardsRead:
    """Copies of boards as an API process uses them: its readers ask them, its commands tell them what changed."""

    def __init__(self, client: "RedisClient", registry: CollectorRegistry) -> None:
        from questline.cache.ranks import Ranks

        meters = BoardMeters(registry)
        self.ranks = Ranks(client, meters)
        changes = BoardChanges(meters)
        self.send = changes.send
        self._stop = asyncio.Event()
        self._sending = asyncio.create_task(changes.run(self.ranks, self._stop))

    async def close(self) -> None:
        """Send what waits, for a while."""
        self._stop.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._sending, SHUTDOWN_SECONDS_MAX)


class BoardsKept:
    """Copies of boards as a worker keeps them: its lanes tell them what changed, and it makes those that are wanted."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, now: Callable[[], datetime]) -> None:
        """Raises SettingError."""
        self._dsn = settings.dsn
        self._now = now
        self._client = _client(settings, registry)
        self._meters = BoardMeters(registry)
        self._changes = BoardChanges(self._meters)

    def send(self, changes: Sequence[Change]) -> None:
        """See processing.worker.Copies."""
        self._changes.send(changes)

    async def run(self, stop: asyncio.Event) -> None:
        """See processing.worker.Copies."""
        from questline.outward.board_copies import BoardCopies

        ranks = await self._open(stop)
        if ranks is None:
            return
        copies = BoardCopies(self._dsn, ranks, self._meters, self._now)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._changes.run(ranks, stop))
                keep = partial(copies.run_once, stop)
                both.create_task(keep_doing("board_copies", keep, stop, BOARD_COPIES_CHECKED_SECONDS))
        finally:
            await copies.close()
            await self._client.close()

    async def _open(self, stop: asyncio.Event) -> "Ranks | None":
        """Return the copies once PostgreSQL said whose they are; None: told to stop before."""
        from questline.cache.ranks import Ranks

        faults = 0
        while not stop.is_set():
            try:
                conn = await connect(self._dsn)
                try:
                    self._client.prefix = await _prefix(conn)
                    return Ranks(self._client, self._meters)
                finally:
                    await close(conn)
            except TRANSIENT_FAULTS as fault:
                faults += 1
                log.warning("board_copies.waiting", fault=repr(fault))
                await pause(stop, backoff_seconds(faults))
        return None
