"""The envelope: one table of aliases serves every client, and what comes out is canonical.

Where the canonical name and an alias are both present, the canonical one counts, and the alias is not even looked at; a
key given in a header counts over one in the body. `null` is the same as absent. The payload is stored as it was sent,
without the spaces between its parts; of a name used twice in an object the last one counts.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from questline.ingest.instants import NoInstant, instant, plausible
from questline.ingest.payloads import is_too_deep, written
from questline.model.event import PROFILE_UPDATE, SYSTEM_PREFIX, AcceptedEvent
from questline.model.hashing import (
    command_key_hash,
    content_hash,
    event_id_hash,
    full_hash,
    given_key_hash,
    intent_hash,
    own_command_key_hash,
    user_hash,
)
from questline.model.limits import (
    COMMAND_BODY_BYTES_MAX,
    EVENT_BYTES_MAX,
    EVENT_TYPE_CHARS_MAX,
    KEY_CHARS_MAX,
    PAYLOAD_DEPTH_MAX,
    SHORT_TEXT_CHARS_MAX,
    USER_ID_CHARS_MAX,
)
from questline.model.nul import holds_nul, may_hold_nul
from questline.model.principal import DedupeStrategy, Project
from questline.model.reasons import Reason


class Envelope(msgspec.Struct, gc=False, rename="camel"):
    """An event as clients send it: every name and alias, unknown fields ignored. Nothing is checked yet."""

    type: Any = None
    event_type: Any = None
    event: Any = None
    user_id: Any = None
    subject: Any = None
    entity_id: Any = None
    payload: Any = None
    metadata: Any = None
    properties: Any = None
    traits: Any = None
    data: Any = None
    occurred_at: Any = None
    timestamp: Any = None
    time: Any = None
    event_id: Any = None
    idempotency_key: Any = None
    message_id: Any = None
    source: Any = None
    schema_version: Any = None
    spec_version: Any = None
    partition_key: Any = None
    correlation_id: Any = None
    context: Any = None


class Reading(NamedTuple):
    """What a form that is not ours says: an envelope, when its sender's clock says that it was sent, and by which visitor.

    A visitor has a name where the envelope has a user.
    """

    envelope: Envelope
    sent_at: Any = None
    anonymous_id: str | None = None


Form = Callable[[bytes], Reading]
"""Reads one event of some form; raises Invalid, or what msgspec raises."""


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
_canonical = msgspec.json.Encoder(order="sorted").encode


class Normaliser:
    """Turns envelopes into accepted events. `new_id` makes event ids, `now` is the clock.

    `event_bytes_max` bounds what is stored, which may be more than was sent: by a batch's context, or numbers such as 1e9.
    """

    def __init__(
        self, new_id: Callable[[], UUID], now: Callable[[], datetime], future_seconds: int,
        event_bytes_max: int = EVENT_BYTES_MAX,
    ) -> None:  # fmt: skip
        self._new_id = new_id
        self._now = now
        self._future = timedelta(seconds=future_seconds)
        self._bytes_max = event_bytes_max

    def from_json(
        self,
        body: bytes,
        project: Project,
        key: str | None = None,
        correlation_id: str | None = None,
        part_key: str | None = None,
    ) -> AcceptedEvent | Rejection:
        """Return the event of a JSON object, or why it is none; `key` is a key given in a header.

        `part_key` counts where the event brings neither key nor id: it is one of many in a request that has a key.
        """
        try:
            envelope = _decode(body)
            if body.count(b"{") + body.count(b"[") > PAYLOAD_DEPTH_MAX:  # only then can it be too deep
                _check_depth(envelope)
            event = self._event(envelope, project, key, correlation_id, part_key)
            if b"\\u0000" in body or key is not None:
                _check_texts(event)
            return event
        except Invalid as invalid:
            return invalid.rejection
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            return Rejection(Reason.INVALID_ENVELOPE, _why_unreadable(body, error))

    def from_form(
        self,
        form: Form,
        body: bytes,
        project: Project,
        key: str | None = None,
        correlation_id: str | None = None,
        part_key: str | None = None,
    ) -> AcceptedEvent | Rejection:
        """Return the event of a body in another form, or why it is none."""
        try:
            envelope, sent_at, visitor = form(body)
            _check_depth(envelope)
            is_anonymous = visitor is not None and envelope.user_id is None
            if is_anonymous:
                envelope.user_id = visitor
            event = self._event(envelope, project, key, correlation_id, part_key, late=self._late(sent_at))
            _check_texts(event)
            if visitor is None:
                return event
            _check_visitor(visitor)
            return msgspec.structs.replace(event, anonymous_id=visitor, is_anonymous=is_anonymous)
        except Invalid as invalid:
            return invalid.rejection
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            return Rejection(Reason.INVALID_ENVELOPE, _why_unreadable(body, error))

    def command(
        self,
        type_: str,
        project: Project,
        user: str,
        payload: dict[str, Any],
        key: str | None,
        correlation_id: str | None,
        *,
        own: bool = False,
    ) -> AcceptedEvent:
        """Return a command's event; raises Invalid. Without a key, a command is a new one each time.

        `own`: the user gives it by themselves, under keys that are theirs alone.
        """
        envelope = Envelope(user_id=user, payload=payload)
        _check_depth(envelope)
        try:
            event = self._event(envelope, project, key, correlation_id, command=type_)
        except UnicodeError as error:
            raise Invalid("", f"the command holds what cannot be stored: {error}") from error
        _check_texts(event)
        if not own:
            return event
        return msgspec.structs.replace(event, key_hash=own_command_key_hash(type_, user, event.idempotency_key))

    def _event(
        self, e: Envelope, project: Project, header_key: str | None, correlation_id: str | None,
        part_key: str | None = None, command: str | None = None, late: timedelta | None = None,
    ) -> AcceptedEvent:  # fmt: skip
        """Each field is first tried as what it nearly always is, and only then looked at with care."""
        type_ = command or e.type
        if type(type_) is not str or not 0 < len(type_) <= EVENT_TYPE_CHARS_MAX:
            type_ = _required("type", EVENT_TYPE_CHARS_MAX, type=e.type, eventType=e.event_type, event=e.event)
        if type_[0] == SYSTEM_PREFIX and command is None and type_ != PROFILE_UPDATE:
            raise Invalid("type", f"types that begin with {SYSTEM_PREFIX!r} are Questline's own commands")
        user = e.user_id
        if type(user) is not str or not 0 < len(user) <= USER_ID_CHARS_MAX:
            user = _required("userId", USER_ID_CHARS_MAX, userId=user, subject=e.subject, entityId=e.entity_id)
        payload = e.payload
        if type(payload) is not dict:
            payload = _payload(e)
        received_at = self._now()
        sent_at = _first(e.occurred_at, e.timestamp, e.time) if e.occurred_at is None else e.occurred_at
        occurred_at = received_at if sent_at is None else _said_at(sent_at)
        source = e.source if e.source is None else _optional("source", e.source)
        schema_version = e.schema_version if e.schema_version is None else _version("schemaVersion", e.schema_version)
        spec_version = e.spec_version if e.spec_version is None else _version("specVersion", e.spec_version)
        partition_key = e.partition_key if e.partition_key is None else _optional("partitionKey", e.partition_key)
        if correlation_id is None and e.correlation_id is not None:
            correlation_id = _optional("correlationId", e.correlation_id)
        context = e.context if e.context is None else _object("context", e.context)
        id_ = self._new_id()
        # Circumstances and the sender's clock are no part of the content: they may differ when a client tries again.
        identity = (type_, user, payload, partition_key, source, schema_version, spec_version)
        canonical = _canonical(identity if sent_at is None else (*identity, occurred_at))
        content = content_hash(canonical)
        occurred_at = occurred_at if late is None or sent_at is None else _corrected(occurred_at, late)
        if occurred_at - received_at > self._future:
            raise self._in_future(occurred_at)
        external_id = _key("eventId", e.event_id)
        key = _key("idempotencyKey", _first(e.idempotency_key, e.message_id))  # checked though a header wins
        key = key if header_key is None else _key("idempotencyKey", header_key)
        alias, window_seconds = None, 0
        if command is not None:
            key = key or str(id_)
            key_hash = command_key_hash(command, key)
        elif key is not None:
            key_hash = given_key_hash(key)
            alias = event_id_hash(external_id) if external_id is not None else None
        elif external_id is not None:
            key, key_hash = external_id, event_id_hash(external_id)
        elif part_key is not None:
            key, key_hash = part_key, given_key_hash(part_key)
        elif project.dedupe_strategy is DedupeStrategy.INTENT:
            content = content_hash(_canonical(identity))
            key_hash = intent_hash(_canonical(identity))
            key, window_seconds = key_hash.hex(), max(1, project.intent_window_seconds)
        elif sent_at is not None:
            key_hash = full_hash(canonical)
            key = key_hash.hex()
        else:  # an event without a time of its own is of the moment it came: two such are two facts
            key, key_hash = str(id_), id_.bytes
        stored, circumstances = self._written(payload, context, command)
        return AcceptedEvent(
            id_,
            project.id,
            type_,
            user,
            stored,
            occurred_at,
            received_at,
            key_hash,
            content,
            user_hash(project.id, user),
            key,
            alias,
            window_seconds,
            external_id,
            source,
            schema_version,
            spec_version,
            partition_key,
            correlation_id,
            circumstances,
        )

    def _written(self, payload: Any, context: Any, command: str | None) -> tuple[str, str | None]:
        stored, circumstances, size = written(payload, context)
        if size > self._bytes_max and (command is None or size > COMMAND_BODY_BYTES_MAX):
            raise Invalid("", f"the event with its context is over {self._bytes_max} bytes", Reason.PAYLOAD_TOO_LARGE)
        return stored, circumstances

    def _late(self, sent_at: Any) -> timedelta | None:
        """Return how far a sender's clock is behind ours, the way included; a time that cannot be read says nothing."""
        try:
            return None if sent_at is None else self._now() - instant(sent_at)
        except NoInstant:
            return None

    def _in_future(self, occurred_at: datetime) -> Invalid:
        text = f"{occurred_at.isoformat()} lies more than {self._future.total_seconds():.0f} s ahead of our clock"
        return Invalid("occurredAt", text, Reason.EVENT_IN_FUTURE)


