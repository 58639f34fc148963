"""Request bodies, read within a bound."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from typing import NoReturn

from questline.api.asgi import Message, Receive, Scope, header
from questline.api.problems import Problem, overloaded

_PIECE_BYTES = 256 * 1024  # unpacked at once, so that the loop is never held for long
_GZIP = 31  # zlib's name for a gzip header and trailer round the data


class Disconnected(Exception):
    """The client went away before its body was complete."""


def too_large(limit: int) -> Problem:
    """The body is over its limit."""
    return Problem(413, "payload-too-large", f"the body is larger than {limit} bytes", limit=limit)


class Room:
    """How much of bodies that come in pieces may be held while the rest of them is awaited, in one process."""

    def __init__(self, bytes_max: int) -> None:
        self._left = bytes_max

    def holds(self, size: int) -> bool:
        """Tell whether there is room for so much."""
        return size <= self._left

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Hold so much for a while."""
        self._left -= size
        try:
            yield
        finally:
            self._left += size


async def read_body(scope: Scope, receive: Receive, limit: int, room: Room | None = None) -> bytes:
    """Return the whole body, unpacked; raises a 413 problem past `limit` bytes, without having kept more than that.

    One that comes in pieces needs `room`: else it is let pass by, and 503.
    """
    length = declared = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = value
        elif name == b"content-encoding":
            declared = value
    if length is not None and length.isdigit() and int(length) > limit:
        raise too_large(limit)  # before it is sent, where the client waits for 100 Continue
    message = await receive()
    if declared is None and not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise too_large(limit)
        return body
    size = int(length) if declared is None and length is not None and length.isdigit() else limit
    if room is not None and not room.holds(size):
        await turn_away(receive, message)
    with nullcontext() if room is None else room.taken(size):
        return b"".join([chunk async for chunk in _unpacked_chunks(scope, _messages(receive, message), limit)])


async def turn_away(receive: Receive, message: Message | None = None) -> NoReturn:
    """Let the rest of a body pass by without keeping it, and raise a 503 problem.

    A client that is answered before it has sent its body may be cut off instead of reading the answer.
    """
    message = message or await receive()
    while message.get("more_body"):
        message = await receive()
    raise overloaded()


def chunks_of(scope: Scope, receive: Receive, limit: int, idle_seconds: float) -> AsyncIterator[bytes]:
    """Yield the body's bytes, unpacked piece by piece; raises a 413 problem past `limit`, as sent or as unpacked.

    Yields an empty chunk whenever the client has sent nothing for a while.
    """
    return _unpacked_chunks(scope, _timed_messages(receive, idle_seconds), limit)


async def _messages(receive: Receive, first: Message) -> AsyncIterator[Message | None]:
    yield first
    while True:
        yield await receive()


async def _timed_messages(receive: Receive, idle_seconds: float) -> AsyncIterator[Message | None]:
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                message = await receive()
        except TimeoutError:
            yield None
        else:
            yield message


async def _unpacked_chunks(scope: Scope, messages: AsyncIterator[Message | None], limit: int) -> AsyncIterator[bytes]:
    encoding = (header(scope, b"content-encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise Problem(415, "unsupported-encoding", f"content-encoding {encoding!r} is not understood; use gzip or none")
    unpack = None if encoding == "identity" else _Gunzip()
    sent = unpacked = 0
    async for message in messages:
        if message is None:
            yield b""
            continue
        if message["type"] == "http.disconnect":
            raise Disconnected
        body = message.get("body", b"")
        sent += len(body)
        if sent > limit:
            raise too_large(limit)
        if unpack is None:
            if body:
                yield body
        else:
            for piece in unpack.pieces(body):
                unpacked += len(piece)
                if unpacked > limit:
                    raise too_large(limit)
                yield piece
        if not message.get("more_body"):
            if unpack is not None and not unpack.complete:
                raise Problem(400, "invalid-request", "the gzip body ends too early")
            return


class _Gunzip:
    """Unpacks gzip, of one member or several, in pieces of bounded size: what a bomb holds is never held at once."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self.complete = False

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        try:
            while packed:
                if self.complete:  # another member follows
                    self._member, self.complete = zlib.decompressobj(_GZIP), False
                if piece := self._member.decompress(packed, _PIECE_BYTES):
                    yield piece
                packed = self._member.unconsumed_tail
                if self._member.eof:
                    self.complete, packed = True, self._member.unused_data.lstrip(b"\0")  # members may be padded
        except zlib.error as error:
            raise Problem(400, "invalid-request", f"the gzip body cannot be unpacked: {error}") from error
