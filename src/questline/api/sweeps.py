"""Sweeps as awards and incidents show them: what they would do, page by page, and how far they have come."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from questline.api.problems import Problem
from questline.api.services import Services
from questline.model.limits import SWEEP_BATCH_USERS, SWEEP_LOOK_USERS, SWEEP_SAMPLE_USERS
from questline.model.sweeps import Sweep
from questline.processing.programs import Program
from questline.processing.sweeps import Finding, look, shared_stocks, total
from questline.store import sweeps
from questline.store.pool import Connection


class SweepView(msgspec.Struct, frozen=True, rename="camel"):
    """How far a sweep has come: of `users` so many were `examined`, and so many `sent` their event. `progress` from 0 to 1."""

    id: str
    kind: str
    name: str
    program_version: int
    status: str  # running | finished
    progress: float
    users: int
    examined: int
    sent: int
    reason: str
    started_by: str
    started_at: datetime
    finished_at: datetime | None
    payload: dict[str, Any]


class Preview(msgspec.Struct, frozen=True, rename="camel"):
    """What a sweep would do to a page of users; add the pages up.

    `found` are those it would change, a few of whom are the `sample`; `cost` is what they are given, by currency, item and
    reward. A stock that all share is counted down over the page; each page begins with what is there.
    `users` is how many the project has. `sweep` is the one that was started, if it was.
    """

    name: str
    program_version: int
    users: int
    examined: int
    found: int
    cost: dict[str, int]
    sample: list[str]
    next_cursor: str | None
    sweep: SweepView | None


def view_of(sweep: Sweep) -> SweepView:
    """Return a sweep as callers see it."""
    finished = sweep.finished_at is not None
    return SweepView(
        str(sweep.id),
        sweep.kind.value,
        sweep.name,
        sweep.program_version,
        "finished" if finished else "running",
        1.0 if finished else round(min(sweep.examined / max(sweep.users, 1), 0.999), 3),
        sweep.users,
        sweep.examined,
        sweep.sent,
        sweep.reason,
        sweep.started_by,
        sweep.started_at,
        sweep.finished_at,
        sweep.payload,
    )


def check_page(cursor: str | None, limit: int) -> None:
    """Raise a 400 problem for a page of users that cannot be."""
    if not 0 <= limit <= SWEEP_LOOK_USERS:
        raise Problem(400, "invalid-parameter", f"limit must be from 0 to {SWEEP_LOOK_USERS}", parameter="limit")
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise Problem(400, "invalid-parameter", "this is no cursor of ours", parameter="cursor")


async def preview_of(
    services: Services, conn: Connection, program: Program, sweep: Sweep, cursor: str | None, limit: int
) -> Preview:
    """Look at the next users of a sweep, at most `limit`; raises 400 problems."""
    check_page(cursor, limit)
    after, examined = int(cursor or 0), 0
    further: int | None = after
    found: list[Finding] = []
    shared = await shared_stocks(conn, program, sweep)
    while further is not None and examined < limit:
        batch = min(SWEEP_BATCH_USERS, limit - examined)
        seen = await look(conn, program, sweep, further, batch, services.now(), shared)
        examined, further = examined + seen.examined, seen.last
        found += [finding for finding in seen.found if finding.affected]
    known = await sweeps.find(conn, sweep.project_id, sweep.kind, sweep.name, sweep.program_version)
    return Preview(
        sweep.name,
        sweep.program_version,
        await sweeps.count_users(conn, sweep.project_id),
        examined,
        len(found),
        total(found),
        [finding.user for finding in found[:SWEEP_SAMPLE_USERS]],
        None if further is None else str(further),
        None if known is None else view_of(known),
    )


async def start(services: Services, conn: Connection, sweep: Sweep) -> SweepView:
    """Start a sweep, or begin one that has finished again; 409 where that name was asked for with other content."""
    users = await sweeps.count_users(conn, sweep.project_id)
    started = await sweeps.start(conn, msgspec.structs.replace(sweep, id=services.new_id(), users=users))
    if started.payload != sweep.payload:
        raise Problem(409, "conflict", f"there is another {sweep.kind} named {sweep.name!r}: {started.payload}")
    return view_of(started)


NOBODY = UUID(int=0)
"""The id of a sweep that is only looked at."""
