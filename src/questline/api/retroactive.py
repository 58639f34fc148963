"""/v1/achievements/{name}/retroactive: an achievement for users who meet it already; looked at first, then awarded."""

from typing import Any

from litestar import Response, get, post

from questline.api.acts import Acts
from questline.api.callers import Admin, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.sweeps import NOBODY, Preview, check_page, preview_of, start
from questline.model.limits import SWEEP_LOOK_USERS
from questline.model.permissions import Scope
from questline.model.sweeps import Sweep, SweepKind
from questline.processing.programs import Program
from questline.store.pool import tenant_transaction


@get("/achievements/{name:str}/retroactive", tags=["progress"], opt=needs(Scope.SWEEPS_WRITE))
async def preview_award(
    name: str, admin: Admin, services: Services, cursor: str | None = None, limit: int = SWEEP_LOOK_USERS
) -> Preview:
    """Show who of a page of users meets an achievement that they do not have, and what awarding it would give them."""
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        program = await services.program(conn, admin.project)
        return await preview_of(services, conn, program, _sweep(services, admin, program, name), cursor, limit)


@post(
    "/achievements/{name:str}/retroactive",
    status_code=202,
    tags=["progress"],
    opt=needs(Scope.SWEEPS_WRITE, "achievement.award"),
)
async def start_award(
    name: str,
    admin: Admin,
    acts: Acts,
    services: Services,
    preview: bool = False,
    cursor: str | None = None,
    limit: int = SWEEP_LOOK_USERS,
) -> Response[Any]:
    """Award an achievement to all who meet it; workers do so in batches. With `preview`, show who of a page of users (200).

    Asked again after it has finished, it reaches whoever meets it by now and was not sent it under this program version.
    """
    check_page(cursor, limit)
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        program = await services.program(conn, admin.project)
        sweep = _sweep(services, admin, program, name)
        if preview:
            shown: Preview = await preview_of(services, conn, program, sweep, cursor, limit)
            return Response(shown, status_code=200)
        started = await start(services, conn, sweep)
        await acts.write(conn, admin, "sweep", started.id, after={"achievement": name, "version": program.version})
        return Response(started, status_code=202)


def _sweep(services: Services, admin: Admin, program: Program, name: str) -> Sweep:
    if name not in program.achievements:
        raise Problem(404, "not-found", f"the program has no achievement {name!r}")
    now = services.now()
    return Sweep(
        admin.project.id,
        NOBODY,
        SweepKind.AWARD,
        name,
        program.version,
        {"achievement": name, "version": program.version},
        now,
        admin.actor,
        "",
        now,
        0,
    )
