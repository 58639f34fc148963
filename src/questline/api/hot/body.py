"""Request bodies, read within a bound."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

from questline.api.asgi import Message, Receive, Scope, header
from questline.api.problems import Problem, overloaded
from questline.model.limits import SMALL_BODY_BYTES

_PIECE_BYTES = 256 * 1024  # unpacked at once, so that the loop is never held for long
_GZIP = 31  # zlib's name for a gzip header and trailer round the data


class Disconnected(Exception):
    """The client went away before its body was complete."""


def too_large(limit: int) -> Problem:
    """The body is over its limit."""
    return Problem(413, "payload-too-large", f"the body is larger than {limit} bytes", limit=limit)


class Room:
    """How much of bodies may be held while the rest of them is awaited, in one process."""

    def __init__(self, bytes_max: int) -> None:
        self.left = bytes_max

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Give one request a share, for as long as it holds its body."""
        share = Share(self)
        try:
            yield share
        finally:
            share.give_back()


class Share:
    """What one request holds of a room. Small bodies need none: a connection's buffer holds as much anyway."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._free = SMALL_BODY_BYTES
        self._taken = 0

    def takes(self, size: int) -> bool:
        """Take so much more; False: there is no room for it."""
        size, self._free = max(size - self._free, 0), max(self._free - size, 0)
        if size > self._room.left:
            return False
        self._room.left -= size
        self._taken += size
        return True

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._room.left += self._taken
        self._taken = 0


class Rooms(NamedTuple):
    """A room for bodies of those who are known before, and one for all others, who must not be able to fill the first."""

    known: Room
    strangers: Room


def counted(receive: Receive, share: Share) -> Receive:
    """Return a `receive` for whoever keeps a body whole; raises a 503 problem where there is no room for it."""

    async def receive_counted() -> Message:
        message = await receive()
        if not share.takes(len(message.get("body", b""))):
            raise overloaded()
        return message

    return receive_counted


async def read_body(scope: Scope, receive: Receive, limit: int, room: Room | None = None) -> bytes:
    """Return the whole body, unpacked; raises a 413 problem past `limit` bytes, without having kept more than that.

    One that comes in pieces, or is packed, needs room, unless it is small: else the rest of it is let pass by, and 503.
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

    async def messages() -> AsyncIterator[Message | None]:
        nonlocal message
        yield message
        while True:
            message = await receive()
            yield message

    kept: list[bytes] = []
    with (room or Room(limit)).share() as share:
        async for chunk in _unpacked_chunks(scope, messages(), limit):
            if not share.takes(len(chunk)):
                kept.clear()
                share.give_back()
                await turn_away(receive, message)
            kept.append(chunk)
    return b"".join(kept)


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
                if len(piece) == _PIECE_BYTES:  # there is more to unpack, and others wait
                    await asyncio.sleep(0)
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
