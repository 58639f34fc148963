"""/v1/users: profiles, and the history that explains them."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from msgspec import UNSET, UnsetType

from questline.api.callers import Admin, Reader, needs
from questline.api.commands import execute
from questline.api.idempotency import given_key
from questline.api.problems import Problem
from questline.api.services import Services
from questline.control import leagues, seasons
from questline.control.profiles import Profile, profile_of
from questline.model.event import PROFILE_UPDATE
from questline.model.limits import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from questline.model.own import HIDDEN_CHANGES
from questline.model.permissions import Scope
from questline.model.principal import Principal
from questline.store import reads
from questline.store.pool import tenant_transaction


class UserUpsert(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A user to create or update. Attributes are merged; null removes one."""

    id: str
    display_name: str | None | UnsetType = UNSET
    attributes: dict[str, Any] | UnsetType = UNSET
    timezone: str | None | UnsetType = UNSET


class User(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    display_name: str | None
    attributes: dict[str, Any]
    timezone: str | None
    created_at: datetime


class HistoryItem(msgspec.Struct, frozen=True, rename="camel"):
    """One event that was decided, with every change it made and the rule behind each."""

    event_id: str
    type: str
    occurred_at: datetime
    received_at: datetime
    status: str
    reason: str
    program_version: int
    rules: list[str]
    changes: list[dict[str, Any]]


class History(msgspec.Struct, frozen=True, rename="camel"):
    items: list[HistoryItem]
    next_cursor: str | None


@post(
    "/users",
    status_code=201,
    tags=["users"],
    opt=needs(
        Scope.USERS_WRITE, not_administrative="the customer's own data of a user, kept as an event", command=True
    ),
)
async def upsert_user(
    data: UserUpsert,
    admin: Admin,
    services: Services,
    request: Request,  # type: ignore[type-arg]
) -> Response[User]:
    """Create a user (201) or update one (200)."""
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        known = await reads.user(conn, admin.project.id, data.id)
    values = msgspec.to_builtins(data)
    payload = {name: values[name] for name in ("displayName", "attributes", "timezone") if name in values}
    await execute(services, admin.project, PROFILE_UPDATE, data.id, payload, given_key(request.scope["headers"]))
    state, created_at = await _user(services, admin.project.id, data.id)
    shown = User(state.user, state.display_name, dict(state.attributes), state.timezone, created_at)
    return Response(shown, status_code=201 if known is None else 200)


@get("/users/{user_id:str}/profile", tags=["users"], opt=needs(Scope.USERS_READ))
async def get_profile(user_id: str, reader: Reader, services: Services) -> Profile:
    """Show everything a user has: levels, streaks as of now, balances, visible achievements with progress."""
    return await profile_for(services, reader.principal, user_id)


async def profile_for(services: Services, principal: Principal, user_id: str) -> Profile:
    """Return a user's profile as a caller may see it: what guards think of a user is not for that user. Raises problems."""
    project = principal.project
    async with tenant_transaction(services.pool, project.id) as conn:
        found = await reads.user(conn, project.id, user_id)
        if found is None:
            raise no_user(user_id)
        program = await services.program(conn, project)
        now, project_id = services.now(), project.id
        standings = await leagues.views(conn, program, project_id, found[0], now)
        shown = await seasons.views(conn, program, project_id, found[0], now)
    profile = profile_of(program, *found, now, standings, shown)
    return profile if principal.user is None else msgspec.structs.replace(profile, suspicion=0)


@get("/users/{user_id:str}/history", tags=["users"], opt=needs(Scope.USERS_READ))
async def get_history(
    user_id: str, reader: Reader, services: Services, cursor: str | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> History:
    """List what was decided about a user, newest first: each change with its event, rule, version and reason."""
    before, limit = page(cursor, limit)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await reads.user(conn, reader.project.id, user_id)
        if found is None:
            raise no_user(user_id)
        rows = await reads.history(conn, reader.project.id, found[0].id, before, limit + 1)
    items = [_item(row) for row in rows[:limit]]
    if reader.principal.user is not None:
        items = [
            msgspec.structs.replace(i, changes=[c for c in i.changes if c["kind"] not in HIDDEN_CHANGES]) for i in items
        ]
    return History(items, items[-1].event_id if len(rows) > limit else None)


def page(cursor: str | None, limit: int) -> tuple[UUID, int]:
    """Return (ids below this, how many) of a page's parameters; raises a 400 problem."""
    if not 1 <= limit <= PAGE_ITEMS_MAX:
        raise Problem(400, "invalid-parameter", f"limit must be from 1 to {PAGE_ITEMS_MAX}", parameter="limit")
    try:
        return (UUID(cursor) if cursor else reads.LAST_ID), limit
    except ValueError:
        raise Problem(400, "invalid-parameter", "this is no cursor of ours", parameter="cursor") from None


def _item(row: reads.HistoryRow) -> HistoryItem:
    trace = row.trace
    changes: list[dict[str, Any]] = [
        {"kind": "guard", "guard": guard, "of": kind, "action": action, "values": values, "score": score}
        for guard, kind, action, values, score in trace.get("guards", ())
    ]
    changes += [{"kind": "transfer", **transfer} for transfer in row.transfers]
    changes += [{"kind": "level", "track": t, "before": b, "after": a} for t, b, a in trace.get("levels", ())]
    changes += [
        {"kind": "streak", "streak": name, "before": before, "after": after, "longest": longest}
        for name, before, after, _, longest in trace.get("streaks", ())
    ]
    changes += [
        {"kind": "unlock", "achievement": name, "tier": tier, "times": times}
        for name, _, tier, _, times in trace.get("unlocks", ())
    ]
    changes += [
        {"kind": kind, "name": name, "before": before, "after": after, "cause": cause}
        for kind, name, before, after, cause in trace.get("records", ())
    ]
    changes += [
        {"kind": "metric", "metric": name, "value": value, **({"cause": cause[0]} if cause else {})}
        for name, value, *cause in trace.get("metrics", ())
    ]
    return HistoryItem(
        str(row.event_id),
        row.type,
        row.occurred_at,
        row.received_at,
        row.status,
        row.reason,
        row.program_version,
        list(trace.get("fired", ())),
        changes,
    )


def no_user(user_id: str) -> Problem:
    """The 404 of a user nobody has seen."""
    return Problem(404, "not-found", f"there is no user {user_id!r}: a user begins with their first event")


async def _user(services: Services, project_id: int, user_id: str) -> Any:
    async with tenant_transaction(services.pool, project_id) as conn:
        return await reads.user(conn, project_id, user_id)
