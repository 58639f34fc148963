"""/v1/events: what became of an event. Sending them is in api/hot."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import get

from questline.api.callers import EventReader
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import page
from questline.control.events import EventView, event_view, status_of
from questline.ingest.hashing import event_id_hash, given_key_hash
from questline.model.limits import PAGE_ITEMS_DEFAULT
from questline.store import reads
from questline.store.pool import tenant_transaction


class EventSummary(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    event_id: str | None
    type: str
    user_id: str
    occurred_at: datetime
    received_at: datetime
    status: str
    reason: str | None


class EventPage(msgspec.Struct, frozen=True, rename="camel"):
    items: list[EventSummary]
    next_cursor: str | None


@get("/events/{event_id:str}", tags=["events"])
async def get_event(event_id: str, event_reader: EventReader, services: Services) -> EventView:
    """Show an event by our id, by the customer's event id or by its idempotency key: status, attempts, decision, why."""
    project = event_reader.project
    async with tenant_transaction(services.pool, project.id) as conn:
        row = None
        found = await reads.find_event(conn, project.id, [event_id_hash(event_id), given_key_hash(event_id)])
        id_ = found or _uuid(event_id)
        if id_ is not None:
            row = await reads.event(conn, project.id, id_)
        if row is None:
            raise Problem(404, "not-found", f"there is no event {event_id!r}")
        version = row["program_version"]
        program = None
        if version is not None:
            current = await services.program(conn, project)
            program = await services.programs.version(conn, project.id, version, current.default_timezone)
    return event_view(row, program)


@get("/events", tags=["events"])
async def list_events(
    event_reader: EventReader,
    services: Services,
    type: str | None = None,  # noqa: A002 - the parameter's name on the wire
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> EventPage:
    """List events, newest first, optionally of one type."""
    before, limit = page(cursor, limit)
    async with tenant_transaction(services.pool, event_reader.project.id) as conn:
        rows = await reads.events(conn, event_reader.project.id, before, type, limit + 1)
    items = []
    for row in rows[:limit]:
        status, reason = status_of(row)
        items.append(
            EventSummary(
                str(row["id"]),
                row["external_id"],
                row["type"],
                row["external_user"],
                row["occurred_at"],
                row["received_at"],
                status,
                reason,
            )
        )
    return EventPage(items, items[-1].id if len(rows) > limit else None)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
