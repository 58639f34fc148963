"""One client's connection: what it may take of time and room, and the headers that every answer has.

uvicorn bounds neither how long a head or a body takes, nor a head's size, nor how slowly an answer is read. One sweep a
second looks at all connections, so a request pays for none of it but two assignments.
"""

import asyncio
import time
from collections.abc import Collection
from functools import partial
from typing import Any, cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from questline.api.problems import CONTENT_TYPE, Problem
from questline.model.limits import (
    BODY_BYTES_PER_SECOND_MIN,
    BODY_GRACE_SECONDS,
    CONNECTIONS_MAX,
    CONNECTIONS_SWEPT_SECONDS,
    HEAD_BYTES_MAX,
    HEAD_SECONDS_MAX,
    HEADERS_MAX,
    KEEP_ALIVE_SECONDS,
    LEFTOVER_SECONDS_MAX,
    READER_SECONDS_MAX,
    TARGET_BYTES_MAX,
)

# What an answer says beside its own headers. Those in the second part yield to a header of the same name.
_ALWAYS = (
    b"x-content-type-options: nosniff\r\nx-frame-options: DENY\r\nreferrer-policy: no-referrer\r\n"
    b"cross-origin-resource-policy: same-origin\r\n"
)
_YIELDING = {
    b"content-security-policy": b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n",
    b"cache-control": b"cache-control: no-store\r\n",
}
_USUAL = b"".join(_YIELDING.values())


class Bounds(msgspec.Struct, frozen=True):
    """How long a connection's client may take for each thing, and how many connections there may be."""

    head_seconds: float = HEAD_SECONDS_MAX
    body_grace_seconds: float = BODY_GRACE_SECONDS
    body_bytes_per_second: float = BODY_BYTES_PER_SECOND_MIN
    reader_seconds: float = READER_SECONDS_MAX
    leftover_seconds: float = LEFTOVER_SECONDS_MAX
    idle_seconds: float = KEEP_ALIVE_SECONDS
    swept_seconds: float = CONNECTIONS_SWEPT_SECONDS
    connections: int = CONNECTIONS_MAX
    hsts_seconds: int = 0


