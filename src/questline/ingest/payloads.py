"""What is stored of an event's payload and context: compact JSON, which may be longer than what was sent."""

from typing import Any

import msgspec

from questline.model.limits import PAYLOAD_DEPTH_MAX

_encode = msgspec.json.Encoder().encode


def written(payload: dict[str, Any], context: dict[str, Any] | None) -> tuple[str, str | None, int]:
    """Return both as JSON, and how many bytes they have together."""
    stored = _encode(payload)
    if context is None:
        return stored.decode(), None, len(stored)
    circumstances = _encode(context)
    return stored.decode(), circumstances.decode(), len(stored) + len(circumstances)


def is_too_deep(value: Any) -> bool:
    """Tell whether an object or a list is nested deeper than a payload may be."""
    nested: list[Any] = [value]
    for _ in range(PAYLOAD_DEPTH_MAX):
        nested = [
            child
            for item in nested
            for child in (item.values() if type(item) is dict else item)
            if type(child) is dict or type(child) is list
        ]
        if not nested:
            return False
    return True
