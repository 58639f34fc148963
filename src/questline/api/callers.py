"""Who calls is a type in a handler's signature: a handler without one is public, and visibly so."""

import asyncio
from typing import Any, cast
from uuid import UUID

import msgspec
from litestar import Request
from litestar.di import Provide

from questline.api import asgi
from questline.api.acts import Acts
from questline.api.auth import TOKEN_PREFIX, key_of, require
from questline.api.notes import notes_of
from questline.api.origins import check_origin
from questline.api.own import check_own
from questline.api.problems import Problem, unauthorized
from questline.api.services import Services
from questline.control.user_tokens import BadToken
from questline.model.audit import DEVELOPER, OPERATOR
from questline.model.permissions import Role, Scope
from questline.model.principal import Principal, Project
from questline.model.rates import RouteClass
from questline.store import projects

_SAFE = ("GET", "HEAD")
_READS = frozenset({Role.ADMIN, Role.READONLY})
_READS_EVENTS = frozenset(Role)
_ADMIN = frozenset({Role.ADMIN})
_SENDS = frozenset({Role.ADMIN, Role.INGEST})


def needs(
    scope: Scope | None,
    act: str | None = None,
    *,
    not_administrative: str | None = None,
    command: bool = False,
    shows_secret: bool = False,
) -> dict[str, Any]:
    """Return what a route says of itself, as its `opt`.

    `scope` is what its caller must have; `act` is what the audit log calls what it does. A route that changes something and
    is no administrative act says why not. A `command` is an event, which keeps its outcome under the idempotency key; the
    replies of other routes are kept by api/once.py, unless a route `shows_secret`: a key or token that we keep by its hash.
    """
    return {
        "scope": scope,
        "act": act,
        "not_administrative": not_administrative,
        "command": command,
        "shows_secret": shows_secret,
    }


AnyRequest = Request[Any, Any, Any]


class _Caller(msgspec.Struct, frozen=True):
    principal: Principal

    @property
    def project(self) -> Project:
        return self.principal.project

    @property
    def actor(self) -> str:
        """Who it is in events and in the audit log."""
        return self.principal.actor

    @property
    def organization_id(self) -> int:
        return self.principal.project.organization_id

    @property
    def project_id(self) -> int | None:
        return self.principal.project.id


class Admin(_Caller, frozen=True):
    """A secret key of role ADMIN, or a member who manages: everything in the project."""


class Sender(_Caller, frozen=True):
    """A secret key of role ADMIN or INGEST: sends events and commands."""


class Reader(_Caller, frozen=True):
    """A secret key of role ADMIN or READONLY, or any member: reads everything in the project."""


class EventReader(_Caller, frozen=True):
    """Any secret key or member: reads events and their status."""


class EndUser(_Caller, frozen=True):
    """An end user, by a token of theirs; `session` is the one that it was given with, if any."""

    session: UUID | None = None

    @property
    def id(self) -> str:
        assert self.principal.user is not None
        return self.principal.user


class Creator(msgspec.Struct, frozen=True):
    """Who may create projects: an operator, or anybody in development."""

    actor: str


class Overseer(msgspec.Struct, frozen=True):
    """Who sees what went wrong: an operator (`project` None: all of them), or who reads everything in the project."""

    project: Project | None
    name: str

    async def project_ids(self, services: Services, app_id: str | None) -> list[int]:
        """Return the projects that a request is about: the one it names, or all that the caller may see to."""
        if app_id is not None:
            return [(await self.one_project(services, app_id)).id]
        return [self.project.id] if self.project is not None else await projects.ids(services.pool)

    async def one_project(self, services: Services, app_id: str | None) -> Project:
        """Return the project that a request names, or else the key's own; raises problems."""
        if self.project is not None:
            if app_id not in (None, self.project.app_id):
                raise Problem(403, "forbidden", f"the key is of project {self.project.app_id!r}, not of {app_id!r}")
            return self.project
        if app_id is None:
            raise Problem(400, "invalid-request", "say which project: an operator sees to all of them")
        row = await projects.find(services.pool, app_id)
        if row is None:
            raise Problem(404, "not-found", f"there is no project {app_id!r}")
        return row.project


class Steward(Overseer, frozen=True):
    """Who mends what went wrong: an operator (`project` None: all of them), or a key of role ADMIN in its project."""


