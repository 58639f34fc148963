"""Who calls: from headers to principals, cached for a moment, and forgotten at once when a key is revoked anywhere."""

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Iterable
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from questline.api import asgi
from questline.api.problems import Problem, unauthorized, unavailable
from questline.api.rates import Rates
from questline.control.keys import KEY_PREFIXES, MEMBER_PREFIX, PROJECT
from questline.control.user_tokens import BadToken, UserTokens
from questline.model.limits import (
    KEY_ASKED_SECONDS,
    KEY_BYTES_MAX,
    KEY_CACHE_DEAF_SECONDS,
    KEY_CACHE_ENTRIES_MAX,
    KEY_CACHE_SECONDS,
    KEY_UNKNOWN_SECONDS,
    USER_TOKEN_BYTES_MAX,
)
from questline.model.permissions import PERMISSIONS, Scope
from questline.model.principal import KeyType, Principal
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.keys import Found

Headers = Iterable[tuple[bytes, bytes]]
Asked = bytes | tuple[bytes, str | None]  # a key; a member's token and the project they name
Find = Callable[[bytes, str | None], Awaitable[Found | None]]

TOKEN_PREFIX = b"eyJ"  # of a JWT: the beginning of an object in base64
_BASIC_BYTES_MAX = 4 * KEY_BYTES_MAX
CONCERNED: dict[str, Callable[[Principal], object]] = {  # by kind of announcement, whom of a principal's it is about
    "key": lambda principal: principal.key_id,
    "member": lambda principal: principal.key_id,
    "project": lambda principal: principal.project.id,
    "organization": lambda principal: principal.project.organization_id,
}


class _Entry(msgspec.Struct, frozen=True, gc=False):
    principal: Principal
    at: float
    until: float


