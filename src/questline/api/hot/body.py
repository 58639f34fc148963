"""Request bodies, read within a bound."""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from questline.api.problems import Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Scope = MutableMapping[str, Any]


class Disconnected(Exception):
    """The client went away before its body was complete."""


def header(scope: Scope, name: bytes) -> str | None:
    """Return a header's value, or None; a name may be given in lower case only."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def too_large(limit: int) -> Problem:
    """The body is over its limit."""
    return Problem(413, "payload-too-large", f"the body is larger than {limit} bytes", limit=limit)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Return the whole body, unpacked; raises a 413 problem past `limit` bytes, without having kept more than that."""
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request" and not header(scope, b"content-encoding"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        return body
    chunks, size = [], 0
    async for chunk in chunks_of(scope, receive, limit, message):
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def chunks_of(scope: Scope, receive: Receive, limit: int, first: Message | None = None) -> AsyncIterator[bytes]:
    """Yield the body's bytes, unpacked piece by piece; raises a 413 problem past `limit`, as sent or as unpacked."""
    encoding = header(scope, b"content-encoding")
    if encoding not in (None, "identity", "gzip"):
        raise Problem(415, "unsupported-encoding", f"content-encoding {encoding!r} is not understood; use gzip or none")
    unpack = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    message, size, unpacked = first or await receive(), 0, 0
    while True:
        if message["type"] == "http.disconnect":
            raise Disconnected
        body = message.get("body", b"")
        size += len(body)
        if size > limit:
            raise too_large(limit)
        if unpack is None:
            if body:
                yield body
        else:
            for piece in _unpacked(unpack, body):
                unpacked += len(piece)
                if unpacked > limit:
                    raise too_large(limit)
                yield piece
        if not message.get("more_body"):
            if unpack is not None and not unpack.eof:
                raise Problem(400, "invalid-request", "the gzip body ends too early")
            return
        message = await receive()


_PIECE_BYTES = 256 * 1024


def _unpacked(unpack: Any, body: bytes) -> Iterator[bytes]:
    """Unpack one network chunk in pieces of bounded size, each only when it is asked for: a bomb never unfolds."""
    try:
        while body:
            yield unpack.decompress(body, _PIECE_BYTES)
            body = unpack.unconsumed_tail
    except zlib.error as error:
        raise Problem(400, "invalid-request", f"the gzip body cannot be unpacked: {error}") from error
