"""Token buckets in Redis: all processes take from the same ones, so limits hold for them together, and exactly."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from redis.asyncio import Redis

from questline.cache.buckets import Ask, Level, MemoryBuckets
from questline.cache.redis import Gone, RedisClient
from questline.model.limits import REDIS_TAKES_AT_ONCE

_TAKE = """
-- Take from buckets, or from none of a take where one lacks tokens: the same arithmetic as MemoryBuckets.
-- KEYS: the buckets of all takes in turn. ARGV: the time in seconds, or '' for the server's; then for each take how many
-- buckets it asks, and for each of these its rate, its room and the tokens wanted. Returns what each has left and how
-- long it is until it has what was wanted, as text. What was given to one take is gone for the next.
local now = tonumber(ARGV[1])
if not now then
    local time = redis.call('TIME')
    now = time[1] + time[2] / 1000000
end
local answer, key, position = {}, 0, 2
while position <= #ARGV do
    local asked, levels, short = tonumber(ARGV[position]), {}, false
    position = position + 1
    for n = 1, asked do
        local rate, room, tokens = tonumber(ARGV[position]), tonumber(ARGV[position + 1]), tonumber(ARGV[position + 2])
        position = position + 3
        local left, at = room, now
        local held = redis.call('GET', KEYS[key + n])
        if held then
            local split = string.find(held, ' ', 1, true)
            left, at = tonumber(string.sub(held, 1, split - 1)), tonumber(string.sub(held, split + 1))
        end
        -- A clock that stepped back gives nothing, and takes nothing.
        left = math.min(room, left + math.max(0, now - at) * rate)
        local wait = math.max(0, (math.min(math.max(tokens, 1), room) - left) / rate)
        short = short or wait > 0
        levels[n] = {left, wait, tokens, rate, room}
    end
    for n = 1, asked do
        local left, wait, tokens, rate, room = unpack(levels[n])
        if tokens > 0 and not short then
            left = left - tokens
            -- Full again it is as good as forgotten.
            local milliseconds = math.ceil((room - left) / rate * 1000) + 1000
            redis.call('SET', KEYS[key + n], string.format('%.17g %.17g', left, now), 'PX', milliseconds)
        end
        answer[#answer + 1] = string.format('%.17g', left)
        answer[#answer + 1] = string.format('%.17g', wait)
    end
    key = key + asked
end
return answer
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
        arguments: list[Any] = ["" if self._clock is None else repr(self._clock())]
        for asks in takes:
            arguments.append(len(asks))
            for ask in asks:
                arguments += (ask.limit.per_second, ask.limit.room, ask.tokens)

        async def question(redis: Redis) -> list[bytes]:
            found: list[bytes] = await self._script(keys=keys, args=arguments, client=redis)
            return found

        numbers = iter(map(float, await self._client.ask("buckets", question)))
        return [[Level(ask.limit, next(numbers), next(numbers)) for ask in asks] for asks in takes]


def _text(bucket: Hashable) -> str:
    return ":".join(map(str, bucket)) if isinstance(bucket, tuple) else str(bucket)
