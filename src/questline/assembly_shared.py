"""The part of the composition root that builds what API processes share through Redis. Without Redis there is none of it."""

import asyncio
from collections.abc import Callable

from questline.api.auth import Find, KeyRing
from questline.api.shared_keys import SharedKeys
from questline.cache.buckets import MemoryBuckets
from questline.cache.entries import MemoryEntries
from questline.cache.fanout import GAP
from questline.cache.redis import RedisClient
from questline.cache.redis_buckets import RedisBuckets
from questline.cache.redis_entries import RedisEntries
from questline.cache.redis_fanout import RedisFanOut
from questline.ingest.meters import IngestMeters
from questline.ingest.seen import Seen
from questline.model.limits import CACHE_MEMORY_ENTRIES_MAX
from questline.store.history import History
from questline.store.pool import Pool

_ACCESS = "access"


class Shared:
    """What one API process shares with the others."""

    def __init__(self, client: RedisClient, pool: Pool, clock: Callable[[], float] | None) -> None:
        """`clock` is what limits of requests go by, in seconds; None: that of Redis."""
        self._client = client
        self._clock = clock
        self._history = History(pool)
        self._fan_out = RedisFanOut(client)
        self._forget: list[Callable[[str], None]] = []

    def buckets(self, name: str, memory: MemoryBuckets) -> RedisBuckets:
        """Return buckets of all processes; while Redis is gone those in memory are asked."""
        return RedisBuckets(self._client, f"rates:{name}", memory, self._clock)

    def seen(self, meters: IngestMeters) -> Seen:
        """Return what processes know to be stored."""
        return Seen(self._entries("seen"), self._history, meters)

    def keys(self, find: Find) -> SharedKeys:
        """Return a cache in front of how keys are found."""
        return SharedKeys(find, self._entries("keys"), self._history)

    def announcements(self, keys: SharedKeys, ring: KeyRing) -> tuple[Callable[[str], None], Callable[[bool], None]]:
        """Return what is to be told of revocations, and of whether they are heard of: the cache first, then the ring."""
        self._forget = [keys.forget, ring.forget]

        def hears(hears: bool) -> None:
            keys.hears(hears)
            ring.hears(hears)

        return self._heard, hears

    def begin(self) -> list["asyncio.Task[None]"]:
        """Begin to listen; the tasks run until they are cancelled."""
        return [asyncio.create_task(work) for work in (self._history.run(), self._fan_out.run(), self._hear())]

    def _entries(self, name: str) -> RedisEntries:
        return RedisEntries(self._client, name, MemoryEntries(CACHE_MEMORY_ENTRIES_MAX), self._client.meters)

    def _heard(self, announced: str) -> None:
        """Forget, and tell the others: one whose connection to PostgreSQL is lost just now hears of it all the same."""
        self._forget_it(announced)
        self._fan_out.publish(_ACCESS, announced.encode())

    def _forget_it(self, announced: str) -> None:
        for forget in self._forget:
            forget(announced)

    async def _hear(self) -> None:
        async with self._fan_out.subscribed(_ACCESS) as subscription:
            async for message in subscription:
                if message is not GAP:  # what was lost PostgreSQL tells, or is waited for as without Redis
                    self._forget_it(message.decode())
