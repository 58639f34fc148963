"""Entries in Redis, shared by all processes."""

import asyncio
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import cast

from redis.asyncio import Redis

from questline.cache.entries import MemoryEntries
from questline.cache.meters import CacheMeters
from questline.cache.redis import Gone, RedisClient
from questline.model.limits import REDIS_ENTRIES_AT_ONCE, REDIS_PUTS_WAITING_MAX

_PUT = """
-- Keep values for a while. KEYS: under these. ARGV: for how many milliseconds; then the values.
for n = 1, #KEYS do
    redis.call('SET', KEYS[n], ARGV[n + 1], 'PX', ARGV[1])
end
"""

Put = tuple[list[bytes], list[bytes], int]  # keys, values, milliseconds


class RedisEntries:
    """Entries of all processes. While Redis is gone each has its own in memory. `name` tells one cache from another."""

    def __init__(self, client: RedisClient, name: str, memory: MemoryEntries, meters: CacheMeters) -> None:
        self._client = client
        self._name = name
        self._prefix = f"{client.prefix}{name}:".encode()
        self._memory = memory
        self._hits = meters.looked_up.labels(name, "hit")
        self._misses = meters.looked_up.labels(name, "miss")
        self._script = client.script(_PUT)
        self._waiting: deque[Put] = deque()
        self._entries_waiting = 0
        self._flying: asyncio.Task[None] | None = None

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See Entries."""
        if not keys:
            return []
        prefix = self._prefix
        names = [prefix + key for key in keys]

        async def question(redis: Redis) -> list[bytes | None]:
            return cast(list[bytes | None], await redis.mget(names))

        try:
            found = await self._client.ask(self._name, question)
        except Gone:
            found = await self._memory.get(keys)
        misses = found.count(None)
        self._misses.inc(misses)
        self._hits.inc(len(found) - misses)
        return found

    def put(self, entries: Mapping[bytes, bytes], seconds: float) -> None:
        """See Entries."""
        if not entries:
            return
        if not self._client.usable:
            self._memory.put(entries, seconds)
            return
        if self._entries_waiting >= REDIS_PUTS_WAITING_MAX:
            return
        keys, values = list(entries), list(entries.values())
        for first in range(0, len(keys), REDIS_ENTRIES_AT_ONCE):
            part = slice(first, first + REDIS_ENTRIES_AT_ONCE)
            self._waiting.append((keys[part], values[part], math.ceil(seconds * 1000)))
        self._entries_waiting += len(keys)
        if self._flying is None:
            self._flying = asyncio.create_task(self._fly())

    async def _fly(self) -> None:
        try:
            while self._waiting:
                keys, values, milliseconds = self._waiting.popleft()
                self._entries_waiting -= len(keys)
                try:
                    await self._put(keys, values, milliseconds)
                except Gone:
                    self._memory.put(dict(zip(keys, values, strict=True)), milliseconds / 1000)
        finally:
            self._flying = None

    async def _put(self, keys: list[bytes], values: list[bytes], milliseconds: int) -> None:
        names = [self._prefix + key for key in keys]

        async def question(redis: Redis) -> None:
            await self._script(keys=names, args=[milliseconds, *values], client=redis)

        await self._client.ask(self._name, question)