class KeyRing:
    """Keys and members' tokens known to this process. A miss asks once, however many requests wait for the answer.

    `find` is asked with what a caller sent and the project they name beside it; a shared cache may stand in front of it.
    """

    def __init__(
        self,
        find: Find,
        clock: Callable[[], float] = time.monotonic,
        tenants: frozenset[str] = frozenset(),
        rates: Rates | None = None,
        users: UserTokens | None = None,
        dev: bool = False,
    ) -> None:
        """`tenants` are the projects that are served here; empty: all. `dev`: X-User-Id beside a publishable key names a user."""
        self._users = users
        self._dev = dev
        self._rates = rates
        self._find = find
        self._tenants = tenants
        self._clock = clock
        self._known: dict[Asked, _Entry] = {}
        self._unknown: dict[Asked, float] = {}  # apart, so that guessed keys never push out those in use
        self._asking: dict[Asked, asyncio.Task[Principal | None]] = {}
        self._met: dict[Asked, bool] = {}  # found at some time, even if it is forgotten or over
        self._used: set[UUID] = set()
        self._hears = False
        self._news = 0  # counts what was forgotten: an answer that was asked for before it is not kept

    async def principal(
        self, headers: Headers, tenant: str | None = None, scope: asgi.Scope | None = None
    ) -> Principal:
        """Return who sent these headers; raises a 401 problem, or 503 when the database cannot be asked.

        A member names their project, by `tenant` or in X-Tenant-Id; a key has one. The address that the request (`scope`)
        comes from is answered 429 once it has sent too many without a key or with a wrong one.
        """
        key = key_of(headers)
        if key is None:
            await self._count(scope)
            raise unauthorized()
        if key.startswith(TOKEN_PREFIX):
            return await self._user(key, headers, scope)
        asked: Asked = key
        if key.startswith(MEMBER_PREFIX):
            asked = key, tenant or _tenant_of(headers)
            if asked[1] is None:
                raise Problem(400, "invalid-request", "a member says which project is meant: send X-Tenant-Id")
        principal = await self._found(key, asked, scope)
        named = None if type(asked) is tuple else _tenant_of(headers)
        if named is not None or self._tenants:
            self._check_tenant(principal.project.app_id, named)
        if self._dev and principal.key_type is KeyType.PUBLISHABLE and (user := _header(headers, b"x-user-id")):
            return as_user(principal, user.decode("utf-8", "replace"))
        return principal

    async def named(self, headers: Headers, app_id: str | None, scope: asgi.Scope | None = None) -> Principal:
        """Return whose key is in these headers, or else anybody in the project that a request names; raises problems."""
        if key_of(headers) is not None:
            principal = await self.principal(headers, None, scope)
            if app_id is not None and app_id != principal.project.app_id:
                raise Problem(403, "tenant-mismatch", "the key belongs to another project than appId names")
            return principal
        if app_id is None:
            raise Problem(
                400, "invalid-request", "say which project: send its publishable key as X-API-Key, or its appId"
            )
        return await self.anybody(app_id, scope)

    async def anybody(self, app_id: str, scope: asgi.Scope | None = None) -> Principal:
        """Return who may do in a project what anybody may; raises problems."""
        principal = await self._found(PROJECT, (PROJECT, app_id), scope)
        if self._tenants:
            self._check_tenant(app_id, None)
        return principal

    async def _user(self, token: bytes, headers: Headers, scope: asgi.Scope | None) -> Principal:
        """Return the user that a token of theirs tells of; a key and a project named beside it must be the token's."""
        try:
            if self._users is None or len(token) > USER_TOKEN_BYTES_MAX:
                raise BadToken("tokens of users are not taken here")
            claims = self._users.read(token)
        except BadToken as error:
            await self._count(scope)
            raise unauthorized(str(error)) from None
        principal = await self._found(PROJECT, (PROJECT, claims.app_id), scope)
        named = _tenant_of(headers)
        if named is not None or self._tenants:
            self._check_tenant(claims.app_id, named)
        beside = _header(headers, b"x-api-key")
        if beside is not None and (await self._found(beside, beside, scope)).project.id != principal.project.id:
            raise Problem(403, "tenant-mismatch", "the key and the user's token are of two projects")
        return as_user(principal, claims.user)

    async def _found(self, key: bytes, asked: Asked, scope: asgi.Scope | None) -> Principal:
        now = self._clock()
        found = self._known.get(asked)
        if found is not None and now < found.until and (self._hears or now < found.at + KEY_CACHE_DEAF_SECONDS):
            return found.principal
        if asked not in self._met:
            await self._count(scope, 0)  # what was right once is no guess
        return await self._unheard(key, asked, now, scope)

    async def _unheard(self, key: bytes, asked: Asked, now: float, scope: asgi.Scope | None) -> Principal:
        principal = None
        if len(key) <= KEY_BYTES_MAX and self._unknown.get(asked, 0.0) < now:
            principal = await self._look_up(asked)
        if principal is None:
            await self._count(scope)
            if key == PROJECT:
                raise unauthorized("there is no such project")
            raise unauthorized("the key or token is unknown, revoked or over, or has no such project")
        return principal

    async def _count(self, scope: asgi.Scope | None, tokens: int = 1) -> None:
        if self._rates is not None and scope is not None:
            await self._rates.stranger(scope, tokens)

    def _check_tenant(self, app_id: str, named: str | None) -> None:
        if named is not None and named.strip() != app_id:
            detail = "the key or token is of another project than X-Tenant-Id names; send one of that project"
            raise Problem(403, "tenant-mismatch", detail)
        if self._tenants and app_id not in self._tenants:
            detail = f"project {app_id!r} is not served here: the operator lists the projects that are"
            raise Problem(403, "tenant-not-allowed", detail)

    def hears(self, hears: bool) -> None:
        """Be told whether revocations elsewhere are heard of: until they are, what is known is soon asked for again."""
        if hears and not self._hears:
            self._forget_all()  # what was revoked meanwhile
        self._hears = hears

    def forget(self, announced: str) -> None:
        """Forget whom an announcement is about: `key ID`, `member ID`, `project ID` or `organization ID`."""
        kind, _, id_ = announced.partition(" ")
        self._news += 1
        self._unknown.clear()  # a project that is restored has keys again
        concerned = CONCERNED.get(kind)
        if concerned is None:
            self._forget_all()
            return
        for asked in [asked for asked, entry in self._known.items() if str(concerned(entry.principal)) == id_]:
            del self._known[asked]

    async def note_use(self, touch: Callable[[list[UUID]], Awaitable[None]]) -> None:
        """Write down which keys were used since the last call."""
        if self._used:
            used, self._used = self._used, set()
            await touch(list(used))

    def _forget_all(self) -> None:
        self._news += 1
        self._known.clear()

    async def _look_up(self, asked: Asked) -> Principal | None:
        """Join the question under way, or ask. It is nobody's own task: a caller who leaves takes no other along."""
        asking = self._asking.get(asked)
        if asking is None:
            asking = self._asking[asked] = asyncio.create_task(self._ask(asked))
        try:
            async with asyncio.timeout(KEY_ASKED_SECONDS):
                return await asyncio.shield(asking)
        except TRANSIENT_FAULTS as fault:
            raise unavailable() from fault

    async def _ask(self, asked: Asked) -> Principal | None:
        news = self._news
        secret, tenant = asked if isinstance(asked, tuple) else (asked, None)
        at = self._clock()
        try:
            found = await self._find(secret, tenant)
        finally:
            del self._asking[asked]
        if found is None:
            _bounded(self._unknown)[asked] = at + KEY_UNKNOWN_SECONDS
            return None
        _bounded(self._met)[asked] = True
        if news == self._news:
            seconds = KEY_CACHE_SECONDS if found.seconds_left is None else min(KEY_CACHE_SECONDS, found.seconds_left)
            _bounded(self._known)[asked] = _Entry(found.principal, at, at + seconds)
        if secret.startswith(KEY_PREFIXES):
            self._used.add(found.principal.key_id)
        return found.principal


