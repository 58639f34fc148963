"""What the daily loop leaves behind: the inventory, and the notices of all mechanics."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter

from questline.api.callers import Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import no_user, page
from questline.control.profiles import ItemView, inventory_of
from questline.model.limits import PAGE_ITEMS_DEFAULT
from questline.model.own import HIDDEN_NOTICES
from questline.model.permissions import Scope
from questline.store import notices, reads
from questline.store.pool import tenant_transaction


class Inventory(msgspec.Struct, frozen=True, rename="camel"):
    """What a user holds now, and how much they may; `cap` is null where the program sets no bound."""

    items: list[ItemView]
    units: int
    cap: int | None
    by: str | None


class NoticeView(msgspec.Struct, frozen=True, rename="camel"):
    """A fact about a user: what happened (`type`), its data, and the event that caused it."""

    event_id: str
    ordinal: int
    type: str
    data: dict[str, Any]
    at: datetime


class NoticeList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[NoticeView]
    next_cursor: str | None


@get("/inventory", tags=["daily"], opt=needs(Scope.USERS_READ))
async def get_inventory(
    reader: Reader, services: Services, user_id: Annotated[str, QueryParameter(name="userId")] = ""
) -> Inventory:
    """Show what a user holds."""
    if not user_id:  # asked here, so that who may not see it is told that first
        raise Problem(400, "invalid-parameter", "userId: whose inventory?", parameter="userId")
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await reads.user(conn, reader.project.id, user_id)
        if found is None:
            raise no_user(user_id)
        program = await services.program(conn, reader.project)
    held, bounds = inventory_of(program, found[0], services.now()), program.inventory
    return Inventory(
        held,
        sum(item.units for item in held),
        bounds.cap if bounds is not None else None,
        bounds.by if bounds is not None else None,
    )


@get("/users/{user_id:str}/notices", tags=["users"], opt=needs(Scope.USERS_READ))
async def list_notices(
    user_id: str, reader: Reader, services: Services, cursor: str | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> NoticeList:
    """List what users are told: levels, unlocks, milestones, items ..., newest first, whole events at a time."""
    before, limit = page(cursor, limit)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await reads.user(conn, reader.project.id, user_id)
        if found is None:
            raise no_user(user_id)
        rows = await notices.of_user(conn, reader.project.id, found[0].id, before, limit)
    hidden = HIDDEN_NOTICES if reader.principal.user is not None else ()
    items = [
        NoticeView(str(row.event_id), row.ordinal, row.type, row.data, row.at)
        for row in rows
        if not row.type.startswith(hidden)
    ]
    return NoticeList(items, str(rows[-1].event_id) if len(rows) >= limit else None)
