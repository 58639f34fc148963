"""Requests to addresses that customers name: each address is checked, and the connection goes to a checked one."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from questline.outward.addresses import AddressRefused, CheckedTransport


class Receiver:
    """A server on the loopback address that remembers what it was asked."""

    port: int
    asked: list[bytes]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    found.asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names resolve to addresses, another list each time; return the names that were looked up."""
    asked: list[str] = []
    told = iter(answers)

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(told)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "2130706433", "0x7f.1", "127.1"])
async def test_an_address_of_our_own_is_not_connected_to_however_it_is_written(receiver: Receiver, host: str) -> None:
    async with httpx.AsyncClient(transport=CheckedTransport()) as client:
        with pytest.raises(httpx.ConnectError, match=r"not a public one|cannot be resolved"):
            await client.post(f"http://{host}:{receiver.port}/")
    assert receiver.asked == []


async def test_a_name_with_one_private_address_among_public_ones_is_refused(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving(monkeypatch, ["93.184.216.34", "127.0.0.1"])
    async with httpx.AsyncClient(transport=CheckedTransport()) as client:
        with pytest.raises(AddressRefused, match=r"shop.example has the address 127.0.0.1"):
            await client.post(f"http://shop.example:{receiver.port}/")
    assert receiver.asked == []


async def test_a_name_is_looked_up_once_and_the_connection_goes_to_that_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The accident this prevents: a name that is public when it is checked and ours when it is connected to."""
    asked = resolving(monkeypatch, ["127.0.0.1"])
    async with httpx.AsyncClient(transport=CheckedTransport(private=True)) as client:
        answer = await client.post(f"http://shop.example:{receiver.port}/hook?a=b", content=b"{}")
    assert (answer.status_code, asked) == (302, ["shop.example"])
    assert b"POST /hook?a=b HTTP/1.1\r\n" in receiver.asked[0]
    assert b"Host: shop.example:%d\r\n" % receiver.port in receiver.asked[0]


async def test_where_a_redirect_leads_is_checked_as_well(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = CheckedTransport()
    async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
        resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.1"])
        transport._private = True
        answer = await client.get(f"http://shop.example:{receiver.port}/", follow_redirects=False)
        transport._private = False
        assert answer.next_request is not None
        with pytest.raises(AddressRefused):
            await client.send(answer.next_request)
