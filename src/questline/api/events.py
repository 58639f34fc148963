"""/v1/events: what became of an event. Sending them is in api/hot."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import QueryParameter

from questline.api.callers import EventReader, needs
from questline.api.problems import Problem, pruned
from questline.api.services import Services
from questline.api.users import page
from questline.control.events import EventStatus, EventView, event_view, status_of
from questline.model.hashing import event_id_hash, given_key_hash, public_hash, user_hash
from questline.model.limits import PAGE_ITEMS_DEFAULT
from questline.model.permissions import Scope
from questline.store import reads, retention
from questline.store.pool import Connection, tenant_transaction


class EventSummary(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    event_id: str | None
    type: str
    user_id: str
    occurred_at: datetime
    received_at: datetime
    status: EventStatus
    reason: str | None


class EventPage(msgspec.Struct, frozen=True, rename="camel"):
    items: list[EventSummary]
    next_cursor: str | None


@get("/events/{event_id:str}", tags=["events"], opt=needs(Scope.EVENTS_READ))
async def get_event(event_id: str, event_reader: EventReader, services: Services) -> EventView:
    """Show an event by our id, by the customer's event id or by its idempotency key: status, attempts, decision, why."""
    project = event_reader.project
    async with tenant_transaction(services.pool, project.id) as conn:
        row = None
        id_ = await find_id(conn, project.id, event_id)
        if id_ is not None:
            row = await reads.event(conn, project.id, id_)
        if row is None:
            if id_ is not None and await retention.may_be_gone(conn, id_):
                raise pruned(str(id_))
            raise _unknown(event_id, services)
        version = row["program_version"]
        program = None
        if version is not None:
            current = await services.program(conn, project)
            program = await services.programs.version(conn, project.id, version, current.default_timezone)
    return event_view(row, program)


@get("/events", tags=["events"], opt=needs(Scope.EVENTS_READ))
async def list_events(
    event_reader: EventReader,
    services: Services,
    user_id: Annotated[str | None, QueryParameter(name="userId")] = None,
    type: str | None = None,  # noqa: A002 - the parameter's name on the wire
    status: EventStatus | None = None,
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> EventPage:
    """List events, newest first; of one user, one type, one status, where these are given."""
    before, limit = page(cursor, limit)
    project = event_reader.project.id
    async with tenant_transaction(services.pool, project) as conn:
        if user_id is None:
            rows = await reads.events(conn, project, before, type, status, limit + 1)
        else:
            hashed = user_hash(project, user_id)
            rows = await reads.events_of_user(conn, project, user_id, hashed, before, type, status, limit + 1)
    items = [_summary(row) for row in rows[:limit]]
    return EventPage(items, items[-1].id if len(rows) > limit else None)


async def find_id(conn: Connection, project_id: int, event_id: str) -> UUID | None:
    """Return our id of an event that is named by it, by the customer's event id or by its idempotency key.

    Where a server and a page named two events alike, it is the server's.
    """
    names = [event_id_hash(event_id), given_key_hash(event_id)]
    found = await reads.find_event(conn, project_id, [*names, *map(public_hash, names)])
    return found or _uuid(event_id)


def _unknown(event_id: str, services: Services) -> Problem:
    if services.settings.transport != "kafka":
        return Problem(404, "not-found", f"there is no event {event_id!r}")
    detail = f"there is no event {event_id!r}, or no worker has taken it out of the log yet"
    return Problem(404, "not-found", detail, headers={"Retry-After": "1"})


def _summary(row: Any) -> EventSummary:
    status, reason = status_of(row)
    return EventSummary(
        str(row["id"]),
        row["external_id"],
        row["type"],
        row["external_user"],
        row["occurred_at"],
        row["received_at"],
        status,
        reason,
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
