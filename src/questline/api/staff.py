"""Who manages: operators with their token, and members with that of their session, outside of any project."""

from typing import Any, cast
from uuid import UUID

import msgspec
from litestar import Request
from litestar.di import Provide

from questline.api import asgi
from questline.api.auth import key_of
from questline.api.callers import is_operator
from questline.api.problems import Problem, unauthorized
from questline.api.services import Services
from questline.control.keys import MEMBER_PREFIX
from questline.control.members import token_hash
from questline.model.audit import OPERATOR
from questline.model.permissions import MEMBER_SCOPES, PERMISSIONS, MemberRole, Scope
from questline.store import members, organizations
from questline.store.members import MemberRow
from questline.store.organizations import OrganizationRow

AnyRequest = Request[Any, Any, Any]


class Person(msgspec.Struct, frozen=True):
    """A member who is logged in, whatever they belong to."""

    member: MemberRow
    token_hash: bytes


class Staff(msgspec.Struct, frozen=True):
    """An operator (`member` None), or a member who is logged in."""

    member: MemberRow | None

    @property
    def actor(self) -> str:
        return OPERATOR if self.member is None else f"member:{self.member.id}"

    @property
    def member_id(self) -> UUID | None:
        return None if self.member is None else self.member.id


class Operator(msgspec.Struct, frozen=True):
    """An operator, and nobody else."""

    actor: str = OPERATOR


class Manager(msgspec.Struct, frozen=True):
    """An operator (`role` None), or a member of the organization that the path names, who may what the route needs."""

    actor: str
    organization: OrganizationRow
    role: MemberRole | None

    @property
    def organization_id(self) -> int:
        return self.organization.id

    @property
    def project_id(self) -> int | None:
        return None

    @property
    def owns(self) -> bool:
        """Whether they may say who owns the organization."""
        return self.role in (None, MemberRole.OWNER)


async def person(request: AnyRequest) -> Person:
    """Return who is logged in; raises 401 and 429 problems."""
    known: Person | None = request.scope["state"].get("person")
    if known is not None:  # asked before, for the key of the request
        return known
    services: Services = request.app.state.services
    token = key_of(request.scope["headers"])
    if token is None or not token.startswith(MEMBER_PREFIX):
        await services.rates.stranger(cast(asgi.Scope, request.scope))
        raise unauthorized("log in with POST /v1/members/login, and send its token as Authorization: Bearer")
    hashed = token_hash(token.decode("latin-1"))
    member = await members.of_session(services.pool, hashed)
    if member is None:
        await services.rates.stranger(cast(asgi.Scope, request.scope))
        raise unauthorized("the session is over: log in again")
    request.scope["state"]["caller"] = f"member:{member.id}"
    await services.throttles.requests_of_members.take(str(member.id))
    found: Person = request.scope["state"].setdefault("person", Person(member, hashed))
    return found


async def operator(request: AnyRequest) -> Operator:
    """Return the operator; raises 401 and 429 problems."""
    if not await _sends_operators_token(request):
        raise unauthorized("this is for operators: send X-Admin-Token")
    return Operator()


async def staff(request: AnyRequest) -> Staff:
    """Return the operator or who is logged in; raises 401 and 429 problems."""
    if await _sends_operators_token(request):
        return Staff(None)
    return Staff((await person(request)).member)


async def manager(request: AnyRequest) -> Manager:
    """Return who manages the path's organization; one that they have no part in does not exist for them."""
    services: Services = request.app.state.services
    who = await staff(request)
    slug = request.path_params["organization"]
    found = await organizations.find(services.pool, slug) if "\0" not in slug else None
    role = None
    if found is not None and who.member is not None:
        role = await members.role_in(services.pool, found.id, who.member.id)
        if role is None or found.archived_at is not None:
            found = None
    if found is None:
        raise Problem(404, "not-found", f"there is no organization {slug!r}, or you are no member of it")
    scope: Scope = request.route_handler.opt["scope"]
    if role is not None and scope not in MEMBER_SCOPES[role]:
        wanted = " or ".join(sorted(PERMISSIONS[scope].members))
        raise Problem(403, "forbidden", f"your role is {role}; this needs {wanted}", scope=scope.value)
    return Manager(who.actor, found, role)


async def _sends_operators_token(request: AnyRequest) -> bool:
    if "x-admin-token" not in request.headers:
        return False
    if not await is_operator(request):
        raise unauthorized("X-Admin-Token is not the operator's")
    return True


STAFF: dict[str, list[dict[str, list[str]]]] = {
    "operator": [{"operator": []}],
    "staff": [{"operator": []}, {"member": []}],
    "manager": [{"operator": []}, {"member": []}],
    "person": [{"member": []}],
}
"""What each kind of caller sends, as OpenAPI says it, by the name of the handler's parameter."""

STAFF_DEPENDENCIES = {
    "operator": Provide(operator),
    "staff": Provide(staff),
    "manager": Provide(manager),
    "person": Provide(person),
}
