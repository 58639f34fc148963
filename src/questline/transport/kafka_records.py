"""Events as records of the log: one JSON object each, which other readers of the topic understand as well."""

from datetime import datetime
from uuid import UUID

import msgspec

from questline.model.event import AcceptedEvent


class Unreadable(ValueError):
    """A record is no event of ours; the message says why."""


class EventRecord(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """What a record's value holds. Hashes are in base64; what a later release adds, an earlier one passes over."""

    id: UUID
    project_id: int
    type: str
    user_id: str
    payload: msgspec.Raw
    occurred_at: datetime
    received_at: datetime
    key_hash: bytes
    content_hash: bytes
    user_hash: int
    idempotency_key: str
    alias_hash: bytes | None = None
    window_seconds: int = 0
    event_id: str | None = None  # the customer's
    source: str | None = None
    schema_version: str | None = None
    spec_version: str | None = None
    partition_key: str | None = None
    correlation_id: str | None = None
    context: str | None = None  # JSON
    sent_with: str | None = None
    traceparent: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(EventRecord).decode


def key_of(event: AcceptedEvent) -> bytes:
    """Return the key of an event's record: its project and user."""
    return b"%d:%b" % (event.project_id, event.user.encode())


def encoded(event: AcceptedEvent) -> bytes:
    """Return the value of an event's record. A nonce is not part of it: it is burnt before."""
    return _encode(
        EventRecord(
            event.id,
            event.project_id,
            event.type,
            event.user,
            msgspec.Raw(event.payload.encode()),
            event.occurred_at,
            event.received_at,
            event.key_hash,
            event.content_hash,
            event.user_hash,
            event.idempotency_key,
            event.alias_hash,
            event.window_seconds,
            event.external_id,
            event.source,
            event.schema_version,
            event.spec_version,
            event.partition_key,
            event.correlation_id,
            event.context,
            event.sent_with,
            event.traceparent,
        )
    )


def decoded(value: bytes | None) -> AcceptedEvent:
    """Return the event of a record's value; raises Unreadable."""
    if value is None:
        raise Unreadable("the record has no value")
    try:
        record = _decode(value)
        payload = bytes(record.payload)
        if payload[:1] != b"{" or len(record.key_hash) != 16 or len(record.content_hash) != 16:
            raise Unreadable("the payload is no object, or a hash has not 16 bytes")
        return AcceptedEvent(
            record.id,
            record.project_id,
            record.type,
            record.user_id,
            payload.decode(),
            record.occurred_at,
            record.received_at,
            record.key_hash,
            record.content_hash,
            record.user_hash,
            record.idempotency_key,
            record.alias_hash,
            record.window_seconds,
            record.event_id,
            record.source,
            record.schema_version,
            record.spec_version,
            record.partition_key,
            record.correlation_id,
            record.context,
            sent_with=record.sent_with,
            traceparent=record.traceparent,
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"the record is no event of ours: {error}") from error
