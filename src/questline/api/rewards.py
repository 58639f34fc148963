"""Rewards given to users: listed, and revoked by whoever runs the project. Claims are commands, see api/hot/commands.py."""

from typing import Annotated, Literal

import msgspec
from litestar import Request, get, post
from litestar.params import QueryParameter

from questline.api.acts import Acts
from questline.api.callers import Admin, Reader, needs
from questline.api.commands import execute
from questline.api.hot.commands import Done
from questline.api.idempotency import given_key
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import no_user
from questline.control.rewards import GrantView, grant_view
from questline.model.event import REWARD_REVOKE
from questline.model.limits import KEY_CHARS_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from questline.model.permissions import Scope
from questline.model.rewards import Clawback
from questline.store import grants, reads
from questline.store.pool import tenant_transaction

_LAST = "~"  # sorts after every id of a grant or a fulfilment


class GrantList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[GrantView]
    next_cursor: str | None


class Revoke(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Revoke a grant; without a `policy`, by the reward's own `clawback`."""

    policy: Clawback | None = None
    reason: str = ""
    idempotency_key: str | None = None


@get("/users/{user_id:str}/rewards", tags=["users"], opt=needs(Scope.USERS_READ))
async def list_grants(
    user_id: str,
    reader: Reader,
    services: Services,
    status: Annotated[Literal["pending", "claimed", "expired", "revoked"] | None, QueryParameter(name="status")] = None,
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> GrantList:
    """List the rewards a user was granted, newest first, as of now."""
    before, limit = text_page(cursor, limit)
    now = services.now()
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await reads.user(conn, reader.project.id, user_id)
        if found is None:
            raise no_user(user_id)
        wanted = None if status is None else status.upper()
        rows = await grants.of_user(conn, reader.project.id, found[0].id, before, wanted, now, limit + 1)
        program = await services.program(conn, reader.project)
    items = [grant_view(program, row, now) for row in rows[:limit]]
    return GrantList(items, items[-1].grant if len(rows) > limit else None)


@post(
    "/rewards/{grant_id:str}/revoke",
    status_code=200,
    tags=["grants"],
    opt=needs(Scope.REWARDS_WRITE, "grant.revoke", command=True),
)
async def revoke_grant(
    grant_id: str,
    data: Revoke,
    admin: Admin,
    acts: Acts,
    services: Services,
    request: Request,  # type: ignore[type-arg]
) -> Done:
    """Revoke a grant and take back what it gave: to zero, into debt, or not at all where something is missing."""
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        user = await grants.owner(conn, admin.project.id, grant_id) if "\0" not in grant_id else None
    if user is None:
        raise Problem(404, "not-found", f"there is no grant {grant_id!r}")
    payload = {"grant": grant_id, **({"policy": data.policy} if data.policy else {})}
    if data.reason:
        payload["reason"] = data.reason
    key = given_key(request.scope["headers"]) or data.idempotency_key
    result = await execute(
        services, admin.project, REWARD_REVOKE, user, payload, key, act=acts.of(admin, "grant", grant_id)
    )
    return Done(result.status, str(result.event_id), result.duplicate, result.outcome)


def text_page(cursor: str | None, limit: int) -> tuple[str, int]:
    """Return (ids below this, how many) of a page's parameters; raises a 400 problem."""
    if not 1 <= limit <= PAGE_ITEMS_MAX:
        raise Problem(400, "invalid-parameter", f"limit must be from 1 to {PAGE_ITEMS_MAX}", parameter="limit")
    if cursor is not None and (len(cursor) > KEY_CHARS_MAX or "\0" in cursor):
        raise Problem(400, "invalid-parameter", "this is no cursor of ours", parameter="cursor")
    return cursor or _LAST, limit
