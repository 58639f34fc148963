"""Who calls is a type in a handler's signature: a handler without one is public, and visibly so."""

from typing import Any

import msgspec
from litestar import Request
from litestar.di import Provide

from questline.api.auth import is_operator, require
from questline.api.problems import Problem
from questline.api.services import Services
from questline.model.principal import KeyType, Principal, Project, Role

_READS = frozenset({Role.ADMIN, Role.READONLY})
_READS_EVENTS = frozenset(Role)
_ADMIN = frozenset({Role.ADMIN})
_SENDS = frozenset({Role.ADMIN, Role.INGEST})


class _Caller(msgspec.Struct, frozen=True):
    principal: Principal

    @property
    def project(self) -> Project:
        return self.principal.project


class Admin(_Caller, frozen=True):
    """A secret key of role ADMIN: everything in its project."""


class Sender(_Caller, frozen=True):
    """A secret key of role ADMIN or INGEST: sends events and commands."""


class Reader(_Caller, frozen=True):
    """A secret key of role ADMIN or READONLY: reads everything in its project."""


class EventReader(_Caller, frozen=True):
    """Any secret key: reads events and their status."""


class Creator(msgspec.Struct, frozen=True):
    """Who may create projects: an operator, or anybody in development."""


async def _principal(request: Request[Any, Any, Any], roles: frozenset[Role]) -> Principal:
    services: Services = request.app.state.services
    principal = await services.ring.principal(request.scope["headers"])
    if principal.key_type is KeyType.PUBLISHABLE:
        raise Problem(403, "forbidden", "a publishable key sends behavioural events and does nothing else")
    require(principal, roles)
    services.rates.take(principal.key_id)
    request.scope["state"]["project"] = principal.project.app_id  # for the access log
    return principal


async def admin(request: Request[Any, Any, Any]) -> Admin:
    return Admin(await _principal(request, _ADMIN))


async def sender(request: Request[Any, Any, Any]) -> Sender:
    return Sender(await _principal(request, _SENDS))


async def reader(request: Request[Any, Any, Any]) -> Reader:
    return Reader(await _principal(request, _READS))


async def event_reader(request: Request[Any, Any, Any]) -> EventReader:
    return EventReader(await _principal(request, _READS_EVENTS))


async def creator(request: Request[Any, Any, Any]) -> Creator:
    settings = request.app.state.services.settings
    if settings.dev or is_operator(request.headers.get("x-admin-token"), settings.admin_token):
        return Creator()
    raise Problem(401, "unauthorized", "projects are created by an operator: send X-Admin-Token")


async def services(request: Request[Any, Any, Any]) -> Services:
    found: Services = request.app.state.services
    return found


CALLERS: dict[str, frozenset[Role]] = {
    "admin": _ADMIN,
    "sender": _SENDS,
    "reader": _READS,
    "event_reader": _READS_EVENTS,
    "creator": frozenset(),
}
"""The roles that each kind of caller may have, by the name of the handler's parameter."""

DEPENDENCIES = {
    "admin": Provide(admin),
    "sender": Provide(sender),
    "reader": Provide(reader),
    "event_reader": Provide(event_reader),
    "creator": Provide(creator),
    "services": Provide(services),
}
