"""/v1/users/{id}/leagues: where a user stands, and how their weeks ended."""

import msgspec
from litestar import get

from questline.api.callers import Reader, needs
from questline.api.services import Services
from questline.api.users import no_user
from questline.control.leagues import LeagueView, views
from questline.model.permissions import Scope
from questline.store import reads
from questline.store.pool import tenant_transaction


class UserLeagues(msgspec.Struct, frozen=True, rename="camel"):
    items: list[LeagueView]


@get("/users/{user_id:str}/leagues", tags=["leaderboards"], opt=needs(Scope.BOARDS_READ))
async def get_user_leagues(user_id: str, reader: Reader, services: Services) -> UserLeagues:
    """Show a user's tier, cohort, rank and zone in each league this week, and how their last weeks ended."""
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await reads.user(conn, reader.project.id, user_id)
        if found is None:
            raise no_user(user_id)
        program = await services.program(conn, reader.project)
        return UserLeagues(await views(conn, program, reader.project.id, found[0], services.now()))