class Connection(HttpToolsProtocol):
    """A connection that is refused or closed when its client goes over a bound."""

    def __init__(self, bounds: Bounds, **parts: Any) -> None:
        super().__init__(**parts)
        self._bounds = bounds
        self._always = _always(bounds.hsts_seconds)
        self._in_head = True  # from the first byte of a request to the end of its headers; and before the first request
        self._is_large = False  # whether the head under way has to be measured
        self._head_bytes = 0
        self._received = 0
        self._requests = 0
        self._resumed = 0
        self._refusal: Problem | None = None
        self._state: tuple[str, int] = ("head", 0)
        self._since = self._seen = time.monotonic()
        self._received_before = 0

    # ── what arrives

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections:
            detail = "the server has as many connections as it takes; come back later"
            self._refuse(Problem(503, "overloaded", detail, headers={"Retry-After": "5"}))

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        was_in_head, size = self._in_head, self._head_bytes + len(data)
        self._is_large = size > HEAD_BYTES_MAX
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes = size
            if self._is_large:
                self._refuse(_head_too_large())

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._requests += 1
        if len(self.headers) > HEADERS_MAX or (self._is_large and _size(self.headers) > HEAD_BYTES_MAX):
            self._refusal = _head_too_large()
        elif len(self.url) > TARGET_BYTES_MAX:
            self._refusal = Problem(414, "payload-too-large", f"the path and query are over {TARGET_BYTES_MAX} bytes")
        if self._refusal is not None:
            raise httptools.HttpParserError("refused")  # ends the parsing; send_400_response tells why
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """As uvicorn does, without a timer for each answer: the sweep closes idle connections."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def resume_writing(self) -> None:
        self._resumed += 1
        super().resume_writing()

    # ── what is answered

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.__class__ = _Answer
        cast(_Answer, cycle).always = self._always
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Say why the request is refused, as the problem document that every error is."""
        self._refuse(self._refusal or Problem(400, "invalid-request", "this is no HTTP request"))

    def _refuse(self, problem: Problem) -> None:
        """Answer at once and close. Where an answer is under way already, just close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = problem.body()
            head = [STATUS_LINE[problem.status], self._always, _USUAL, b"connection: close\r\n"]
            told = {"content-type": CONTENT_TYPE, "content-length": str(len(body)), **problem.headers}
            head += [f"{name.lower()}: {value}\r\n".encode() for name, value in told.items()]
            self.transport.write(b"".join([*head, b"\r\n", body]))
        self.transport.close()

    # ── what is looked at now and then

    def check(self, now: float) -> None:
        """Close the connection when its client has kept us waiting for too long."""
        state = self._awaited()
        seconds, self._seen = now - self._seen, now
        if state != self._state:
            self._state, self._since, self._received_before = state, now, self._received
            return
        kind, waited, bounds = state[0], now - self._since, self._bounds
        if kind == "us":
            self._since += seconds
        elif kind == "reader" and waited > bounds.reader_seconds:
            self.transport.abort()
        elif kind == "head" and waited > bounds.head_seconds:
            if not self._received:
                self.transport.close()  # a browser's connection in reserve, for example
            self._refuse(Problem(408, "too-slow", f"the headers took more than {bounds.head_seconds:g} seconds"))
        elif kind == "body":
            if self.cycle.body:  # we have not read what is there: it is not the client who is slow
                self._since += seconds
            elif waited > bounds.body_grace_seconds + self._received_in_state() / bounds.body_bytes_per_second:
                rate = f"{bounds.body_bytes_per_second:g} bytes a second"
                self._refuse(
                    Problem(408, "too-slow", f"the body came at less than {rate}; send it in smaller requests")
                )
        elif (kind == "leftover" and waited > bounds.leftover_seconds) or (
            kind == "idle" and waited > bounds.idle_seconds
        ):
            self.transport.close()

    def _awaited(self) -> tuple[str, int]:
        """Return what the connection waits for, with a number that changes when there was progress."""
        if self.transport.get_write_buffer_size():
            return "reader", self._resumed
        if self._in_head:
            return "head", self._requests
        cycle = self.cycle
        if cycle.response_complete:
            return ("leftover" if cycle.more_body else "idle"), self._requests
        return ("body" if cycle.more_body else "us"), self._requests

    def _received_in_state(self) -> int:
        return self._received - self._received_before


class _Answer(RequestResponseCycle):
    """An answer with the headers that all have. What uvicorn would look for in each header is looked for once in all.

    The head waits for the first part of the body, as ASGI asks: most answers then are one write, and a write costs more
    than all else here.
    """

    always = b""
    head: bytes | None = None

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_started:
            await self._send_body(message)
        elif message["type"] != "http.response.start":
            await super().send(message)
        else:
            self.response_started = True
            self.waiting_for_100_continue = False
            self.head = self._head_of(message)

    def _head_of(self, message: Any) -> bytes:
        status = message["status"]
        content = [STATUS_LINE[status], self.always]
        yielding = _YIELDING
        for name, value in (*self.default_headers, *message.get("headers", ())):
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
                continue
            elif name in yielding:
                yielding = {n: line for n, line in yielding.items() if n != name}
            content += (name, b": ", value, b"\r\n")
        content.append(_USUAL if yielding is _YIELDING else b"".join(yielding.values()))
        if not self.keep_alive:
            content.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in (204, 304):
            self.chunked_encoding = True
            content.append(b"transfer-encoding: chunked\r\n")
        content.append(b"\r\n")
        return b"".join(content)

    async def _send_body(self, message: Any) -> None:
        head, self.head = self.head, None
        if head is None:
            await super().send(message)
            return
        body = message.get("body", b"")
        is_whole = (
            not self.chunked_encoding and not message.get("more_body") and message["type"] == "http.response.body"
        )
        if is_whole and len(body) == self.expected_content_length and self.scope["method"] != "HEAD":
            self.transport.write(head + body)
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self.transport.close()
            self.on_response()
        else:
            self.transport.write(head)
            await super().send(message)


def protocol(bounds: Bounds) -> Any:
    """Return what uvicorn makes connections with."""
    return partial(Connection, bounds)


async def watch(connections: Collection[Any], bounds: Bounds) -> None:
    """Look at all connections now and then, for ever."""
    while True:
        await asyncio.sleep(bounds.swept_seconds)
        now = time.monotonic()
        for connection in [c for c in connections if isinstance(c, Connection)]:
            connection.check(now)


def _always(hsts_seconds: int) -> bytes:
    if not hsts_seconds:
        return _ALWAYS
    return _ALWAYS + b"strict-transport-security: max-age=%d; includeSubDomains\r\n" % hsts_seconds


def _size(headers: list[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in headers)


def _head_too_large() -> Problem:
    detail = f"the headers are over {HEAD_BYTES_MAX} bytes, or more than {HEADERS_MAX}"
    return Problem(431, "payload-too-large", detail, limit=HEAD_BYTES_MAX)
