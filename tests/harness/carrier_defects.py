"""Defects of the carriers that a harness must catch; twins of those in defects.py."""

import asyncio
from collections.abc import Callable
from typing import Any

from .defects import keep


def acked_on_arrival() -> None:
    """Messages of RabbitMQ are acknowledged before their events are applied, and nobody looks at the rows again."""
    from questline.store import relay
    from questline.transport.rabbitmq_inbox import Delivery, Inbox

    bring, acknowledge = Inbox.next, Inbox.acknowledge

    def next_(self: Inbox, partitions: Any, wanted: int) -> list[Delivery]:
        found = bring(self, partitions, wanted)
        for delivery in found:
            acknowledge(self, delivery)
        return found

    Inbox.next = next_  # type: ignore[method-assign]
    Inbox.acknowledge = lambda *_: None  # type: ignore[method-assign]
    relay.RELAY_UNAPPLIED_SECONDS = 86_400.0  # type: ignore[attr-defined]
    earlier_rows_overlooked()  # which would bring the lost ones with the next of their users


def earlier_rows_overlooked() -> None:
    """What RabbitMQ brought is applied as it comes, whatever waits before it."""
    from questline.store import relay

    still_waiting = relay.still_waiting

    async def brought_alone(conn: Any, events: Any) -> Any:
        brought = {event.id for event in events}
        return [event for event in await still_waiting(conn, events) if event.id in brought]

    relay.still_waiting = brought_alone


def answered_before_the_log() -> None:
    """Single events are answered first, and written to Kafka a moment later."""
    from questline.ingest.accept import Acceptance, Status
    from questline.ingest.log_first import LogAcceptor

    append = LogAcceptor.accept_one

    async def accept_one(self: LogAcceptor, event: Any) -> Acceptance:
        async def later() -> None:
            await asyncio.sleep(0.2)
            await append(self, event)

        keep(later())
        return Acceptance(Status.LOGGED, event.id)

    LogAcceptor.accept_one = accept_one  # type: ignore[method-assign]


def offsets_moved_first() -> None:
    """The offsets of a batch are moved on in a transaction of their own, before the batch is applied."""
    from questline.processing.log_lane import LogLane, OffsetsMoved
    from questline.store import kafka_offsets
    from questline.store.pool import close, connect

    async def _advance(self: Any, _: Any, batch: Any) -> None:
        conn = await connect(self._dsn)
        try:
            if not await kafka_offsets.advance(conn, self._feed.topic, batch.moves):
                raise OffsetsMoved
        finally:
            await close(conn)

    LogLane._advance = _advance  # type: ignore[method-assign]


def noted_before_stored() -> None:
    """A new event's key is put into Redis before the event is stored."""
    from questline.ingest import seen
    from questline.ingest.acceptance import Acceptance, Status

    settle = seen.Seen._settle

    async def noting(self: Any, events: Any, keys: Any, then: Any) -> Any:
        async def note_and_settle(new: Any) -> Any:
            by_id = {event.id: key for event, key in zip(events, keys, strict=True)}
            accepted = [Acceptance(Status.ACCEPTED, event.id) for event in new]
            self._entries.put(seen._news(new, [by_id[event.id] for event in new], accepted), seen.SEEN_SECONDS)
            return await then(new)

        self._share = 1.0
        return await settle(self, events, keys, note_and_settle)

    seen.Seen._settle = noting  # type: ignore[method-assign]


RABBITMQ_DEFECTS: dict[str, Callable[[], None]] = {
    "acked-on-arrival": acked_on_arrival,
    "earlier-rows-overlooked": earlier_rows_overlooked,
}
KAFKA_DEFECTS: dict[str, Callable[[], None]] = {
    "answered-before-the-log": answered_before_the_log,
    "offsets-moved-first": offsets_moved_first,
}
REDIS_DEFECTS: dict[str, Callable[[], None]] = {
    "noted-before-stored": noted_before_stored,
}
DEFECTS = RABBITMQ_DEFECTS | KAFKA_DEFECTS | REDIS_DEFECTS
