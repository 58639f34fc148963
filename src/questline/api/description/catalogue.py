"""Examples of the event catalogue: types, samples, inferred schemas."""

from typing import Any

from questline.api.description.access import AT, ID

_DEFINITION: dict[str, Any] = {
    "title": "An order was placed",
    "trusted": True,
    "version": 2,
    "unversioned": 1,
    "versions": {
        "1": {"upcast": {"to": 2, "steps": [{"op": "move", "from": "total", "to": "amount"}]}},
        "2": {"schema": {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}},
    },
}
_SAMPLE = {"eventId": ID, "schemaVersion": "2", "occurredAt": AT, "payload": {"amount": 5}}
_CAME = {"firstSeenAt": AT, "lastSeenAt": AT, "events": 1204}

EXAMPLES: dict[str, Any] = {
    "EventType": _DEFINITION,
    "EventTypeEntry": {"type": "order.placed", "version": 3, "definition": _DEFINITION},
    "EventTypeList": {
        "items": [
            {
                "type": "order.placed", "declared": True, "trusted": True, "title": "An order was placed", "version": "2",
                **_CAME, "sample": _SAMPLE,
            }
        ],
        "nextCursor": None,
    },
    "EventTypeDetail": {
        "type": "order.placed", "definition": _DEFINITION, "programVersion": 3, "trusted": True, **_CAME,
        "samples": [_SAMPLE],
    },
    "InferRequest": {"schemaVersion": "2", "samples": 50},
    "Inferred": {
        "type": "order.placed", "schemaVersion": "2", "samples": 50,
        "schema": {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}},
    },
}  # fmt: skip
