"""Who calls: keys from headers to principals, cached for a moment, so that a revoked key stops at once or soon."""

import asyncio
import hmac
import time
from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID

from questline.api.problems import Problem, unauthorized
from questline.model.limits import KEY_CACHE_ENTRIES_MAX, KEY_CACHE_SECONDS
from questline.model.principal import Principal, Role
from questline.store import keys
from questline.store.pool import Pool

Headers = Iterable[tuple[bytes, bytes]]

INGESTS = frozenset({Role.ADMIN, Role.INGEST})


class KeyRing:
    """Keys known to this process. A miss asks the database once, however many requests wait for the answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[bytes, tuple[Principal | None, float]] = {}
        self._asking: dict[bytes, asyncio.Future[Principal | None]] = {}
        self._used: set[UUID] = set()

    def cached(self, key: bytes) -> Principal | None:
        """Return a key's principal without waiting; None when it must be looked up."""
        found = self._known.get(key)
        if found is None or found[1] < time.monotonic():
            return None
        return found[0]

    async def principal(self, headers: Headers) -> Principal:
        """Return who sent these headers; raises a 401 problem."""
        key = key_of(headers)
        if key is None:
            raise unauthorized()
        found = self._known.get(key)
        if found is None or found[1] < time.monotonic():
            principal = await self._look_up(key)
        else:
            principal = found[0]
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
        waiting = self._asking.get(key)
        if waiting is not None:
            return await asyncio.shield(waiting)
        future: asyncio.Future[Principal | None] = asyncio.get_running_loop().create_future()
        self._asking[key] = future
        try:
            principal = await keys.find(self._pool, sha256(key).digest())
            if len(self._known) >= KEY_CACHE_ENTRIES_MAX:
                self._known.clear()
            self._known[key] = (principal, time.monotonic() + KEY_CACHE_SECONDS)
            if principal is not None:
                self._used.add(principal.key_id)
            future.set_result(principal)
            return principal
        except BaseException as error:
            future.set_exception(error)
            future.exception()  # it is raised below; nobody else may be waiting
            raise
        finally:
            del self._asking[key]


def key_of(headers: Headers) -> bytes | None:
    """Return the key in X-API-Key or Authorization: Bearer."""
    for name, value in headers:
        if name == b"x-api-key":
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
