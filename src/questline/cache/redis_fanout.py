"""Fan-out through Redis: publish and subscribe, between all processes."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from questline.cache.fanout import MemoryFanOut, Subscription
from questline.cache.redis import FAULTS, Gone, RedisClient
from questline.model.limits import (
    FANOUT_PROBE_SECONDS,
    FANOUT_WAITING_MAX,
    REDIS_CONNECT_SECONDS,
    REDIS_PROBE_SECONDS_MAX,
    REDIS_PROBE_SECONDS_MIN,
)

log = structlog.get_logger(__name__)

_USE = "fanout"


class RedisFanOut:
    """Fan-out between processes. While Redis is gone each hears itself alone; all are told a gap when it is back.

    `run` listens; without it only what this process tells is passed on.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._prefix = f"{client.prefix}{_USE}:".encode()
        self._memory = MemoryFanOut()
        self._pubsub: Any = None  # while it listens
        self._confirmed: dict[str, asyncio.Event] = {}
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._flying: asyncio.Task[None] | None = None
        self._lost = False
        client.tells(self._told)

    def publish(self, channel: str, message: bytes) -> None:
        """See FanOut."""
        assert channel, "the channel without a name is for gaps"
        if self._pubsub is None or not self._client.usable:
            self._memory.publish(channel, message)
        if not self._client.usable or len(self._waiting) >= FANOUT_WAITING_MAX:
            self._lost = True
            return
        self._send(channel, message)

    @asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[Subscription]:
        """See FanOut."""
        with self._memory.listening(channel) as subscription:
            await self._begin(channel)
            try:
                yield subscription
            finally:
                if self._memory.listeners(channel) == 1:  # this one, which leaves
                    await self._end(channel)

    async def run(self) -> None:
        """Listen until cancelled."""
        pause_seconds = REDIS_PROBE_SECONDS_MIN
        while True:
            pubsub = self._client.pubsub()
            try:
                async with asyncio.timeout(REDIS_CONNECT_SECONDS):
                    channels = self._memory.channels()
                    self._confirmed = {channel: asyncio.Event() for channel in channels}
                    await pubsub.subscribe(*(self._prefix + channel.encode() for channel in ("", *channels)))
                pause_seconds = REDIS_PROBE_SECONDS_MIN
                self._pubsub = pubsub
                await self._listen(pubsub)
            except FAULTS as fault:
                # One that is slow to be connected may answer questions in time all the same: these find that out.
                if self._pubsub is not None or not isinstance(fault, TimeoutError | RedisTimeoutError):
                    self._client.lost(_USE, fault)
            finally:
                self._pubsub = None
                with suppress(*FAULTS):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, REDIS_PROBE_SECONDS_MAX)

    async def _listen(self, pubsub: Any) -> None:
        """Pass on what is heard; raises when the connection is lost, or silent although it was asked."""
        asked = False
        while True:
            message = await pubsub.get_message(timeout=FANOUT_PROBE_SECONDS)
            if message is None:
                if asked:
                    raise TimeoutError("the connection that listens is silent")
                await pubsub.ping()
                asked = True
                continue
            asked = False
            channel = (message["channel"] or b"")[len(self._prefix) :].decode()
            if message["type"] == "message":
                if channel:
                    self._memory.publish(channel, message["data"])
                else:
                    self._memory.tell_gap()
            elif message["type"] == "subscribe":
                if not channel:
                    self._memory.tell_gap()  # what was told before
                elif channel in self._confirmed:
                    self._confirmed[channel].set()

    async def _begin(self, channel: str) -> None:
        """Subscribe, and wait until that is so; where Redis is gone it is once it is back."""
        if self._pubsub is None:
            return
        confirmed = self._confirmed.get(channel)
        with suppress(*FAULTS):
            async with asyncio.timeout(REDIS_CONNECT_SECONDS):
                if confirmed is None:
                    confirmed = self._confirmed[channel] = asyncio.Event()
                    await self._pubsub.subscribe(self._prefix + channel.encode())
                await confirmed.wait()

    async def _end(self, channel: str) -> None:
        self._confirmed.pop(channel, None)
        if self._pubsub is not None:
            with suppress(*FAULTS):
                await self._pubsub.unsubscribe(self._prefix + channel.encode())

    def _told(self, usable: bool) -> None:
        """Tell all of a gap once Redis is back, if something of this process never reached it."""
        if usable and self._lost:
            self._lost = False
            self._send("", b"")

    def _send(self, channel: str, message: bytes) -> None:
        self._waiting.append((channel, message))
        if self._flying is None:
            self._flying = asyncio.create_task(self._fly())

    async def _fly(self) -> None:
        try:
            while self._waiting:
                channel, message = self._waiting.popleft()
                name = self._prefix + channel.encode()

                async def question(redis: Redis, name: bytes = name, message: bytes = message) -> None:
                    await redis.publish(name, message)

                try:
                    await self._client.ask(_USE, question)
                except Gone:
                    self._lost = True
                    if channel:
                        self._memory.publish(channel, message)
        finally:
            self._flying = None
