"""/v1/users/{user_id}/achievements: how far a user is with one of them, how they got there, and when they unlocked it."""

from litestar import get

from questline.api.callers import Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import no_user, page
from questline.control.achievements import (
    ProgressHistory,
    ProgressPoint,
    Standings,
    UnlockView,
    points_of,
    standing_of,
    visible,
)
from questline.model.limits import PAGE_ITEMS_DEFAULT, PROGRESS_DECISIONS_LOOKED
from questline.model.permissions import Scope
from questline.store import notices, reads
from questline.store.pool import tenant_transaction


@get("/users/{user_id:str}/achievements/{achievement:str}", tags=["users"], opt=needs(Scope.USERS_READ))
async def get_standing(
    user_id: str,
    achievement: str,
    reader: Reader,
    services: Services,
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> Standings:
    """Show how far a user is with an achievement now, requirement by requirement, and a page of its unlocks."""
    before, limit = page(cursor, limit)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await reads.user(conn, reader.project.id, user_id)
        if found is None:
            raise no_user(user_id)
        program = await services.program(conn, reader.project)
        rows = await notices.unlocks(conn, reader.project.id, found[0].id, achievement, before, limit + 1)
    unlocks = [UnlockView(str(row.event_id), row.at, row.data["tier"], row.data["times"]) for row in rows[:limit]]
    further = unlocks[-1].event_id if len(rows) > limit else None
    standing = standing_of(program, achievement, found[0], services.now(), unlocks, further)
    if standing is None:
        raise _no_achievement(achievement)
    return standing


@get("/users/{user_id:str}/achievements/{achievement:str}/progress", tags=["users"], opt=needs(Scope.USERS_READ))
async def get_progress(
    user_id: str,
    achievement: str,
    reader: Reader,
    services: Services,
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> ProgressHistory:
    """Show how a user's progress with an achievement changed, newest first, each change with the event that made it."""
    before, limit = page(cursor, limit)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await reads.user(conn, reader.project.id, user_id)
        if found is None:
            raise no_user(user_id)
        seen = visible(await services.program(conn, reader.project), achievement, found[0])
        if seen is None:
            raise _no_achievement(achievement)
        rows = await reads.traces(conn, reader.project.id, found[0].id, before, PROGRESS_DECISIONS_LOOKED + 1)
    items: list[ProgressPoint] = []
    for row in rows[:PROGRESS_DECISIONS_LOOKED]:
        if len(items) >= limit:
            break
        items += points_of(seen, row.event_id, row.occurred_at, row.trace)
        before = row.event_id
    is_last = not rows or before == rows[-1].event_id
    return ProgressHistory(items, None if is_last else str(before))


def _no_achievement(name: str) -> Problem:
    return Problem(404, "not-found", f"the program has no achievement {name!r}, or it is secret and locked")
