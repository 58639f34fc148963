"""/v1/admin/replay: events put back, worked out again, or counted in a new metric; looked at first, then done."""

from asyncio import Lock
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, get, post
from msgspec import Meta

from questline.api.acts import Acts, At
from questline.api.callers import Overseer, Steward, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import page
from questline.control.events import EventStatus
from questline.model.hashing import user_hash
from questline.model.limits import (
    PAGE_ITEMS_DEFAULT,
    POOL_WAIT_SECONDS,
    REASON_CHARS_MAX,
    REPLAY_EVENTS_COUNTED,
    SHORT_TEXT_CHARS_MAX,
)
from questline.model.permissions import Scope
from questline.model.principal import Project
from questline.model.replays import Difference, Replay, ReplayMode, Step
from questline.processing.replays import look, total
from questline.store import replays
from questline.store.dead_letters import id_range
from questline.store.pool import Connection

Time = Annotated[datetime, Meta(tz=True)]
_EVENTS_MAX = 2**62


class ReplayStart(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Which events to replay: received from one time on and before another, of a type, of a user, with a status.

    `republish` puts back what was never applied; `reprocess` compensates what applied events would have given under program
    `version` (that in force, when left out); `backfill` counts applied events in a `metric`, or a timeframe over it, that
    came after them, under the program in force when it begins, and ends where that metric changes. `limit` ends a replay.
    With `dryRun` a page is looked at, from `cursor` on.
    """

    mode: ReplayMode
    metric: Annotated[str, Meta(min_length=1, max_length=SHORT_TEXT_CHARS_MAX)] | None = None
    project: str | None = None
    from_: Time | None = msgspec.field(name="from", default=None)
    to: Time | None = None
    type: str | None = None
    user_id: str | None = None
    status: EventStatus | None = None
    version: Annotated[int, Meta(ge=1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=_EVENTS_MAX)] | None = None
    dry_run: bool = False
    cursor: Annotated[str, Meta(max_length=64)] | None = None
    reason: Annotated[str, Meta(max_length=REASON_CHARS_MAX)] = ""


class ReplayView(msgspec.Struct, frozen=True, rename="camel"):
    """How far a replay has come: of `total` events (republish) or users (else) so many were `examined`.

    `events` were to be replayed, and `changed` of them put back, compensated or counted. `progress` from 0 to 1.
    """

    id: str
    mode: ReplayMode
    metric: str | None
    program_version: int
    type: str | None
    status: str  # running | finished
    progress: float
    total: int
    examined: int
    events: int
    changed: int
    reason: str
    started_by: str
    started_at: datetime
    finished_at: datetime | None


class ReplayPage(msgspec.Struct, frozen=True, rename="camel"):
    items: list[ReplayView]
    next_cursor: str | None


class UserDifference(msgspec.Struct, frozen=True, rename="camel"):
    """What a replay would give a user, or take where it is below zero; of how many events.

    `amounts` are by currency. Of a backfill they are what the metric grows by, or `UNIT:METRIC` for windows alone; of kinds
    that do not add up (min, max, last) there is none.
    """

    user_id: str
    events: int
    amounts: dict[str, int | float]


class ReplayPreview(msgspec.Struct, frozen=True, rename="camel"):
    """What a replay would do to a page; add the pages up. Nothing was changed."""

    mode: ReplayMode
    metric: str | None
    program_version: int
    total: int
    examined: int
    events: int
    changed: int
    totals: dict[str, int | float]
    differences: list[UserDifference]
    next_cursor: str | None


@post("/admin/replay", status_code=202, tags=["operations"], opt=needs(Scope.OPERATIONS_WRITE, act="replay.start"))
async def start_replay(
    data: ReplayStart, steward: Steward, acts: Acts, services: Services
) -> Response[ReplayView | ReplayPreview]:
    """Replay events; workers do so in batches. With `dryRun`, show what a page of them would change (200)."""
    project = await steward.one_project(services, data.project)
    alone = _alone(services.dry_runs) if data.dry_run else nullcontext()
    async with alone, services.pool.acquire(timeout=POOL_WAIT_SECONDS) as conn:
        transaction = conn.transaction()
        await transaction.start()
        kept = False
        try:
            replay = await _replay(services, conn, project, data, steward.name)
            if data.dry_run:
                step = await look(
                    conn, services.programs, _from_cursor(replay, data.cursor), services.now(), lock=False
                )
                return Response(_preview(replay, step), status_code=200)
            started = await replays.start(conn, replay)
            by = At(steward.name, project.organization_id, project.id)
            await acts.write(conn, by, "replay", started.id, after=data)
            kept = True
            return Response(view_of(started), status_code=202)
        finally:
            await (transaction.commit() if kept else transaction.rollback())


@asynccontextmanager
async def _alone(dry_runs: Lock) -> AsyncIterator[None]:
    """Let one dry run at a time hold a connection and work events out again; a 503 problem while there is another."""
    if dry_runs.locked():
        detail = "a dry run is under way, and one is worked on at a time; try again"
        raise Problem(503, "overloaded", detail, headers={"Retry-After": "1"})
    async with dry_runs:
        yield


@get("/admin/replays", tags=["operations"], opt=needs(Scope.OPERATIONS_READ))
async def list_replays(
    overseer: Overseer,
    services: Services,
    project: str | None = None,
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> ReplayPage:
    """List replays, newest first."""
    before, limit = page(cursor, limit)
    ids = await overseer.project_ids(services, project)
    found = await replays.listed(services.pool, ids, before, limit + 1)
    items = [view_of(replay) for replay in found[:limit]]
    return ReplayPage(items, items[-1].id if len(found) > limit else None)


@get("/admin/replays/{replay:str}", tags=["operations"], opt=needs(Scope.OPERATIONS_READ))
async def get_replay(replay: str, overseer: Overseer, services: Services, project: str | None = None) -> ReplayView:
    """Show how far a replay has come."""
    of = await overseer.one_project(services, project)
    try:
        found = await replays.find(services.pool, of.id, UUID(replay))
    except ValueError:
        found = None
    if found is None:
        raise Problem(404, "not-found", f"there is no replay {replay!r}")
    return view_of(found)


def view_of(replay: Replay) -> ReplayView:
    """Return a replay as callers see it."""
    finished = replay.finished_at is not None
    return ReplayView(
        str(replay.id),
        replay.mode,
        replay.metric,
        replay.program_version,
        replay.event_type,
        "finished" if finished else "running",
        1.0 if finished else round(min(replay.examined / max(replay.total, 1), 0.999), 3),
        replay.total,
        replay.examined,
        replay.events,
        replay.changed,
        replay.reason,
        replay.started_by,
        replay.started_at,
        replay.finished_at,
    )


async def _replay(services: Services, conn: Connection, project: Project, data: ReplayStart, by: str) -> Replay:
    first, beyond = id_range(data.from_, data.to)
    by_user = data.mode is not ReplayMode.REPUBLISH
    _check(data)
    version, user_id, hashed = 0, None, None
    if by_user:
        version = await _version(services, conn, project, data)
    if data.user_id is not None:
        hashed = user_hash(project.id, data.user_id)
        user_id = await replays.user_of(conn, project.id, data.user_id)
        if user_id is None and by_user:
            raise Problem(404, "not-found", f"there is no user {data.user_id!r}")
    last = UUID(int=max(beyond.int - 1, 0))
    if not by_user:
        in_all = await replays.count_events(conn, project.id, first, last, REPLAY_EVENTS_COUNTED)
    else:
        in_all = 1 if user_id is not None else await replays.count_users(conn, project.id, REPLAY_EVENTS_COUNTED)
    return Replay(
        project_id=project.id,
        id=services.new_id(),
        mode=data.mode,
        metric=data.metric,
        program_version=version,
        first_event=first,
        last_event=last,
        event_type=data.type,
        user_id=user_id,
        user_hash=hashed,
        status=data.status,
        events_max=data.limit or _EVENTS_MAX,
        started_by=by,
        reason=data.reason,
        started_at=services.now(),
        total=in_all,
        after_event=UUID(int=max(first.int - 1, 0)),
    )


def _check(data: ReplayStart) -> None:
    """Raise a 422 problem for a field that the mode lacks or does not take."""
    backfill = data.mode is ReplayMode.BACKFILL
    if backfill and data.metric is None:
        raise Problem(422, "invalid-request", "metric: name the metric to backfill", field="metric")
    if not backfill and data.metric is not None:
        detail = f"metric: only a backfill is about a metric; leave it out of a {data.mode.value}"
        raise Problem(422, "invalid-request", detail, field="metric")
    if backfill and data.version is not None:
        detail = "version: a backfill counts under the program in force when it begins; leave it out"
        raise Problem(422, "invalid-request", detail, field="version")
    if data.mode is not ReplayMode.REPUBLISH and data.status not in (None, EventStatus.PROCESSED):
        detail = "status: only processed events are worked out again or counted; leave it out, or republish"
        raise Problem(422, "invalid-request", detail, field="status")


async def _version(services: Services, conn: Connection, project: Project, data: ReplayStart) -> int:
    """Return the program version to replay under; raises a 404 problem where it, or its metric, is not there."""
    current = await services.program(conn, project)
    if data.metric is not None and data.metric not in current.metrics:
        raise Problem(404, "not-found", f"the program has no metric {data.metric!r}")
    version = data.version or current.version
    try:
        await services.programs.version(conn, project.id, version, current.default_timezone)
    except LookupError:
        raise Problem(404, "not-found", f"the program has no version {version}") from None
    return version


def _from_cursor(replay: Replay, cursor: str | None) -> Replay:
    if cursor is None:
        return replay
    try:
        if replay.mode is ReplayMode.REPUBLISH:
            return msgspec.structs.replace(replay, after_event=UUID(cursor))
        return msgspec.structs.replace(replay, after_user=int(cursor))
    except ValueError:
        raise Problem(400, "invalid-parameter", "this is no cursor of ours", parameter="cursor") from None


def _preview(replay: Replay, step: Step) -> ReplayPreview:
    of_user: dict[str, list[Difference]] = {}
    for found in step.differences:
        of_user.setdefault(found.user, []).append(found)
    further = step.after[0] if replay.mode is ReplayMode.REPUBLISH else step.after[1]
    return ReplayPreview(
        replay.mode,
        replay.metric,
        replay.program_version,
        replay.total,
        step.examined,
        step.events,
        step.changed,
        _amounts(step.differences),
        [UserDifference(user, len(found), _amounts(found)) for user, found in of_user.items()],
        None if step.over else str(further),
    )


def _amounts(differences: Sequence[Difference]) -> dict[str, int | float]:
    return {name: sum_ if isinstance(sum_, int) else float(sum_) for name, sum_ in total(differences).items()}
