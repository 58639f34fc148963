"""Clients that are slow, large or many: what a real server does with their connections."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from questline.api.connections import Bounds
from questline.assembly import running_api
from questline.cli.listening import listen
from questline.cli.processes import listening
from questline.model.limits import HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX
from questline.settings import Settings

SOON = Bounds(
    head_seconds=0.3, body_grace_seconds=0.3, body_bytes_per_second=1_000, reader_seconds=0.3, leftover_seconds=0.2,
    swept_seconds=0.02, connections=20, hsts_seconds=3600,
)  # fmt: skip
DEADLINE_SECONDS = 60.0
ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "strict-transport-security": "max-age=3600; includeSubDomains",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@pytest.fixture(scope="module")
async def server(database: Any) -> AsyncIterator[tuple[str, int]]:
    """The API on a port, with a client's patience cut short."""
    async with bounded(database, SOON) as address:
        yield address


@pytest.fixture
async def patient_server(database: Any) -> AsyncIterator[tuple[str, int]]:
    """The same for as few clients, who may take their time."""
    async with bounded(database, msgspec.structs.replace(SOON, head_seconds=DEADLINE_SECONDS)) as address:
        yield address


@contextlib.asynccontextmanager
async def bounded(database: Any, bounds: Bounds) -> AsyncIterator[tuple[str, int]]:
    listener = listen("127.0.0.1", 0)
    settings = Settings(dsn=database.app_dsn, dev=True, pool_connections=2)
    async with running_api(settings) as app, listening(app, listener, bounds):
        yield listener.getsockname()[:2]


class Client:
    """One connection, spoken to byte by byte."""

    def __init__(self, address: tuple[str, int], receive_bytes: int | None = None) -> None:
        self._address = address
        self._receive_bytes = receive_bytes

    async def __aenter__(self) -> "Client":
        connection = socket.socket()
        if self._receive_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
        connection.connect(self._address)
        self.reader, self.writer = await asyncio.open_connection(sock=connection, limit=2**20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Return the next answer: its status, headers and JSON."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, json.loads(body or b"null")

    async def ends(self) -> bytes:
        """Return what still comes until the connection ends."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
        return b""

    async def drip(self, data: bytes) -> None:
        """Send a byte now and then until the server ends the connection."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self.reader.at_eof():
                self.send(data)
                try:
                    async with asyncio.timeout(0.05):
                        await self.reader.readexactly(2**19)
                except TimeoutError:
                    continue
                except (
                    ConnectionError,
                    asyncio.IncompleteReadError,
                ):  # a reset connection is at no end, and never will be
                    return

    async def ask_until_cut(self) -> None:
        """Send line ends, which no server answers, until there is nobody to send them to."""
        while True:
            self.send(b"\r\n")
            await self.writer.drain()
            await asyncio.sleep(0.02)


HEALTH = b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n", b"GET /v1/program HTTP/1.1\r\nHost: t\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}", b"GET /none HTTP/1.1\r\nHost: t\r\n\r\n",
        b"no request\r\n\r\n", b"OPTIONS / HTTP/1.1\r\nHost: t\r\nOrigin: http://a\r\nAccess-Control-Request-Method: GET\r\n\r\n",
    ],
)  # fmt: skip
async def test_every_answer_has_the_headers_that_keep_browsers_careful(
    server: tuple[str, int], request_: bytes
) -> None:
    async with Client(server) as client:
        client.send(request_)
        _, headers, _ = await client.answer()
    assert {name: headers.get(name) for name in ALWAYS} == ALWAYS


async def test_a_page_with_a_policy_of_its_own_has_that_one_alone(server: tuple[str, int]) -> None:
    async with Client(server) as client:
        client.send(b"GET /docs HTTP/1.1\r\nHost: t\r\n\r\n")
        head = (await client.reader.readuntil(b"\r\n\r\n")).lower()
    assert head.count(b"content-security-policy:") == 1
    assert b"style-src" in head


async def test_a_head_that_does_not_end_is_ended(server: tuple[str, int]) -> None:
    async with Client(server) as client:
        client.send(b"GET /health HTTP/1.1\r\nHost: t\r\n")
        status, headers, body = await client.answer()
        assert (status, body["code"], headers["connection"]) == (408, "too-slow", "close")
        assert await client.ends() == b""


