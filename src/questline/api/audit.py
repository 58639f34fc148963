"""/v1/audit: what was done to a project, by whom, from where; as pages, or whole as NDJSON."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get
from litestar.params import QueryParameter
from litestar.response import Stream

from questline.api.callers import Admin, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import page
from questline.model.limits import AUDIT_EXPORT_ROWS, PAGE_ITEMS_DEFAULT, SHORT_TEXT_CHARS_MAX
from questline.model.permissions import Scope
from questline.store import audit
from questline.store.audit import ActRow, Filter
from questline.store.pool import Connection, tenant_transaction
from questline.store.reads import LAST_ID

Chosen = Annotated[str | None, QueryParameter(max_length=SHORT_TEXT_CHARS_MAX)]
_encode_lines = msgspec.json.Encoder().encode_lines
_NDJSON = "application/x-ndjson"

Transaction = Callable[[], AbstractAsyncContextManager[Connection]]


class ActTarget(msgspec.Struct, frozen=True):
    """What was acted on: a user by the customer's id, all else by its id here or its name."""

    kind: str
    id: str


class ActView(msgspec.Struct, frozen=True, rename="camel"):
    """One act. `actor` is key:ID, member:ID, operator or developer; `appId` null: an act on the organization itself.

    `before` and `after` are what it changed; of a command they are what its event changed, and the event has the rest.
    """

    id: UUID
    at: datetime
    actor: str
    action: str
    target: ActTarget
    before: Any
    after: Any
    event_id: UUID | None
    correlation_id: str
    address: str
    app_id: str | None


class ActPage(msgspec.Struct, frozen=True, rename="camel"):
    items: list[ActView]
    next_cursor: str | None


async def chosen_acts(
    actor: Chosen = None,
    action: Chosen = None,
    target_kind: Annotated[str | None, QueryParameter(name="targetKind", max_length=SHORT_TEXT_CHARS_MAX)] = None,
    target: Chosen = None,
    since: str | None = None,
    until: str | None = None,
) -> Filter:
    """Return which acts a request asks for; raises a 400 problem."""
    return Filter(actor, action, target_kind, target, _moment("since", since), _moment("until", until))


def _moment(name: str, text: str | None) -> datetime | None:
    """Read a date-time with a zone, or epoch seconds; raises a 400 problem."""
    if text is None:
        return None
    try:
        found = msgspec.convert(text, datetime | None, strict=False)
    except (msgspec.ValidationError, ValueError) as error:  # ValueError: seconds just beyond the year 9999
        detail = f"{name} must be a date-time with a zone, such as 2026-11-01T00:00:00Z, or epoch seconds until 9999"
        raise Problem(400, "invalid-parameter", detail, parameter=name) from error
    if found is not None and found.tzinfo is None:
        raise Problem(400, "invalid-parameter", f"{name} must have a zone, such as Z", parameter=name)
    return found


@get("/audit", tags=["audit"], opt=needs(Scope.AUDIT_READ))
async def list_acts(
    admin: Admin,
    services: Services,
    chosen: Filter,
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> ActPage:
    """List what was done to the project, newest first."""
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        return await acts_page(conn, admin.organization_id, admin.project_id, chosen, cursor, limit)


@get("/audit/export", tags=["audit"], opt=needs(Scope.AUDIT_READ))
async def export_acts(admin: Admin, services: Services, chosen: Filter) -> Stream:
    """Export what was done to the project as NDJSON, newest first, however much it is."""

    def transaction() -> AbstractAsyncContextManager[Connection]:
        return tenant_transaction(services.pool, admin.project.id)

    return exported(transaction, admin.organization_id, admin.project_id, chosen)


async def acts_page(
    conn: Connection, organization_id: int, project_id: int | None, chosen: Filter, cursor: str | None, limit: int
) -> ActPage:
    """Return a page of acts; raises a 400 problem."""
    before, limit = page(cursor, limit)
    rows = await audit.page(conn, organization_id, project_id, before, chosen, limit + 1)
    items = [_view(row) for row in rows[:limit]]
    return ActPage(items, str(items[-1].id) if len(rows) > limit else None)


def exported(transaction: Transaction, organization_id: int, project_id: int | None, chosen: Filter) -> Stream:
    """Return acts as a stream of lines, read a bounded number at once, each time in a transaction of its own."""

    async def read(before: UUID) -> list[ActRow]:
        async with transaction() as conn:
            return await audit.page(conn, organization_id, project_id, before, chosen, AUDIT_EXPORT_ROWS)

    return Stream(_lines(read), media_type=_NDJSON)


async def _lines(read: Callable[[UUID], Awaitable[list[ActRow]]]) -> AsyncIterator[bytes]:
    before = LAST_ID
    while True:
        rows = await read(before)
        if rows:
            yield _encode_lines([_view(row) for row in rows])
        if len(rows) < AUDIT_EXPORT_ROWS:
            return
        before = rows[-1].id


def _view(row: ActRow) -> ActView:
    return ActView(
        row.id,
        row.at,
        row.actor,
        row.action,
        ActTarget(row.target_kind, row.target),
        row.before,
        row.after,
        row.event_id,
        row.correlation_id,
        row.address,
        row.app_id,
    )
