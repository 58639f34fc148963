"""The relay: hands waiting events to a broker, and marks in their rows how far each has come.

It runs as a process of its own, as often as wanted. The rows stay until their events are applied, so whatever a relay, a
broker or a worker loses is handed over again: an event may come twice, and is applied once.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec
import structlog

from questline.model.event import WaitingEvent, bytes_of
from questline.model.limits import (
    BACKLOG_MEASURED_SECONDS,
    BATCH_SMALL_BYTES,
    BROKER_BACKOFF_SECONDS_MAX,
    IDLE_POLL_SECONDS,
    IDLE_POLL_SECONDS_MAX,
    MIRROR_BATCH,
    MIRROR_POLL_SECONDS,
    RELAY_BATCH_BYTES,
    RELAY_BATCH_EVENTS,
    RELAY_BATCH_SMALL,
    RELAY_LOOKED_SECONDS,
    RETRY_BACKOFF_SECONDS_MAX,
)
from questline.store import relay
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import Connection, close, connect, renew_plans
from questline.transport.carried import Message, messages_of
from questline.transport.meters import RelayMeters
from questline.transport.pauses import backoff_seconds, pause
from questline.transport.unapplied import Depth, Patience

log = structlog.get_logger(__name__)


class Refusal(StrEnum):
    """Why a broker has not taken a message."""

    RETURNED = "returned"  # there is no queue for it
    REFUSED = "refused"  # the broker said no, for its disk, its memory or a policy
    LOST = "lost"  # no answer: whether it has the message is unknown


class BrokerLost(Exception):
    """The broker did not confirm in time, the connection ended, or a queue is gone."""


class Publisher(Protocol):
    """One connection to a broker. `lost`: partitions of which the broker had forgotten everything when it was opened."""

    lost: Sequence[int]

    async def publish(self, messages: Sequence[Message]) -> list[Refusal | None]:
        """Hand messages over; return for each None once the broker has it for good, or why it has not. Never raises."""

    async def mirror(self, letters: Sequence[bytes]) -> bool:
        """Tell of dead letters, each a JSON document; return whether the broker has them all."""

    async def depths(self, partitions: Sequence[int]) -> dict[int, Depth]:
        """Return what the broker holds of partitions; raises one of the faults of opening."""

    async def close(self) -> None:
        """Leave."""


class Relay:
    """Works until told to stop; outlives the loss of the broker and of PostgreSQL."""

    def __init__(
        self,
        dsn: str,
        open_publisher: Callable[[], Awaitable[Publisher]],
        faults: tuple[type[Exception], ...],
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        meters: RelayMeters,
        lanes: int,
    ) -> None:
        """`faults` are what opening a publisher raises where the broker cannot be reached."""
        self._dsn = dsn
        self._open_publisher = open_publisher
        self._faults = (*TRANSIENT_FAULTS, *faults, BrokerLost)
        self._clock = clock
        self._meters = meters
        self._owners = [new_id() for _ in range(lanes)]
        self._alive_at = [0.0] * lanes  # monotonic time of the last finished round
        self._leasing, self._opening = asyncio.Lock(), asyncio.Lock()
        self._refusals: dict[int, int] = {}  # by partition, since its last message was confirmed
        self._patience = Patience()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what is being handed over is finished."""
        async with asyncio.TaskGroup() as tasks:
            for lane in range(len(self._owners)):
                tasks.create_task(self._keep(f"lane {lane}", self._handing_over(lane), stop))
            tasks.create_task(self._keep("aftercare", self._aftercare, stop))
            tasks.create_task(self._measuring(stop))

    def idle_seconds(self) -> float:
        """Return how long ago the slowest lane finished a round; a large number means that the broker or PostgreSQL is gone."""
        return time.monotonic() - min(self._alive_at)

    async def _keep(
        self, name: str, work: Callable[[Connection, Publisher, asyncio.Event], Awaitable[None]], stop: asyncio.Event
    ) -> None:
        """Do work on connections to both sides, and begin again with new ones when either fails."""
        tries = 0
        while not stop.is_set():
            began = time.monotonic()
            try:
                conn = await connect(self._dsn)
                try:
                    async with self._opening:  # whoever is first makes the queues
                        publisher = await self._open_publisher()
                    try:
                        if publisher.lost:
                            await relay.forget(conn, publisher.lost)
                        await work(conn, publisher, stop)
                    finally:
                        await publisher.close()
                finally:
                    await close(conn)
            except Exception as fault:
                tries = 1 if time.monotonic() - began > RETRY_BACKOFF_SECONDS_MAX else tries + 1
                if isinstance(fault, self._faults):
                    log.warning("relay.lost_connection", part=name, fault=repr(fault), tries=tries)
                else:  # a defect, or a broker set up otherwise: it is told of, and work goes on
                    log.exception("relay.failed", part=name, tries=tries)
                await pause(stop, backoff_seconds(tries, BROKER_BACKOFF_SECONDS_MAX))

    def _handing_over(self, lane: int) -> Callable[[Connection, Publisher, asyncio.Event], Awaitable[None]]:
        async def work(conn: Connection, publisher: Publisher, stop: asyncio.Event) -> None:
            wait = IDLE_POLL_SECONDS
            while not stop.is_set():
                await renew_plans(conn)
                async with self._leasing:  # two at once would share out one user's events between them
                    events = await relay.lease(conn, self._owners[lane], RELAY_BATCH_EVENTS, RELAY_BATCH_BYTES)
                if events:
                    await self._hand_over(conn, self._owners[lane], publisher, events)
                self._alive_at[lane] = time.monotonic()
                if len(events) < RELAY_BATCH_SMALL and bytes_of(events) < BATCH_SMALL_BYTES:
                    wait = IDLE_POLL_SECONDS if events else min(2 * wait, IDLE_POLL_SECONDS_MAX)
                    await pause(stop, wait)

        return work

    async def _hand_over(
        self, conn: Connection, owner: UUID, publisher: Publisher, events: Sequence[WaitingEvent]
    ) -> None:
        """Publish events in flight and note what became of them; raises BrokerLost where the broker did not answer."""
        messages = messages_of(events)
        self._meters.in_flight.inc(len(events))
        try:
            answers = await publisher.publish(messages)
        finally:
            self._meters.in_flight.dec(len(events))
        taken = [
            event
            for message, answer in zip(messages, answers, strict=True)
            if answer is None
            for event in message.events
        ]
        if taken:
            await relay.settle(conn, owner, taken, "published")
            self._meters.published.inc(len(taken))
            self._meters.messages.inc(answers.count(None))
        for message, answer in zip(messages, answers, strict=True):
            if answer is None:
                self._refusals.pop(message.partition, None)
            else:
                tries = self._refusals[message.partition] = self._refusals.get(message.partition, 0) + 1
                self._meters.refused.labels(answer.value).inc()
                await relay.settle(conn, owner, message.events, "failed", backoff_seconds(tries))
        if (
            Refusal.LOST in answers or Refusal.RETURNED in answers
        ):  # a queue that is gone is made on the next connection
            raise BrokerLost(
                f"the broker has not taken {len(answers) - answers.count(None)} of {len(answers)} messages"
            )

    async def _aftercare(self, conn: Connection, publisher: Publisher, stop: asyncio.Event) -> None:
        """Do what comes after events were handed over, and is not urgent."""
        look_at = time.monotonic()
        while not stop.is_set():
            await renew_plans(conn)
            if time.monotonic() >= look_at:
                await self._hand_over_again(conn, publisher)
                look_at = time.monotonic() + RELAY_LOOKED_SECONDS
            if await self._mirror(conn, publisher) < MIRROR_BATCH:
                await pause(stop, MIRROR_POLL_SECONDS)

    async def _hand_over_again(self, conn: Connection, publisher: Publisher) -> None:
        """Let go again what was handed over long ago and is not applied, where the broker may have lost it."""
        unapplied = await relay.unapplied(conn)
        depths = await publisher.depths(unapplied) if unapplied else {}
        older_than = self._patience.with_these(depths, time.monotonic())
        if older_than and (rows := Counter(await relay.again(conn, older_than))):
            self._patience.tried(rows, time.monotonic())
            log.warning("relay.handed_over_again", rows=rows.total(), partitions=sorted(rows))

    async def _mirror(self, conn: Connection, publisher: Publisher) -> int:
        """Tell the broker of dead letters that are committed, each at least once; return of how many."""
        letters = await relay.to_mirror(conn, MIRROR_BATCH)
        if letters:
            if not await publisher.mirror([msgspec.json.encode(letter) for _, letter in letters]):
                raise BrokerLost("dead letters were not confirmed")
            await relay.mirrored(conn, letters, self._clock())
            self._meters.mirrored.inc(len(letters))
        return len(letters)

    async def _measuring(self, stop: asyncio.Event) -> None:
        """Measure how far relays are, also while the broker is gone: then it matters."""
        while not stop.is_set():
            try:
                conn = await connect(self._dsn)
                try:
                    found = await relay.measure(conn)
                finally:
                    await close(conn)
            except TRANSIENT_FAULTS as fault:
                log.warning("relay.not_measured", fault=repr(fault))
            else:
                ago = 0.0 if found.oldest_at is None else (self._clock() - found.oldest_at).total_seconds()
                self._meters.set_carried(found, max(ago, 0.0))
            await pause(stop, BACKLOG_MEASURED_SECONDS)
