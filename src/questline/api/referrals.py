"""/v1/users/{id}/referrals: a user's code, and whom they brought."""

from datetime import datetime

import msgspec
from litestar import get, post

from questline.api.callers import Admin, Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import no_user
from questline.control.referrals import code_of
from questline.model.limits import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from questline.model.permissions import Scope
from questline.store import reads, referrals
from questline.store.pool import tenant_transaction


class ReferralCode(msgspec.Struct, frozen=True, rename="camel"):
    """What a friend's attributing event names; capitals, spaces and dashes make no difference."""

    code: str


class ReferralFriend(msgspec.Struct, frozen=True, rename="camel"):
    user_id: str
    at: datetime
    status: str


class Referrals(msgspec.Struct, frozen=True, rename="camel"):
    """How a user stands among referrals; `items` are those they brought, the first to be seen first."""

    code: str | None
    referrer: str | None
    brought: int
    qualified: int
    items: list[ReferralFriend]
    next_cursor: str | None


@post(
    "/users/{user_id:str}/referral-code",
    status_code=200,
    tags=["referrals"],
    opt=needs(Scope.USERS_WRITE, not_administrative="shows a code, made by the first look"),
)
async def get_referral_code(user_id: str, admin: Admin, services: Services) -> ReferralCode:
    """Show a user's referral code, made by the first call."""
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        found = await reads.user(conn, admin.project.id, user_id)
    if found is None:
        raise no_user(user_id)
    return ReferralCode(await code_of(services.pool, admin.project.id, found[0].id))


@get("/users/{user_id:str}/referrals", tags=["referrals"], opt=needs(Scope.USERS_READ))
async def list_referrals(
    user_id: str, reader: Reader, services: Services, cursor: str | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> Referrals:
    """List whom a user brought."""
    if not 1 <= limit <= PAGE_ITEMS_MAX:
        raise Problem(400, "invalid-parameter", f"limit must be from 1 to {PAGE_ITEMS_MAX}", parameter="limit")
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise Problem(400, "invalid-parameter", "this is no cursor of ours", parameter="cursor")
    project_id = reader.project.id
    async with tenant_transaction(services.pool, project_id) as conn:
        found = await reads.user(conn, project_id, user_id)
        if found is None:
            raise no_user(user_id)
        code = await referrals.code_of(conn, project_id, found[0].id)
        summary = await referrals.summary(conn, project_id, found[0].id)
        friends = await referrals.friends(conn, project_id, found[0].id, int(cursor or 0), limit + 1)
    items = [ReferralFriend(friend.user, friend.at, friend.status) for friend in friends[:limit]]
    following = str(friends[limit - 1].user_id) if len(friends) > limit else None
    return Referrals(code, summary.referrer, summary.brought, summary.qualified, items, following)
