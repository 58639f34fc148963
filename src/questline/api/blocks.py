"""/v1/users/{user_id}/block and /unblock: nothing counts for a blocked user, and nothing of theirs is lost."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, post

from questline.api.acts import Acts
from questline.api.callers import Admin, needs
from questline.api.commands import execute
from questline.api.idempotency import given_key
from questline.api.services import Services
from questline.api.users import no_user
from questline.model.event import BLOCK, UNBLOCK
from questline.model.permissions import Scope
from questline.store import reads
from questline.store.pool import tenant_transaction

AnyRequest = Request[Any, Any, Any]
Why = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]


class Block(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Why a user is blocked, and whether their entries leave the boards until they are unblocked (`remove`) or stay."""

    reason: Why
    standing: Literal["remove", "keep"] = "remove"


class Unblock(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Why a user is unblocked."""

    reason: Why


class Blocked(msgspec.Struct, frozen=True, rename="camel"):
    """Whether the user is blocked now; the event tells who said so, when and why."""

    user_id: str
    blocked: bool
    event_id: str
    duplicate: bool


@post(
    "/users/{user_id:str}/block",
    status_code=200,
    tags=["users"],
    opt=needs(Scope.USERS_WRITE, "user.block", command=True),
)
async def block_user(
    user_id: str, data: Block, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> Blocked:
    """Block a user: their events are kept and have no effect; their standing can be taken off the boards."""
    payload = {"reason": data.reason, "standing": data.standing}
    return await _run(services, admin, acts, BLOCK, user_id, payload, request)


@post(
    "/users/{user_id:str}/unblock",
    status_code=200,
    tags=["users"],
    opt=needs(Scope.USERS_WRITE, "user.unblock", command=True),
)
async def unblock_user(
    user_id: str, data: Unblock, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> Blocked:
    """Unblock a user: their events count again, and their standing returns as it was."""
    return await _run(services, admin, acts, UNBLOCK, user_id, {"reason": data.reason}, request)


async def _run(
    services: Services, admin: Admin, acts: Acts, type_: str, user_id: str, payload: dict[str, Any], request: AnyRequest
) -> Blocked:
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        if await reads.user(conn, admin.project.id, user_id) is None:
            raise no_user(user_id)
    payload["by"] = admin.actor
    key, act = given_key(request.scope["headers"]), acts.of(admin, "user", "")
    done = await execute(services, admin.project, type_, user_id, payload, key, act=act)
    return Blocked(user_id, type_ == BLOCK, str(done.event_id), done.duplicate)
