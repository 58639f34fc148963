"""Token buckets in Redis: all processes take from the same ones, so limits hold for them together, and exactly."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import cast

import msgspec
from redis.asyncio import Redis

from questline.cache.buckets import Ask, Level, MemoryBuckets
from questline.cache.redis import Gone, RedisClient
from questline.model.limits import REDIS_TAKES_AT_ONCE

_TAKE = """
-- Take from buckets, or from none of a take where one lacks tokens: the same arithmetic as MemoryBuckets.
-- KEYS: the buckets of all takes in turn. ARGV: the time in seconds, or '' for the server's; and in MessagePack the takes, each
-- a list of rate, room and tokens wanted. Returns, likewise, what each bucket has left and how long it is until it has what
-- was wanted. What was given to one take is gone for the next. A bucket is two doubles: what is left, as of when.
local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = time[1] + time[2] / 1000000
end
local answer, key = {}, 0
for _, asks in ipairs(cmsgpack.unpack(ARGV[2])) do
    local levels, short = {}, false
    for n, ask in ipairs(asks) do
        local rate, room, tokens = unpack(ask)
        local left, at = room, now
        local held = redis.call('GET', KEYS[key + n])
        if held then
            left, at = struct.unpack('>dd', held)
        end
        -- A clock that stepped back gives nothing, and takes nothing.
        left = math.min(room, left + math.max(0, now - at) * rate)
        local wait = math.max(0, (math.min(math.max(tokens, 1), room) - left) / rate)
        short = short or wait > 0
        levels[n] = {left, wait}
    end
    for n, ask in ipairs(asks) do
        local rate, room, tokens = unpack(ask)
        local left, wait = unpack(levels[n])
        if tokens > 0 and not short then
            left = left - tokens
            -- Full again it is as good as forgotten.
            local milliseconds = math.ceil((room - left) / rate * 1000) + 1000
            redis.call('SET', KEYS[key + n], struct.pack('>dd', left, now), 'PX', milliseconds)
        end
        answer[#answer + 1] = left
        answer[#answer + 1] = wait
    end
    key = key + #asks
end
return cmsgpack.pack(answer)
"""

Take = tuple[Sequence[Ask], "asyncio.Future[list[Level]]"]


class RedisBuckets:
    """Buckets of all processes, which take whole limits. While Redis is gone each process counts its share in memory.

    `name` tells one kind of buckets from another. Takes that wait for the same answer travel together.
    """

    def __init__(
        self, client: RedisClient, name: str, memory: MemoryBuckets, clock: Callable[[], float] | None = None
    ) -> None:
        """`clock` in seconds is another than the server's own."""
        self._client = client
        self._prefix = f"{client.prefix}{name}:"
        self._memory = memory
        self._clock = clock
        self._script = client.script(_TAKE)
        self._waiting: deque[Take] = deque()
        self._flying: asyncio.Task[None] | None = None

    @property
    def processes(self) -> int:
        """How many processes share a limit while each counts for itself."""
        return self._memory.processes

    @processes.setter
    def processes(self, processes: int) -> None:
        self._memory.processes = processes

    async def take(self, asks: Sequence[Ask]) -> list[Level]:
        """See Buckets."""
        if not self._client.usable:
            return await self._memory.take(asks)
        levels: asyncio.Future[list[Level]] = asyncio.get_running_loop().create_future()
        self._waiting.append((asks, levels))
        if self._flying is None:
            self._flying = asyncio.create_task(self._fly())
        return await levels

    async def _fly(self) -> None:
        try:
            while self._waiting:
                takes = [self._waiting.popleft() for _ in range(min(len(self._waiting), REDIS_TAKES_AT_ONCE))]
                try:
                    answers = await self._asked([asks for asks, _ in takes])
                except Gone:
                    answers = [await self._memory.take(asks) for asks, _ in takes]
                for (_, levels), answer in zip(takes, answers, strict=True):
                    if not levels.done():  # its caller may have gone away
                        levels.set_result(answer)
        finally:
            self._flying = None

    async def _asked(self, takes: Sequence[Sequence[Ask]]) -> list[list[Level]]:
        keys = [self._prefix + _text(ask.bucket) for asks in takes for ask in asks]
        clock = "" if self._clock is None else repr(self._clock())
        wanted = msgspec.msgpack.encode(
            [[(ask.limit.per_second, ask.limit.room, ask.tokens) for ask in asks] for asks in takes]
        )

        async def question(redis: Redis) -> bytes:
            return cast(bytes, await self._script(keys=keys, args=[clock, wanted], client=redis))

        levels = iter(msgspec.msgpack.decode(await self._client.ask("buckets", question), type=list[float]))
        return [[Level(ask.limit, next(levels), next(levels)) for ask in asks] for asks in takes]


def _text(bucket: Hashable) -> str:
    return ":".join(map(str, bucket)) if isinstance(bucket, tuple) else str(bucket)
