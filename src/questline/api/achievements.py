"""/v1/users/{user_id}/achievements: how far a user is with one of them, and when they unlocked it."""

from litestar import get

from questline.api.callers import Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import no_user, page
from questline.control.achievements import Standings, UnlockView, standing_of
from questline.model.limits import PAGE_ITEMS_DEFAULT
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
        raise Problem(404, "not-found", f"the program has no achievement {achievement!r}, or it is secret and locked")
    return standing
