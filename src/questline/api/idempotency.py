"""The idempotency key of a request: one header by two names, read in one way wherever a request may have it."""

from collections.abc import Iterable

from questline.api.asgi import text_of
from questline.api.problems import Problem
from questline.model.limits import KEY_CHARS_MAX

Headers = Iterable[tuple[bytes, bytes]]

NAMES = (b"idempotency-key", b"x-idempotency-key")


def given_key(headers: Headers) -> str | None:
    """Return the key that a request was sent under, whatever its length; an empty one is none."""
    for name, value in headers:
        if name in NAMES and value:
            return text_of(value)
    return None


def request_key(headers: Headers) -> str | None:
    """Return the key of a request that is no event or command of its own; raises a 400 problem where it is too long."""
    key = given_key(headers)
    if key is not None and len(key) > KEY_CHARS_MAX:
        raise Problem(400, "invalid-request", f"Idempotency-Key is longer than {KEY_CHARS_MAX} characters")
    return key