async def _principal(request: AnyRequest) -> Principal:
    services: Services = request.app.state.services
    scope = cast(asgi.Scope, request.scope)
    known: Principal | None = scope["state"].get("principal")
    if known is not None:  # asked before, for the key of the request
        return known
    notes = notes_of(scope)
    principal = await services.ring.principal(scope["headers"], request.path_params.get("project"), scope)
    scope["state"]["caller"] = principal.actor
    if notes is not None and notes.origin is not None:
        check_origin(principal, notes)
    if principal.user is None:
        require(principal, request.route_handler.opt["scope"])
    else:
        check_own(request, principal)
    class_ = RouteClass.READ if request.method in _SAFE else RouteClass.WRITE
    await services.rates.take(principal, class_, notes)
    request.scope["state"]["project"] = principal.project.app_id  # for the access log
    request.scope["state"]["principal"] = principal
    return principal


async def admin(request: AnyRequest) -> Admin:
    return Admin(await _principal(request))


async def sender(request: AnyRequest) -> Sender:
    return Sender(await _principal(request))


async def reader(request: AnyRequest) -> Reader:
    return Reader(await _principal(request))


async def event_reader(request: AnyRequest) -> EventReader:
    return EventReader(await _principal(request))


async def end_user(request: AnyRequest) -> EndUser:
    services: Services = request.app.state.services
    scope = cast(asgi.Scope, request.scope)
    notes = notes_of(scope)
    principal = await services.ring.principal(scope["headers"], None, scope)
    scope["state"]["caller"] = principal.actor
    if notes is not None and notes.origin is not None:
        check_origin(principal, notes)
    if principal.user is None:
        raise unauthorized("this is for users: send a token of theirs as Authorization: Bearer")
    await services.rates.take(principal, RouteClass.READ if request.method in _SAFE else RouteClass.WRITE, notes)
    request.scope["state"]["project"] = principal.project.app_id  # for the access log
    return EndUser(principal, _session_of(services, key_of(scope["headers"]) or b""))


def _session_of(services: Services, token: bytes) -> UUID | None:
    """Return the session that a token was given with; None also for a user whom a header names, in development."""
    try:
        return services.tokens.read(token).session if token.startswith(TOKEN_PREFIX) else None
    except BadToken as error:  # it was over a moment ago
        raise unauthorized(str(error)) from error


async def creator(request: AnyRequest) -> Creator:
    services: Services = request.app.state.services
    if await is_operator(request):
        return Creator(OPERATOR)
    if services.settings.dev:
        return Creator(DEVELOPER)
    raise Problem(401, "unauthorized", "projects are created by an operator: send X-Admin-Token")


def address_of(request: AnyRequest) -> str:
    """Return the address a request came from, as limits count it."""
    services: Services = request.app.state.services
    return services.addresses.of(cast(asgi.Scope, request.scope))


async def acts(request: AnyRequest) -> Acts:
    return Acts(request)


async def overseer(request: AnyRequest) -> Overseer:
    return Overseer(*await _operator_or_project(request))


async def steward(request: AnyRequest) -> Steward:
    return Steward(*await _operator_or_project(request))


async def _operator_or_project(request: AnyRequest) -> tuple[Project | None, str]:
    if "x-admin-token" not in request.headers:
        principal = await _principal(request)
        return principal.project, principal.actor
    if not await is_operator(request):
        raise Problem(401, "unauthorized", "the operator's token is wrong, or none is set")
    return None, OPERATOR


async def is_operator(request: AnyRequest) -> bool:
    """Tell whether an operator asks: once a request, since each look at a token counts against guessing."""
    given = request.headers.get("x-admin-token")
    if given is None:
        return False
    state = request.scope["state"]
    if "operator" not in state:  # a task, for whoever asks while it is being found out
        services: Services = request.app.state.services
        state["operator"] = asyncio.ensure_future(services.operators.is_operator(given, address_of(request)))
    found = bool(await state["operator"])
    if found:
        state["caller"] = OPERATOR
    return found


async def services(request: AnyRequest) -> Services:
    found: Services = request.app.state.services
    pool = request.scope["state"].get("pool")
    return found if pool is None else msgspec.structs.replace(found, pool=pool)


CALLERS: dict[str, frozenset[Role]] = {
    "admin": _ADMIN,
    "sender": _SENDS,
    "reader": _READS,
    "event_reader": _READS_EVENTS,
    "creator": frozenset(),
    "end_user": frozenset(),
    "overseer": _READS,
    "steward": _ADMIN,
}
"""The roles of keys that each kind of caller may have, by the name of the handler's parameter. A test holds them against
the scope that the route names (model/permissions.py)."""

DEPENDENCIES = {
    "admin": Provide(admin),
    "sender": Provide(sender),
    "reader": Provide(reader),
    "event_reader": Provide(event_reader),
    "creator": Provide(creator),
    "end_user": Provide(end_user),
    "acts": Provide(acts),
    "overseer": Provide(overseer),
    "steward": Provide(steward),
    "services": Provide(services),
}
