"""Bodies and answers of the ways in that others have designed: CloudEvents, Segment's messages."""

from typing import Any

from questline.api.description.access import AT, ID
from questline.api.hot.segment import Tracked, TrackedBatch
from questline.ingest.segment import KINDS
from questline.model.limits import EVENT_TYPE_CHARS_MAX, KEY_CHARS_MAX, SHORT_TEXT_CHARS_MAX, USER_ID_CHARS_MAX

Json = dict[str, Any]

STRUCTS = (Tracked, TrackedBatch)


def or_null(properties: Json) -> Json:
    """Return properties that may be null as well, which says as little as leaving them out."""
    return {name: _nullable(schema) for name, schema in properties.items()}


def _nullable(schema: Json) -> Json:
    types = schema.get("type", [])
    return schema | {"type": [*([types] if isinstance(types, str) else types), "null"]} if types else schema


SCHEMAS: Json = {
    "CloudEvent": {
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "minLength": 1, "description": "With `source`, what tells events apart."},
            "source": {"type": "string", "maxLength": SHORT_TEXT_CHARS_MAX, "minLength": 1},
            "type": {"type": "string", "minLength": 1, "maxLength": EVENT_TYPE_CHARS_MAX, "pattern": "^[^$]"},
            "subject": {"type": "string", "minLength": 1, "maxLength": USER_ID_CHARS_MAX, "description": "The user."},
            "time": {"type": "string", "format": "date-time"},
            "data": {"description": "The payload."},
        },
    },
    "Message": {
        "type": "object",
        "description": "A message of Segment's; which fields it has is told by its type.",
        "properties": or_null(
            {
                "type": {"description": f"In a batch one of {', '.join(KINDS)}; elsewhere the path says it."},
                "userId": {"type": "string", "maxLength": USER_ID_CHARS_MAX},
                "anonymousId": {"type": "string", "maxLength": USER_ID_CHARS_MAX},
                "previousId": {"type": "string"},
                "groupId": {"type": "string"},
                "event": {"type": "string", "maxLength": EVENT_TYPE_CHARS_MAX},
                "name": {"type": "string"},
                "properties": {"type": "object"},
                "traits": {"type": "object"},
                "context": {"type": "object"},
                "messageId": {"type": "string", "maxLength": KEY_CHARS_MAX},
                "timestamp": {"type": "string"},
                "sentAt": {"type": "string"},
            }
        ),
    },
    "MessageBatch": {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": {"type": "array", "items": {"$ref": "#/components/schemas/Message"}},
            "sentAt": {"type": "string"},
            "writeKey": {"type": "string"},
        },
    },
}
EXAMPLES: Json = {
    "Message": {
        "type": "track",
        "event": "task_completed",
        "userId": "ada",
        "previousId": "5f0c",
        "groupId": "g-1",
        "properties": {"difficulty": "hard"},
        "messageId": "m-1",
        "timestamp": AT,
    },
    "MessageBatch": {
        "batch": [{"type": "identify", "userId": "ada", "traits": {"plan": "gold"}, "messageId": "m-2"}],
        "sentAt": AT,
    },
    "Tracked": {"status": "accepted", "eventId": ID, "success": True},
    "TrackedBatch": {
        "success": True,
        "accepted": 1,
        "duplicate": 0,
        "rejected": 0,
        "results": [{"index": 0, "status": "accepted", "eventId": ID, "idempotencyKey": "m-2"}],
    },
    "CloudEvent": {
        "specversion": "1.0",
        "id": "o-1",
        "source": "/shop",
        "type": "task_completed",
        "subject": "ada",
        "time": AT,
        "data": {"difficulty": "hard"},
        "tenant": "blue",
    },
}
