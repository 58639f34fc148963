"""Where we may connect to when a customer names the address: never into the network that we run in.

A name is resolved, every address it has is checked, and the connection goes to a checked address, not to the name: what
a second look-up would answer (DNS rebinding) is never asked.
"""

import asyncio
import socket
import ssl
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import httpx

from questline.model.limits import URL_CHARS_MAX

Address = IPv4Address | IPv6Address

_SCHEMES = {"http": 80, "https": 443}
# Public by the registry's word, and still a way in: they hold an IPv4 address that the network translates to.
_TRANSLATED = [
    ip_network("64:ff9b::/96"),
    ip_network("64:ff9b:1::/48"),
    ip_network("2002::/16"),
    ip_network("2001::/32"),
]
# Global by the registry's word, or by that of an older Python, and still inside some network, or nobody's: a provider's own
# (100.64.0.0/10, and what Azure and Oracle tell their machines), relays to IPv4 (192.88.99.0/24), sites (fec0::/10) and
# documentation (3fff::/20).
_NOT_OUTSIDE = [
    ip_network("100.64.0.0/10"),
    ip_network("168.63.129.16/32"),
    ip_network("192.0.0.0/24"),
    ip_network("192.88.99.0/24"),
    ip_network("fec0::/10"),
    ip_network("3fff::/20"),
]


class AddressRefused(httpx.ConnectError):
    """The host has an address that we do not connect to."""


def url_problem(url: str) -> str | None:
    """Return what is wrong with a URL that a customer names, before anything is resolved; None when nothing is."""
    if len(url) > URL_CHARS_MAX or not url.isprintable() or " " in url:
        return f"must be a URL of at most {URL_CHARS_MAX} printable characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "must be an http or https URL"
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0:
        return "must be an http or https URL"
    return None


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the public internet's, whatever way it is written."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in _TRANSLATED):
            return False
    if any(address in network for network in _NOT_OUTSIDE):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def checked_address(host: str, port: int, *, private: bool = False) -> str:
    """Return an address of a host to connect to; raises AddressRefused unless all that it has are public.

    `private` allows every address: for development, and for operators whose receivers are in their own network.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{host} cannot be resolved: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    refused = [a for a in addresses if not private and not is_public(ip_address(a.partition("%")[0]))]
    if refused or not addresses:
        raise AddressRefused(f"{host} has the address {', '.join(refused) or 'none'}, which is not a public one")
    return addresses[0]


class CheckedTransport(httpx.AsyncBaseTransport):
    """A transport for requests to addresses that customers name. Each request is checked, a redirect's too.

    Connections are not kept: one made for a host must not serve another that shares its address.
    """

    def __init__(self, *, private: bool = False, verify: ssl.SSLContext | bool = True) -> None:
        self._private = private
        self._inner = httpx.AsyncHTTPTransport(
            verify=verify, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to a checked address, under the name that was asked for (in Host, and in TLS)."""
        host = request.url.host
        port = request.url.port or _SCHEMES[request.url.scheme]
        address = await checked_address(host, port, private=self._private)
        extensions: dict[str, Any] = {**request.extensions, "sni_hostname": host}
        pinned = httpx.Request(
            request.method, request.url.copy_with(host=address), headers=request.headers, stream=request.stream,
            extensions=extensions,
        )  # fmt: skip
        return await self._inner.handle_async_request(pinned)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._inner.aclose()
