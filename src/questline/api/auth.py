"""Who calls: keys from headers to principals, cached for a moment, so that a revoked key stops at once or soon."""

import asyncio
import hmac
import time
from collections.abc import Iterable
from hashlib import sha256
from typing import Any
from uuid import UUID

from questline.api.problems import Problem, unauthorized, unavailable
from questline.model.limits import KEY_BYTES_MAX, KEY_CACHE_ENTRIES_MAX, KEY_CACHE_SECONDS
from questline.model.principal import Principal, Role
from questline.store import keys
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import Pool

Headers = Iterable[tuple[bytes, bytes]]

INGESTS = frozenset({Role.ADMIN, Role.INGEST})


class KeyRing:
    """Keys known to this process. A miss asks the database once, however many requests wait for the answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._unknown: dict[bytes, float] = {}  # apart, so that guessed keys never push out those in use
        self._asking: dict[bytes, asyncio.Task[Principal | None]] = {}
        self._used: set[UUID] = set()

    async def principal(self, headers: Headers) -> Principal:
        """Return who sent these headers; raises a 401 problem, or 503 when the database cannot be asked."""
        key = key_of(headers)
        if key is None:
            raise unauthorized()
        found = self._known.get(key)
        if found is not None and found[1] >= time.monotonic():
            return found[0]
        principal = None
        if len(key) <= KEY_BYTES_MAX and self._unknown.get(key, 0.0) < time.monotonic():
            principal = await self._look_up(key)
        if principal is None:
            raise unauthorized("the key is unknown or revoked")
        return principal

    def forget(self) -> None:
        """Drop everything cached: a key was revoked here."""
        self._known.clear()

    async def note_use(self) -> None:
        """Write down which keys were used since the last call."""
        if self._used:
            used, self._used = self._used, set()
            await keys.touch(self._pool, list(used))

    async def _look_up(self, key: bytes) -> Principal | None:
        """Join the question under way, or ask. It is nobody's own task: a caller who leaves takes no other along."""
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(key))
        try:
            return await asyncio.shield(asking)
        except TRANSIENT_FAULTS as fault:
            raise unavailable() from fault

    async def _ask(self, key: bytes) -> Principal | None:
        try:
            principal = await keys.find(self._pool, sha256(key).digest())
        finally:
            del self._asking[key]
        until = time.monotonic() + KEY_CACHE_SECONDS
        cache: dict[bytes, Any] = self._unknown if principal is None else self._known
        if len(cache) >= KEY_CACHE_ENTRIES_MAX:
            cache.clear()
        cache[key] = until if principal is None else (principal, until)
        if principal is not None:
            self._used.add(principal.key_id)
        return principal


def key_of(headers: Headers) -> bytes | None:
    """Return the key in X-API-Key or Authorization: Bearer."""
    for name, value in headers:
        if name == b"x-api-key" and value:
            return value
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
    return None


def require(principal: Principal, roles: frozenset[Role]) -> None:
    """Raise a 403 problem unless the principal has one of the roles."""
    if principal.role not in roles:
        wanted = " or ".join(sorted(roles))
        raise Problem(403, "forbidden", f"the key's role is {principal.role}; this needs {wanted}")


def is_operator(given: str | None, token: str) -> bool:
    """Tell whether a token is the operator's, in constant time; without a token set, nobody is."""
    if not token or given is None:
        return False
    return hmac.compare_digest(sha256(given.encode()).digest(), sha256(token.encode()).digest())