def key_of(headers: Headers) -> bytes | None:
    """Return the key in X-API-Key, Authorization: Bearer, or Basic (RFC 7617), where it is the user.

    A user's token counts before a key beside it: it may less.
    """
    key = None
    for name, value in headers:
        if name == b"x-api-key":
            key = value or key
        elif name == b"authorization":
            if value[:7].lower() == b"bearer ":
                bearer = value[7:].strip()
                if bearer.startswith(TOKEN_PREFIX):
                    return bearer
                key = key or bearer
            elif value[:6].lower() == b"basic ":
                key = key or _user_of(value[6:])
    return key


def as_user(principal: Principal, user: str) -> Principal:
    """Return a user of a principal's project, who may do what is their own. Limits count each user by themselves."""
    id_ = UUID(bytes=blake2b(b"%d:%b" % (principal.project.id, user.encode()), digest_size=16).digest())
    return msgspec.structs.replace(principal, key_id=id_, actor=f"user:{user}", user=user)


def _user_of(credentials: bytes) -> bytes | None:
    """Return the user of Basic credentials; the password is not looked at."""
    if len(credentials) > _BASIC_BYTES_MAX:
        return None
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[0] or None
    except binascii.Error:
        return None


def require(principal: Principal, scope: Scope) -> None:
    """Raise a 403 problem unless the principal has a scope."""
    if scope in principal.scopes:
        return
    if principal.user is not None:
        raise Problem(403, "forbidden", "a user's token reaches what its user has, and does nothing else")
    if principal.key_type is KeyType.PUBLISHABLE:
        raise Problem(403, "forbidden", "a publishable key sends behavioural events and does nothing else")
    roles = PERMISSIONS[scope].roles
    if principal.role in roles:
        raise Problem(403, "forbidden", f"the key lacks the scope {scope}, which this needs", scope=scope.value)
    wanted = " or ".join(sorted(roles)) or "a member"
    raise Problem(403, "forbidden", f"the role is {principal.role}; this needs {wanted}", scope=scope.value)


def _tenant_of(headers: Headers) -> str | None:
    named = _header(headers, b"x-tenant-id")
    return None if named is None else named.decode("latin-1")


def _header(headers: Headers, wanted: bytes) -> bytes | None:
    for name, value in headers:
        if name == wanted:
            return value
    return None


def _bounded(cache: dict[Asked, Any]) -> dict[Asked, Any]:
    if len(cache) >= KEY_CACHE_ENTRIES_MAX:
        cache.clear()
    return cache
