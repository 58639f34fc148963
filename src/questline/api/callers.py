"""Who calls is a type in a handler's signature: a handler without one is public, and visibly so."""

from typing import Any

import msgspec
from litestar import Request
from litestar.di import Provide

from questline.api.acts import Acts
from questline.api.auth import require
from questline.api.problems import Problem
from questline.api.services import Services
from questline.model.audit import DEVELOPER, OPERATOR
from questline.model.permissions import Role, Scope
from questline.model.principal import Principal, Project

_READS = frozenset({Role.ADMIN, Role.READONLY})
_READS_EVENTS = frozenset(Role)
_ADMIN = frozenset({Role.ADMIN})
_SENDS = frozenset({Role.ADMIN, Role.INGEST})


def needs(scope: Scope | None, act: str | None = None, *, not_administrative: str | None = None) -> dict[str, Any]:
    """Return what a route says of itself, as its `opt`.

    `scope` is what its caller must have; `act` is what the audit log calls what it does. A route that changes something and
    is no administrative act says why not.
    """
    return {"scope": scope, "act": act, "not_administrative": not_administrative}


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


class Creator(msgspec.Struct, frozen=True):
    """Who may create projects: an operator, or anybody in development."""

    actor: str


async def _principal(request: AnyRequest) -> Principal:
    services: Services = request.app.state.services
    principal = await services.ring.principal(request.scope["headers"], request.path_params.get("project"))
    require(principal, request.route_handler.opt["scope"])
    services.rates.take(principal.key_id)
    request.scope["state"]["project"] = principal.project.app_id  # for the access log
    return principal


async def admin(request: AnyRequest) -> Admin:
    return Admin(await _principal(request))


async def sender(request: AnyRequest) -> Sender:
    return Sender(await _principal(request))


async def reader(request: AnyRequest) -> Reader:
    return Reader(await _principal(request))


async def event_reader(request: AnyRequest) -> EventReader:
    return EventReader(await _principal(request))


async def creator(request: AnyRequest) -> Creator:
    services: Services = request.app.state.services
    given = request.headers.get("x-admin-token")
    if services.operators.is_operator(given, address_of(request)):
        return Creator(OPERATOR)
    if services.settings.dev:
        return Creator(DEVELOPER)
    raise Problem(401, "unauthorized", "projects are created by an operator: send X-Admin-Token")


def address_of(request: AnyRequest) -> str:
    """Return the address a request came from."""
    client = request.scope["client"]
    return client[0] if client else ""


async def acts(request: AnyRequest) -> Acts:
    return Acts(request)


async def services(request: AnyRequest) -> Services:
    found: Services = request.app.state.services
    return found


CALLERS: dict[str, frozenset[Role]] = {
    "admin": _ADMIN,
    "sender": _SENDS,
    "reader": _READS,
    "event_reader": _READS_EVENTS,
    "creator": frozenset(),
}
"""The roles of keys that each kind of caller may have, by the name of the handler's parameter. A test holds them against
the scope that the route names (model/permissions.py)."""

DEPENDENCIES = {
    "admin": Provide(admin),
    "sender": Provide(sender),
    "reader": Provide(reader),
    "event_reader": Provide(event_reader),
    "creator": Provide(creator),
    "acts": Provide(acts),
    "services": Provide(services),
}
