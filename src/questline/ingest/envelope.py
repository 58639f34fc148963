"""The envelope: one table of aliases serves every client, and what comes out is canonical.

Where the canonical name and an alias are both present, the canonical one counts; a key given in a header counts over
one in the body. The payload is kept as sent, without spaces between its parts.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from questline.ingest.hashing import content_hash, event_id_hash, given_key_hash, user_hash
from questline.model.event import SYSTEM_PREFIX, AcceptedEvent
from questline.model.limits import (
    EVENT_TYPE_CHARS_MAX,
    KEY_CHARS_MAX,
    PAYLOAD_DEPTH_MAX,
    SHORT_TEXT_CHARS_MAX,
    USER_ID_CHARS_MAX,
)
from questline.model.principal import DedupeStrategy, Project
from questline.model.reasons import Reason


class Envelope(msgspec.Struct, gc=False):
    """An event as clients send it: every name and alias, unknown fields ignored."""

    type: Any = UNSET
    event_type: Any = msgspec.field(default=UNSET, name="eventType")
    event: Any = UNSET
    user_id: Any = msgspec.field(default=UNSET, name="userId")
    subject: Any = UNSET
    entity_id: Any = msgspec.field(default=UNSET, name="entityId")
    payload: Any = UNSET
    metadata: Any = UNSET
    properties: Any = UNSET
    traits: Any = UNSET
    data: Any = UNSET
    occurred_at: Any = msgspec.field(default=UNSET, name="occurredAt")
    timestamp: Any = UNSET
    time: Any = UNSET
    event_id: Any = msgspec.field(default=UNSET, name="eventId")
    idempotency_key: Any = msgspec.field(default=UNSET, name="idempotencyKey")
    message_id: Any = msgspec.field(default=UNSET, name="messageId")
    source: Any = UNSET
    schema_version: Any = msgspec.field(default=UNSET, name="schemaVersion")
    spec_version: Any = msgspec.field(default=UNSET, name="specVersion")
    partition_key: Any = msgspec.field(default=UNSET, name="partitionKey")
    correlation_id: Any = msgspec.field(default=UNSET, name="correlationId")


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """Why an event was not accepted; `field` is where to look."""

    reason: Reason
    message: str
    field: str = ""


class Invalid(Exception):
    """The envelope cannot be accepted."""

    def __init__(self, field: str, message: str, reason: Reason = Reason.INVALID_ENVELOPE) -> None:
        super().__init__(message)
        self.rejection = Rejection(reason, f"{field}: {message}" if field else message, field)


_decode = msgspec.json.Decoder(Envelope).decode
_encode = msgspec.json.Encoder().encode
_canonical = msgspec.json.Encoder(order="sorted").encode
_DIGITS = re.compile(r"^-?\d{1,17}$")
_FRACTION = re.compile(r"\.(\d+)")
_EPOCH_MS_MAX = 253_402_300_799_999  # the end of the year 9999


class Normaliser:
    """Turns envelopes into accepted events. `new_id` makes event ids, `now` is the clock."""

    def __init__(self, new_id: Callable[[], UUID], now: Callable[[], datetime], future_seconds: int) -> None:
        self._new_id = new_id
        self._now = now
        self._future = timedelta(seconds=future_seconds)

    def from_json(
        self, body: bytes, project: Project, key: str | None = None, correlation_id: str | None = None
    ) -> AcceptedEvent | Rejection:
        """Return the event of a JSON object, or why it is none; `key` is a key given in a header."""
        try:
            envelope = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Rejection(Reason.INVALID_ENVELOPE, f"the body is no event: {error}")
        except RecursionError:
            return Rejection(Reason.INVALID_ENVELOPE, "the body is nested too deeply")
        return self.from_envelope(envelope, project, key, correlation_id)

    def from_envelope(
        self, envelope: Envelope, project: Project, key: str | None = None, correlation_id: str | None = None
    ) -> AcceptedEvent | Rejection:
        """Return the event of a decoded envelope, or why it is none."""
        try:
            return self._event(envelope, project, key, correlation_id)
        except Invalid as invalid:
            return invalid.rejection
        except (UnicodeError, OverflowError, RecursionError) as error:
            return Rejection(Reason.INVALID_ENVELOPE, f"the event holds what cannot be stored: {error}")

    def command(
        self,
        type_: str,
        project: Project,
        user: str,
        payload: dict[str, Any],
        key: str | None,
        correlation_id: str | None,
    ) -> AcceptedEvent:
        """Return a command's event; raises Invalid. Without a key, a command is a new one each time."""
        id_ = self._new_id()
        envelope = Envelope(user_id=user, payload=payload)
        envelope.idempotency_key = f"{type_}:{key}" if key is not None else f"{type_}:{id_}"
        return self._event(envelope, project, None, correlation_id, type_, id_)

    def _event(
        self, e: Envelope, project: Project, header_key: str | None, correlation_id: str | None,
        command: str | None = None, id_: UUID | None = None,
    ) -> AcceptedEvent:  # fmt: skip
        type_ = command or _required("type", _first(e.type, e.event_type, e.event), EVENT_TYPE_CHARS_MAX)
        if command is None and type_.startswith(SYSTEM_PREFIX):
            raise Invalid("type", f"types that begin with {SYSTEM_PREFIX!r} are Questline's own commands")
        user = _required("userId", _first(e.user_id, e.subject, e.entity_id), USER_ID_CHARS_MAX)
        payload = _first(e.payload, e.metadata, e.properties, e.traits, e.data)
        if payload is None:
            payload = {}
        elif type(payload) is not dict:
            raise Invalid("payload", "must be an object")
        if _too_deep(payload, PAYLOAD_DEPTH_MAX):
            raise Invalid("payload", f"is nested deeper than {PAYLOAD_DEPTH_MAX} levels")
        received_at = self._now()
        sent_at = _first(e.occurred_at, e.timestamp, e.time)
        occurred_at = received_at if sent_at is None else instant(sent_at)
        if occurred_at - received_at > self._future:
            raise Invalid(
                "occurredAt",
                f"{occurred_at.isoformat()} lies more than {self._future.seconds} s ahead of our clock",
                Reason.EVENT_IN_FUTURE,
            )
        external_id = _optional("eventId", e.event_id, KEY_CHARS_MAX)
        key = header_key if header_key is not None else _first(e.idempotency_key, e.message_id)
        key = _optional("idempotencyKey", key, KEY_CHARS_MAX)
        source = _optional("source", e.source, SHORT_TEXT_CHARS_MAX)
        schema_version = _version("schemaVersion", e.schema_version)
        spec_version = _version("specVersion", e.spec_version)
        partition_key = _optional("partitionKey", e.partition_key, SHORT_TEXT_CHARS_MAX)
        identity = (type_, user, payload, partition_key, source, schema_version, spec_version)
        stamp = occurred_at.isoformat() if sent_at is not None else None
        full = content_hash(_canonical((*identity, stamp)))
        alias = prior = None
        if key is not None:
            key_hash = given_key_hash(key)
            if external_id is not None:
                alias = event_id_hash(external_id)
        elif external_id is not None:
            key, key_hash = external_id, event_id_hash(external_id)
        elif project.dedupe_strategy is DedupeStrategy.FULL:
            # Without a time of its own, an event is of the moment it was received: two such are two facts.
            key_hash = full if stamp is not None else content_hash(_canonical((*identity, received_at.isoformat())))
            key = key_hash.hex()
        else:
            window = int(received_at.timestamp()) // project.intent_window_seconds
            full = content_hash(_canonical(identity))
            key_hash, prior = (content_hash(b"%b@%d" % (full, number)) for number in (window, window - 1))
            key = key_hash.hex()
        return AcceptedEvent(
            id_ or self._new_id(),
            project.id,
            type_,
            user,
            _encode(payload).decode(),
            occurred_at,
            received_at,
            key_hash,
            full,
            user_hash(project.id, user),
            key,
            alias,
            prior,
            project.intent_window_seconds,
            external_id,
            source,
            schema_version,
            spec_version,
            partition_key,
            correlation_id or _optional("correlationId", e.correlation_id, SHORT_TEXT_CHARS_MAX),
        )


