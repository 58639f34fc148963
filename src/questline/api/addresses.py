"""Where a request comes from: the address of its client, also behind proxies that the operator trusts."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from questline.api.asgi import Scope, lines_of

Address = IPv4Address | IPv6Address

_REMEMBERED = 4_096
_UNKNOWN = "unknown"


class Addresses:
    """Reads addresses; `trusted` are the networks of the proxies in front, whose X-Forwarded-For is believed."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = [ip_network(network) for network in trusted]
        self._is_trusted = lru_cache(_REMEMBERED)(self._lies_in_trusted)

    def of(self, scope: Scope) -> str:
        """Return the client's address as limits count it: an IPv4 address, or the /64 network of an IPv6 one."""
        return _network_of(self.client_of(scope))

    def client_of(self, scope: Scope) -> str:
        """Return the client's address, as it was told.

        X-Forwarded-For is read from the end of its last line, where the nearest proxy wrote: some proxies add to the line
        they were sent, others add a line. The first address that is not a trusted proxy's is the client's. What stands
        before it is the client's own word.
        """
        client = scope.get("client")
        found = str(client[0]) if client else ""
        if self._trusted and self._is_trusted(found):
            for hop in reversed(lines_of(scope, b"x-forwarded-for").split(",")):
                if not hop.strip():
                    break
                found = hop.strip()
                if not self._is_trusted(found):
                    break
        return found

    def _lies_in_trusted(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._trusted)


@lru_cache(_REMEMBERED)
def _network_of(text: str) -> str:
    """Return what limits count: one customer of a provider has a whole /64 of IPv6."""
    address = _address(text)
    if address is None:
        return _UNKNOWN
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))


def _address(text: str) -> Address | None:
    bare = text.removeprefix("[").partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]  # an IPv4 address with a port, as some proxies write
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
