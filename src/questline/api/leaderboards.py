"""/v1/leaderboards: pages of a board, one user's exact rank, and those around them."""

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from questline.api.callers import Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.control.boards import BoardScope, LeaderboardPage, LeaderboardQuery, leaderboard
from questline.control.league_pages import cohort_page
from questline.model.limits import PAGE_ITEMS_DEFAULT
from questline.model.permissions import Scope


@get("/leaderboards", tags=["leaderboards"], opt=needs(Scope.BOARDS_READ))
async def get_leaderboard(
    reader: Reader,
    services: Services,
    metric: str | None = None,
    board: str | None = None,
    board_scope: Annotated[BoardScope | None, QueryParameter(name="scope")] = None,
    period_key: Annotated[str | None, QueryParameter(name="periodKey")] = None,
    league_id: Annotated[str | None, QueryParameter(name="leagueId")] = None,
    limit: int = PAGE_ITEMS_DEFAULT,
    after: str | None = None,
    user_id: Annotated[str | None, QueryParameter(name="userId")] = None,
    around: int = 0,
) -> LeaderboardPage:
    """Show a board by its name, or by the track, currency or metric it ranks; or the cohort of a user in a league."""
    name = metric or board or league_id
    if name is None:
        raise Problem(400, "invalid-parameter", "say which board: metric=NAME", parameter="metric")
    async with services.pool.acquire() as conn:
        program = await services.program(conn, reader.project)
    query = LeaderboardQuery(name, board_scope, period_key, limit, after, user_id, around)
    if league_id is not None:
        return await cohort_page(services.pool, reader.project, program, league_id, query, services.now())
    return await leaderboard(services.pool, reader.project, program, query, services.now(), services.ranks)
