"""Segment's messages (https://segment.com/docs/connections/spec/): track, identify, page, screen, group and alias."""

from typing import Any

import msgspec

from questline.ingest.envelope import Envelope, Invalid, Reading
from questline.model.event import PROFILE_UPDATE

KINDS = ("track", "identify", "page", "screen", "group", "alias")


class _Message(msgspec.Struct, rename="camel"):
    type: Any = None
    event: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    previous_id: Any = None
    group_id: Any = None
    name: Any = None
    category: Any = None
    properties: Any = None
    traits: Any = None
    context: Any = None
    timestamp: Any = None
    original_timestamp: Any = None
    sent_at: Any = None
    message_id: Any = None


_decode = msgspec.json.Decoder(_Message).decode


def read(kind: str | None, sent_at: Any, context: dict[str, Any] | None, body: bytes) -> Reading:
    """Read one message. `kind` is the path's; without one the message says it.

    `sent_at` and `context` are those of its batch; what the message says of them itself counts.
    """
    message = _decode(body)
    kind = kind or message.type
    if kind not in KINDS:
        raise Invalid("type", f"must be one of {', '.join(KINDS)}")
    type_, payload = _content(kind, message)
    visitor = _text("anonymousId", message.anonymous_id)
    said = _object("context", message.context)
    circumstances = {**(context or {}), **said, **({} if visitor is None else {"anonymousId": visitor})}
    envelope = Envelope(
        type=type_,
        user_id=None if message.user_id == "" else message.user_id,
        payload=payload,
        occurred_at=message.timestamp if message.original_timestamp is None else message.original_timestamp,
        message_id=None if message.message_id == "" else message.message_id,
        context=circumstances or None,
    )
    if kind == "alias":
        visitor = _text("previousId", message.previous_id)
    return Reading(envelope, sent_at if message.sent_at is None else message.sent_at, visitor)


def _content(kind: str, message: _Message) -> tuple[Any, dict[str, Any]]:
    """Return the type and the payload of the event that a message is."""
    match kind:
        case "track":
            return message.event, _object("properties", message.properties)
        case "identify":
            return PROFILE_UPDATE, _profile(_object("traits", message.traits))
        case "group":
            if not message.group_id:
                raise Invalid("groupId", "is missing")
            return kind, {**_object("traits", message.traits), "groupId": message.group_id}
        case "alias":
            if not message.previous_id or not message.user_id:
                raise Invalid("previousId" if message.user_id else "userId", "is missing: an alias has both")
            return kind, {"previousId": message.previous_id}
        case _:
            named = {"name": message.name, "category": message.category}
            given = {name: value for name, value in named.items() if value is not None}
            return kind, {**_object("properties", message.properties), **given}


def _profile(traits: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of a profile update: two traits have a place of their own, the others are attributes."""
    attributes = dict(traits)
    own: dict[str, Any] = {name: attributes.pop(name) for name in ("displayName", "timezone") if name in attributes}
    return {"attributes": attributes, **own}


def _object(field: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(field, "must be an object")
    return value


def _text(field: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Invalid(field, "must be text")
    return value