def instant(value: Any) -> datetime:
    """Return the UTC time of an RFC 3339 text or of epoch milliseconds; raises Invalid."""
    if isinstance(value, str):
        if _DIGITS.match(value):
            return _epoch(int(value))
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            at = _lenient(value)
        if at.tzinfo is None:
            raise Invalid("occurredAt", f"{value!r} lacks an offset; end it with Z or +hh:mm")
        try:
            return at.astimezone(UTC)
        except OverflowError:
            raise Invalid("occurredAt", f"{value!r} is out of range") from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _epoch(value)
    raise Invalid("occurredAt", "must be an RFC 3339 time or epoch milliseconds")


def _lenient(text: str) -> datetime:
    """Times with a fraction of unusual length, which the standard library does not read."""
    try:
        return datetime.fromisoformat(_FRACTION.sub(lambda m: "." + m[1][:6].ljust(6, "0"), text, count=1))
    except ValueError:
        raise Invalid("occurredAt", f"{text[:64]!r} is no RFC 3339 time, such as 2026-11-21T12:00:00Z") from None


def _epoch(ms: float) -> datetime:
    if not -62_135_596_800_000 <= ms <= _EPOCH_MS_MAX:
        raise Invalid("occurredAt", f"{ms} is out of range for epoch milliseconds")
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def _first(*values: Any) -> Any:
    for value in values:
        if value is not UNSET and value is not None:
            return value
    return None


def _required(field: str, value: Any, chars_max: int) -> str:
    text = _optional(field, value, chars_max)
    if not text:
        raise Invalid(field, "is missing")
    return text


def _optional(field: str, value: Any, chars_max: int) -> str | None:
    if value is UNSET or value is None:
        return None
    if type(value) is not str:
        raise Invalid(field, "must be text")
    if len(value) > chars_max:
        raise Invalid(field, f"is longer than {chars_max} characters")
    if "\0" in value:
        raise Invalid(field, "must not hold a NUL character")
    return value


def _version(field: str, value: Any) -> str | None:
    if type(value) is int or type(value) is float:
        return str(value)
    return _optional(field, value, SHORT_TEXT_CHARS_MAX)


def _too_deep(value: dict[str, Any], depth: int) -> bool:
    """Tell whether an object is nested deeper than allowed; flat ones, which most are, cost one pass."""
    nested = [item for item in value.values() if type(item) is dict or type(item) is list]
    while nested:
        depth -= 1
        if depth == 0:
            return True
        nested = [
            child
            for item in nested
            for child in (item.values() if type(item) is dict else item)
            if type(child) is dict or type(child) is list
        ]
    return False