def _check_visitor(visitor: str) -> None:
    if not 0 < len(visitor) <= USER_ID_CHARS_MAX or "\0" in visitor:
        raise Invalid("anonymousId", f"must have 1 to {USER_ID_CHARS_MAX} characters, none of them NUL")


def _said_at(sent_at: Any) -> datetime:
    try:
        return plausible(instant(sent_at))
    except NoInstant as error:
        raise Invalid("occurredAt", str(error)) from error


def _corrected(occurred_at: datetime, late: timedelta) -> datetime:
    try:
        return plausible(occurred_at + late)
    except (OverflowError, NoInstant) as error:
        raise Invalid("sentAt", "the time of the event, corrected by it, is out of range") from error


def _first(*values: Any) -> Any:
    for value in values:
        if value is not None:
            return value
    return None


def _payload(e: Envelope) -> dict[str, Any]:
    payload = _first(e.payload, e.metadata, e.properties, e.traits, e.data)
    return {} if payload is None else _object("payload", payload)


def _object(field: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise Invalid(field, "must be an object")
    return value


def _required(field: str, chars_max: int, **names: Any) -> str:
    text = _text(field, _first(*names.values()), chars_max)
    if text is None:
        raise Invalid(field, f"is missing; it may be sent as {', '.join(names)}")
    if not text:
        raise Invalid(field, "is empty")
    return text


def _optional(field: str, value: Any) -> str | None:
    """Read a short text; an empty one says nothing, so it counts as absent."""
    return _text(field, value, SHORT_TEXT_CHARS_MAX) or None


def _version(field: str, value: Any) -> str | None:
    return str(value) if type(value) is int or type(value) is float else _optional(field, value)


def _key(field: str, value: Any) -> str | None:
    """Read a key or an id; an empty one would merge all events that share the mistake."""
    text = _text(field, value, KEY_CHARS_MAX)
    if text is not None and not text:
        raise Invalid(field, "is empty; leave it out")
    return text


def _text(field: str, value: Any, chars_max: int) -> str | None:
    if value is None:
        return None
    if type(value) is not str:
        raise Invalid(field, "must be text")
    if len(value) > chars_max:
        raise Invalid(field, f"is longer than {chars_max} characters")
    return value


def _check_texts(event: AcceptedEvent) -> None:
    """Refuse NUL characters outside the payload, and in one that becomes a profile: PostgreSQL holds none in a text."""
    for field, text in (
        ("type", event.type), ("userId", event.user), ("eventId", event.external_id), ("source", event.source),
        ("idempotencyKey", event.idempotency_key), ("schemaVersion", event.schema_version),
        ("specVersion", event.spec_version), ("partitionKey", event.partition_key),
        ("correlationId", event.correlation_id),
    ):  # fmt: skip
        if text is not None and "\0" in text:
            raise Invalid(field, "must not hold a NUL character")
    if event.type == PROFILE_UPDATE and may_hold_nul(event.payload) and holds_nul(msgspec.json.decode(event.payload)):
        raise Invalid("payload", "of a profile must not hold a NUL character")


def _check_depth(envelope: Envelope) -> None:
    payload = envelope.payload if type(envelope.payload) is dict else _payload(envelope)
    for field, value in (("payload", payload), ("context", envelope.context)):
        if type(value) is dict and is_too_deep(value):
            raise Invalid(field, f"is nested deeper than {PAYLOAD_DEPTH_MAX} levels")


def _why_unreadable(body: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the event is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "the event is not UTF-8"
    if b"\\ud" in body.lower() and "truncated" in str(error):
        return "the event holds half of a surrogate pair (\\ud800 to \\udfff alone is no character)"
    return f"the body is no event: {error}"
