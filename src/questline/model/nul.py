"""The NUL character, which PostgreSQL holds in no text and in no jsonb."""

from typing import Any

_ESCAPED = "\\u0000"


def may_hold_nul(json: str) -> bool:
    """Tell, at the cost of one search, whether a JSON text may hold a NUL: one that cannot need not be looked at."""
    return _ESCAPED in json


def holds_nul(value: Any) -> bool:
    """Tell whether a NUL stands in a JSON value, in a name or in a text, however deep."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in name or holds_nul(child) for name, child in value.items())
    return isinstance(value, list) and any(holds_nul(child) for child in value)
