"""/v1/incidents: a window in which we or the customer were down, and the mending of every streak that it broke."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, get, post
from msgspec import Meta

from questline.api.acts import Acts
from questline.api.callers import Admin, Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.sweeps import NOBODY, Preview, SweepView, check_page, preview_of, start, view_of
from questline.api.users import page
from questline.model.limits import INCIDENT_NAME_CHARS_MAX, PAGE_ITEMS_DEFAULT, STREAK_CARE_DAYS_MAX, SWEEP_LOOK_USERS
from questline.model.permissions import Scope
from questline.model.sweeps import Sweep, SweepKind
from questline.processing.programs import Program
from questline.store import sweeps
from questline.store.pool import tenant_transaction


class Incident(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A window of time, and why; `streaks` are those concerned, all when left out. Without an `id` the window is its name."""

    from_: Annotated[datetime, Meta(tz=True)] = msgspec.field(name="from")
    until: Annotated[datetime, Meta(tz=True)]
    reason: Annotated[str, Meta(min_length=1, max_length=1_000)]
    streaks: list[str] = []
    id: Annotated[str, Meta(min_length=1, max_length=INCIDENT_NAME_CHARS_MAX)] | None = None


class IncidentList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[SweepView]
    next_cursor: str | None


@post("/incidents", status_code=202, tags=["progress"], opt=needs(Scope.SWEEPS_WRITE, "incident.report"))
async def report_incident(
    data: Incident,
    admin: Admin,
    acts: Acts,
    services: Services,
    request: Request[Any, Any, Any],
    preview: bool = False,
    cursor: str | None = None,
    limit: int = SWEEP_LOOK_USERS,
) -> Response[Any]:
    """Mend every streak that a window broke; workers do so in batches. With `preview`, show whose of a page of users (200)."""
    check_page(cursor, limit)
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        program = await services.program(conn, admin.project)
        sweep = _sweep(services, admin, program, data)
        if preview:
            shown: Preview = await preview_of(services, conn, program, sweep, cursor, limit)
            return Response(shown, status_code=200)
        started = await start(services, conn, sweep)
        await acts.write(conn, admin, "sweep", started.id, after={**sweep.payload, "reason": sweep.reason})
        return Response(started, status_code=202)


@get("/incidents", tags=["progress"], opt=needs(Scope.SWEEPS_READ))
async def list_incidents(
    reader: Reader, services: Services, cursor: str | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> IncidentList:
    """List incidents, newest first, with how far their mending has come."""
    before, limit = page(cursor, limit)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await sweeps.of_kind(conn, reader.project.id, SweepKind.INCIDENT, before, limit + 1)
    items = [view_of(sweep) for sweep in found[:limit]]
    return IncidentList(items, items[-1].id if len(found) > limit else None)


@get("/incidents/{incident:str}", tags=["progress"], opt=needs(Scope.SWEEPS_READ))
async def get_incident(incident: str, reader: Reader, services: Services) -> SweepView:
    """Show one incident, and how far its mending has come."""
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await sweeps.find(conn, reader.project.id, SweepKind.INCIDENT, incident, 0)
    if found is None:
        raise Problem(404, "not-found", f"there is no incident {incident!r}")
    return view_of(found)


def _sweep(services: Services, admin: Admin, program: Program, data: Incident) -> Sweep:
    now, begin, end = services.now(), data.from_.astimezone(UTC), data.until.astimezone(UTC)
    unknown = [name for name in data.streaks if name not in program.streaks]
    if unknown:
        raise Problem(404, "unknown-streak", f"the program has no streak {unknown[0]!r}", field="streaks")
    if not begin < end <= now:
        raise Problem(422, "invalid-request", "until: must lie after from, and not in the future", field="until")
    if end - begin > timedelta(days=STREAK_CARE_DAYS_MAX):
        raise Problem(422, "invalid-request", f"until: more than {STREAK_CARE_DAYS_MAX} days after from", field="until")
    name = data.id or f"{begin.isoformat()}/{end.isoformat()}"
    payload = {
        "incident": name,
        "from": begin.isoformat(),
        "until": end.isoformat(),
        "streaks": sorted(set(data.streaks)),
    }
    by = admin.actor
    return Sweep(admin.project.id, NOBODY, SweepKind.INCIDENT, name, 0, payload, now, by, data.reason, now, 0)
