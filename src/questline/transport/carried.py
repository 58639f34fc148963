"""Events as a message carries them through a broker: some hundred of one partition, in MessagePack."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from questline.model.event import WaitingEvent, size_of
from questline.model.limits import RELAY_MESSAGE_BYTES, RELAY_MESSAGE_EVENTS

FORM = "questline.events.1"  # the message's type; another form gets another number, and old workers leave it alone

# The fields of WaitingEvent by their order, without those that tell of tries: what a broker carries was not tried.
_Row = tuple[
    UUID, int, str, str, str, datetime, datetime, str | None, str | None, int, int, int, str | None, str | None, str | None
]  # fmt: skip

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decode = msgspec.msgpack.Decoder(list[_Row]).decode


class Message(msgspec.Struct, frozen=True):
    """Events of one partition on their way, in the order of the queue."""

    partition: int
    events: Sequence[WaitingEvent]

    def body(self) -> bytes:
        """Return the events as bytes."""
        return _encode([_row(event) for event in self.events])


class Unreadable(ValueError):
    """A message that no relay of ours made, or one of another version."""


def events_of(body: bytes) -> list[WaitingEvent]:
    """Return the events of a message's body; raises Unreadable."""
    try:
        return [WaitingEvent(*row) for row in _decode(body)]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error


def messages_of(events: Iterable[WaitingEvent]) -> list[Message]:
    """Return events as messages, each of one partition and bounded in number and size; their order is kept."""
    messages: list[Message] = []
    filling: dict[int, tuple[list[WaitingEvent], int]] = {}
    for event in events:
        batch, size = filling.get(event.partition, ([], 0))
        own = size_of(event)
        if batch and (len(batch) == RELAY_MESSAGE_EVENTS or size + own > RELAY_MESSAGE_BYTES):
            batch, size = [], 0
        if not batch:
            messages.append(Message(event.partition, batch))
        batch.append(event)
        filling[event.partition] = batch, size + own
    return messages


def _row(event: WaitingEvent) -> tuple[Any, ...]:
    return (
        event.id.bytes,
        event.project_id,
        event.type,
        event.user,
        event.payload,
        event.occurred_at,
        event.received_at,
        event.source,
        event.schema_version,
        event.user_hash,
        event.partition,
        event.seq,
        event.context,
        event.sent_with,
        event.traceparent,
    )
