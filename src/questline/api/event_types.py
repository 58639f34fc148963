"""/v1/event-types: the event catalogue. Definitions are a part of the program; what came is listed beside them."""

from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, post, put

from questline.api.acts import Acts
from questline.api.callers import Admin, Reader, needs
from questline.api.problems import Problem
from questline.api.program import apply_edit, body_of, current_version, expected_version
from questline.api.services import Services
from questline.control.event_types import EventTypeDetail, Inferred, ListedType, detail, merged
from questline.control.inference import infer
from questline.control.programs import remove_entry, set_entry
from questline.model.limits import (
    EVENT_TYPE_CHARS_MAX,
    INFERRED_BYTES_MAX,
    PAGE_ITEMS_DEFAULT,
    PAGE_ITEMS_MAX,
    SAMPLE_BYTES_MAX,
    SAMPLES_KEPT,
    SAMPLES_SHOWN,
    SHORT_TEXT_CHARS_MAX,
)
from questline.model.permissions import Scope
from questline.store import event_types
from questline.store.pool import tenant_transaction

AnyRequest = Request[Any, Any, Any]
SECTION = "eventTypes"


class EventTypeList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[ListedType]
    next_cursor: str | None


class EventTypeEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A definition, and the program version that holds it."""

    type: str
    version: int
    definition: dict[str, Any]


class InferRequest(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """From which stored events to infer a schema: the latest ones, of one schemaVersion or of any."""

    schema_version: Annotated[str, msgspec.Meta(min_length=1, max_length=SHORT_TEXT_CHARS_MAX)] | None = None
    samples: Annotated[int, msgspec.Meta(ge=1, le=SAMPLES_KEPT)] = SAMPLES_KEPT


@get("/event-types", tags=["program"], opt=needs(Scope.PROGRAM_READ))
async def list_event_types(
    reader: Reader, services: Services, cursor: str | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> EventTypeList:
    """List event types by name: those the program declares and those that came, with counts and the latest sample."""
    if not 1 <= limit <= PAGE_ITEMS_MAX:
        raise Problem(400, "invalid-parameter", f"limit must be from 1 to {PAGE_ITEMS_MAX}", parameter="limit")
    if cursor is not None and len(cursor) > EVENT_TYPE_CHARS_MAX:
        raise Problem(400, "invalid-parameter", "this is no cursor of ours", parameter="cursor")
    after = cursor or ""
    version = await current_version(services, reader.project.id)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        seen = await event_types.listed(conn, reader.project.id, after, limit + 1)
    items = merged((version.document or {}).get(SECTION, {}), reader.project.trusted_types, seen, after, limit + 1)
    return EventTypeList(items[:limit], items[limit - 1].type if len(items) > limit else None)


@get("/event-types/{event_type:str}", tags=["program"], opt=needs(Scope.PROGRAM_READ))
async def get_event_type(event_type: str, reader: Reader, services: Services) -> EventTypeDetail:
    """Show an event type: its definition, when it came, and its latest samples."""
    version = await current_version(services, reader.project.id)
    definition = (version.document or {}).get(SECTION, {}).get(event_type)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        row = await event_types.one(conn, reader.project.id, event_type)
        samples = await event_types.samples(conn, reader.project.id, event_type, SAMPLES_SHOWN, SAMPLE_BYTES_MAX)
    if definition is None and row is None:
        raise _no_type(event_type)
    return detail(event_type, definition, version.version, reader.project.trusted_types, row, samples)


@put(
    "/event-types/{event_type:str}",
    status_code=200,
    tags=["program"],
    opt=needs(Scope.PROGRAM_WRITE, "program.entry.set"),
)
async def put_event_type(
    event_type: str, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> EventTypeEntry:
    """Set the definition of an event type: the program's next version."""
    body = await body_of(request)
    edit = set_entry(SECTION, event_type, body)
    version = await apply_edit(services, admin, acts, (SECTION, event_type), edit, expected_version(request))
    return EventTypeEntry(event_type, version.version, body)


@delete(
    "/event-types/{event_type:str}",
    status_code=204,
    tags=["program"],
    opt=needs(Scope.PROGRAM_WRITE, "program.entry.remove"),
)
async def delete_event_type(event_type: str, admin: Admin, acts: Acts, services: Services, request: AnyRequest) -> None:
    """Remove the definition of an event type; what came stays listed."""
    edit = remove_entry(SECTION, event_type)
    try:
        await apply_edit(services, admin, acts, (SECTION, event_type), edit, expected_version(request))
    except LookupError as error:
        raise _no_type(event_type) from error


@post(
    "/event-types/{event_type:str}/infer",
    status_code=200,
    tags=["program"],
    opt=needs(Scope.PROGRAM_READ, not_administrative="reads, and changes nothing"),
)
async def infer_event_type(event_type: str, data: InferRequest, reader: Reader, services: Services) -> Inferred:
    """Infer a schema from stored events of a type; nothing is applied."""
    project_id = reader.project.id
    async with tenant_transaction(services.pool, project_id) as conn:
        samples = await event_types.samples(
            conn, project_id, event_type, data.samples, INFERRED_BYTES_MAX, data.schema_version
        )
    payloads = [sample.payload for sample in samples if sample.payload is not None]
    if not payloads:
        of = "" if data.schema_version is None else f" of schemaVersion {data.schema_version!r}"
        raise Problem(404, "not-found", f"no event of type {event_type!r}{of} is stored to infer from")
    return Inferred(event_type, data.schema_version, len(payloads), infer(payloads))


def _no_type(event_type: str) -> Problem:
    return Problem(404, "not-found", f"the program has no event type {event_type!r}, and none came")
