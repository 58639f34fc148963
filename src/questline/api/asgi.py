"""The words of ASGI, for what runs on it without a framework."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]
Header = tuple[bytes, bytes]


def header(scope: Scope, name: bytes) -> str | None:
    """Return a header's value, or None; a name may be given in lower case only."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def text_of(value: bytes) -> str:
    """Read a header's value as what clients mean by it: UTF-8, or else the Latin-1 of old."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def lines_of(scope: Scope, name: bytes) -> str:
    """Return all lines of a header that is a list, joined in the order they came (RFC 9110, 5.2); empty without any."""
    return ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)
