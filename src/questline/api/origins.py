"""Web pages of other origins (CORS): which may send, and which may read what comes back.

Keys travel in headers, so a browser adds no authority of its own, and a preflight gives nothing away: it is answered
without a key. What counts is decided by the project of the key, with the request itself.
"""

import re

from questline.api.asgi import Header, Scope, Send
from questline.api.notes import Notes
from questline.api.problems import Problem
from questline.model.principal import KeyType, Principal

_PREFLIGHT: list[Header] = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"*, authorization"),  # the star does not stand for that one
    (b"access-control-max-age", b"600"),
]
_ORIGIN = re.compile(rb"[\x21-\x7e]{1,256}")


def origin_of(scope: Scope) -> bytes | None:
    """Return the origin of the page that sends a request; None where no browser says one."""
    for name, value in scope["headers"]:
        if name == b"origin":
            return (
                value if _ORIGIN.fullmatch(value) else None
            )  # it is given back, and a header must not hold just anything
    return None


def is_preflight(scope: Scope) -> bool:
    """Tell whether a browser asks whether it may send a request."""
    return scope["method"] == "OPTIONS" and any(n == b"access-control-request-method" for n, _ in scope["headers"])


async def answer_preflight(send: Send) -> None:
    """Let the request be sent: with it comes the key, and with the key the decision."""
    await send({"type": "http.response.start", "status": 204, "headers": list(_PREFLIGHT)})
    await send({"type": "http.response.body", "body": b""})


def check_origin(principal: Principal, notes: Notes) -> None:
    """Decide for the page that sends a request with a key; raises a 403 problem for one that the project does not name.

    A project that names none lets every page use its publishable keys, which are public, and none read with a secret one.
    """
    assert notes.origin is not None
    allowed = principal.project.cors_origins
    if allowed is None:
        notes.readable = principal.key_type is KeyType.PUBLISHABLE
    elif notes.origin.decode("latin-1") not in allowed and "*" not in allowed:
        raise Problem(
            403, "origin-not-allowed", "the project's setting corsOrigins does not name the page's origin; add it there"
        )