async def test_a_head_that_comes_byte_by_byte_is_ended_though_it_never_rests(server: tuple[str, int]) -> None:
    async with Client(server) as client:
        client.send(b"GET /health HTTP/1.1\r\nx: ")
        await client.drip(b"y")


async def test_a_connection_that_says_nothing_is_closed_without_a_word(server: tuple[str, int]) -> None:
    async with Client(server) as client:
        assert await client.ends() == b""


async def test_the_next_head_on_a_kept_connection_is_bounded_too(server: tuple[str, int]) -> None:
    async with Client(server) as client:
        client.send(HEALTH)
        assert (await client.answer())[0] == 200
        client.send(HEALTH[:-2])
        assert (await client.answer())[0] == 408


async def test_a_body_that_comes_byte_by_byte_is_ended(server: tuple[str, int]) -> None:
    async with Client(server) as client:
        client.send(
            b"POST /v1/apps HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
        )
        await client.drip(b" ")


async def test_a_body_at_a_fair_rate_may_take_its_time(server: tuple[str, int]) -> None:
    async with Client(server) as client:
        client.send(
            b"POST /v1/apps HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 6002\r\n\r\n"
        )
        client.send(b" " * 2_000)  # ahead by two seconds, which a busy machine may take away again
        sent = 2_000
        while sent < 6_000:  # 0.8 s in all: more than the grace
            client.send(b" " * 100)
            sent += 100
            await asyncio.sleep(0.02)
        client.send(b"{}")
        assert (await client.answer())[0] == 422


async def test_a_body_that_is_refused_before_its_end_is_not_read_for_ever(server: tuple[str, int]) -> None:
    async with Client(server) as client:
        client.send(b"POST /v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n")
        assert (await client.answer())[0] == 401
        await client.drip(b" ")


async def test_an_answer_that_nobody_reads_is_cut_off(server: tuple[str, int]) -> None:
    async with Client(server, receive_bytes=4_096) as client:
        for _ in range(60):  # megabytes of answers, none of which is read
            client.send(b"GET /openapi.json HTTP/1.1\r\nHost: t\r\n\r\n")
        async with asyncio.timeout(DEADLINE_SECONDS):
            with pytest.raises(ConnectionError):
                await client.ask_until_cut()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /health HTTP/1.1\r\nx: " + b"y" * (HEAD_BYTES_MAX + 1) + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nx: " + b"y" * (2 * HEAD_BYTES_MAX), 431),
        (b"GET /health HTTP/1.1\r\n" + b"x: y\r\n" * (HEADERS_MAX + 1) + b"\r\n", 431),
        (b"GET /" + b"a" * TARGET_BYTES_MAX + b" HTTP/1.1\r\nHost: t\r\n\r\n", 414),
        (b"GET /health HTTP/9.9\r\n\r\n", 400),
        (b"POST /v1/events HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (b"GET /health HTTP/1.1\r\nHost: t\r\nx : y\r\n\r\n", 400),
    ],
)
async def test_a_head_over_a_bound_is_a_problem_document(server: tuple[str, int], head: bytes, status: int) -> None:
    async with Client(server) as client:
        client.send(head)
        found, headers, body = await client.answer()
    assert (found, headers["content-type"], body["status"]) == (status, "application/problem+json", status)


async def test_a_head_within_its_bounds_behind_a_large_body_is_none_of_that_bodys_size(server: tuple[str, int]) -> None:
    async with Client(server) as client:
        body = b" " * 150_000 + b"{}"
        head = b"POST /v1/apps HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        client.send(head % len(body) + body + HEALTH[:20])
        assert (await client.answer())[0] == 422
        client.send(HEALTH[20:])
        assert (await client.answer())[0] == 200


async def test_connections_beyond_the_bound_are_turned_away_and_the_others_go_on(
    patient_server: tuple[str, int],
) -> None:
    server = patient_server
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(Client(server))
        first.send(HEALTH)
        assert (await first.answer())[0] == 200
        crowd = [await stack.enter_async_context(Client(server)) for _ in range(SOON.connections)]
        status, headers, body = await crowd[-1].answer()
        assert (status, headers["retry-after"], body["code"]) == (503, "5", "overloaded")
        first.send(HEALTH)
        assert (await first.answer())[0] == 200


async def test_what_no_request_is_fills_no_log(server: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with Client(server) as client:
            client.send(b"no request\r\n\r\n")
            assert (await client.answer())[0] == 400
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
