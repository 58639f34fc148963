"""Fan-out: what one process tells, all hear who have subscribed, now. Nothing is kept for those who come later.

`FanOut` is the interface. A message may be lost, or come twice; whoever may have lost one is told `GAP` in its place, and
asks the database for what it needs to know.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from enum import Enum
from typing import Final, Protocol

from questline.model.limits import FANOUT_WAITING_MAX


class Gap(Enum):
    """Stands for messages that were lost."""

    GAP = "gap"


GAP: Final = Gap.GAP
Heard = bytes | Gap


class Subscription:
    """What one subscriber has still to hear, at most so many messages: of one that is too slow all are dropped for a gap."""

    def __init__(self, waiting_max: int = FANOUT_WAITING_MAX) -> None:
        self._waiting_max = waiting_max
        self._waiting: deque[Heard] = deque()
        self._arrived = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[Heard]:
        return self

    async def __anext__(self) -> Heard:
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    def offer(self, heard: Heard) -> None:
        """Have it hear something; two gaps on end are one."""
        if len(self._waiting) >= self._waiting_max:
            self._waiting.clear()
            heard = GAP
        if heard is not GAP or not self._waiting or self._waiting[-1] is not GAP:
            self._waiting.append(heard)
        self._arrived.set()


class FanOut(Protocol):
    """What messages go through."""

    def publish(self, channel: str, message: bytes) -> None:
        """Tell all subscribers of a channel, soon; nobody waits for it."""
        ...

    def subscribed(self, channel: str) -> AbstractAsyncContextManager[Subscription]:
        """Yield a subscription, which hears what is told from then on."""
        ...


class MemoryFanOut:
    """Fan-out within one process."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}

    def publish(self, channel: str, message: bytes) -> None:
        """See FanOut."""
        for subscription in self._subscriptions.get(channel, ()):
            subscription.offer(message)

    @asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[Subscription]:
        """See FanOut."""
        with self.listening(channel) as subscription:
            yield subscription

    @contextmanager
    def listening(self, channel: str) -> Iterator[Subscription]:
        """Yield a subscription within this process."""
        subscription = Subscription()
        self._subscriptions.setdefault(channel, set()).add(subscription)
        try:
            yield subscription
        finally:
            subscriptions = self._subscriptions[channel]
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._subscriptions[channel]

    def listeners(self, channel: str) -> int:
        """Return how many have subscribed to a channel here."""
        return len(self._subscriptions.get(channel, ()))

    def channels(self) -> list[str]:
        """Return the channels that somebody here has subscribed to."""
        return list(self._subscriptions)

    def tell_gap(self) -> None:
        """Tell all that they may have lost something."""
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.offer(GAP)
