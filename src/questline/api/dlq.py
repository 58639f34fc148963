"""/v1/admin/dlq: dead letters, looked at, put back and given up."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.params import QueryParameter
from msgspec import Meta

from questline.api.acts import Acts, At
from questline.api.callers import Overseer, Steward, needs
from questline.api.services import Services
from questline.api.users import page
from questline.model.limits import DEAD_LETTERS_AT_ONCE, PAGE_ITEMS_DEFAULT, REASON_CHARS_MAX
from questline.model.permissions import Scope
from questline.store import dead_letters
from questline.store.dead_letters import Filter, Held
from questline.store.pool import Connection

_project = attrgetter("project_id")
Time = Annotated[datetime, Meta(tz=True)]


class Discarded(msgspec.Struct, frozen=True, rename="camel"):
    """When a dead letter was given up for good, by whom, and why."""

    at: datetime
    by: str
    reason: str


class DeadLetter(msgspec.Struct, frozen=True, rename="camel"):
    """An event that gave up; `eventId` is ours, `externalId` the customer's."""

    event_id: str
    external_id: str | None
    project: str
    type: str
    user_id: str
    reason: str
    message: str
    attempts: int
    received_at: datetime
    failed_at: datetime
    discarded: Discarded | None


class DeadLetterPage(msgspec.Struct, frozen=True, rename="camel"):
    items: list[DeadLetter]
    next_cursor: str | None


class DeadLetterCount(msgspec.Struct, frozen=True, rename="camel"):
    """How many events of a project gave up with a reason code; `discarded` ones are not among the `events`."""

    project: str
    reason: str
    events: int
    discarded: int
    oldest: datetime
    newest: datetime


class DeadLetterCounts(msgspec.Struct, frozen=True):
    items: list[DeadLetterCount]


class _Choice(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    project: str | None = None
    event_ids: Annotated[list[UUID], Meta(max_length=DEAD_LETTERS_AT_ONCE)] | None = None
    reason_code: str | None = None
    type: str | None = None
    user_id: str | None = None
    from_: Time | None = msgspec.field(name="from", default=None)
    to: Time | None = None
    failed_before: Time | None = None
    limit: Annotated[int, Meta(ge=1, le=DEAD_LETTERS_AT_ONCE)] = DEAD_LETTERS_AT_ONCE


class DeadLetterRetry(_Choice):
    """Which dead letters to put back, the oldest first: of a project, by our event ids, by reason code, type, user, receipt.

    `failedBefore` (default: now) is answered, so that a loop over many leaves those out that fail again meanwhile.
    """


class DeadLetterDiscard(_Choice):
    """Which dead letters to give up for good, as for a retry, and why."""

    reason: Annotated[str, Meta(min_length=1, max_length=REASON_CHARS_MAX)]


class DeadLettersDone(msgspec.Struct, frozen=True, rename="camel"):
    """How many were put back or given up, and how many more are meant."""

    done: int
    left: int
    failed_before: datetime


@get("/admin/dlq", tags=["operations"], opt=needs(Scope.OPERATIONS_READ))
async def list_dead_letters(
    overseer: Overseer,
    services: Services,
    project: str | None = None,
    reason_code: Annotated[str | None, QueryParameter(name="reasonCode")] = None,
    type: str | None = None,  # noqa: A002 - the parameter's name on the wire
    user_id: Annotated[str | None, QueryParameter(name="userId")] = None,
    discarded: bool = False,
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> DeadLetterPage:
    """List dead letters, newest first; with `discarded`, those that were given up for good."""
    before, limit = page(cursor, limit)
    which = Filter(await overseer.project_ids(services, project), reason_code, type, user_id)
    rows = await dead_letters.listed(services.pool, which, before, limit + 1, discarded=discarded)
    items = [_letter(row) for row in rows[:limit]]
    return DeadLetterPage(items, items[-1].event_id if len(rows) > limit else None)


@get("/admin/dlq/reasons", tags=["operations"], opt=needs(Scope.OPERATIONS_READ))
async def count_dead_letters(overseer: Overseer, services: Services, project: str | None = None) -> DeadLetterCounts:
    """Count dead letters by project and reason code."""
    rows = await dead_letters.reasons(services.pool, await overseer.project_ids(services, project))
    return DeadLetterCounts([DeadLetterCount(**row) for row in rows])


@post(
    "/admin/dlq/retry",
    status_code=200,
    tags=["operations"],
    opt=needs(Scope.OPERATIONS_WRITE, act="dead_letters.retry"),
)
async def retry_dead_letters(
    data: DeadLetterRetry, steward: Steward, acts: Acts, services: Services
) -> DeadLettersDone:
    """Put dead letters back, to be tried at once. Each is applied once, however often this is asked."""

    async def retry(conn: Connection, letters: list[Held]) -> int:
        return await dead_letters.retry(conn, letters, services.now())

    return await _do(data, steward, acts, services, retry)


@post(
    "/admin/dlq/discard",
    status_code=200,
    tags=["operations"],
    opt=needs(Scope.OPERATIONS_WRITE, act="dead_letters.discard"),
)
async def discard_dead_letters(
    data: DeadLetterDiscard, steward: Steward, acts: Acts, services: Services
) -> DeadLettersDone:
    """Give dead letters up for good. They stay, with who did it and why, and are retried no more."""

    async def discard(conn: Connection, letters: list[Held]) -> int:
        return await dead_letters.discard(conn, letters, services.now(), steward.name, data.reason)

    return await _do(data, steward, acts, services, discard)


async def _do(
    data: _Choice,
    steward: Steward,
    acts: Acts,
    services: Services,
    act: Callable[[Connection, list[Held]], Awaitable[int]],
) -> DeadLettersDone:
    which = Filter(
        await steward.project_ids(services, data.project),
        data.reason_code,
        data.type,
        data.user_id,
        data.from_,
        data.to,
        data.event_ids,
    )
    failed_before = data.failed_before or services.now()
    async with services.pool.acquire() as conn, conn.transaction():
        letters = await dead_letters.choose(conn, which, failed_before, data.limit)
        done = await act(conn, letters) if letters else 0
        for project_id, mine in groupby(sorted(letters, key=_project), key=_project):
            first, *others = mine
            by = At(steward.name, first.organization_id, project_id)
            told = {"events": 1 + len(others), "reasonCode": data.reason_code, "reason": getattr(data, "reason", None)}
            await acts.write(conn, by, "dead-letters", first.event_id, after=told)
        left = await dead_letters.left(conn, which, failed_before)
    return DeadLettersDone(done, left, failed_before)


def _letter(row: Any) -> DeadLetter:
    at = row["discarded_at"]
    return DeadLetter(
        str(row["event_id"]),
        row["external_id"],
        row["project"],
        row["type"],
        row["external_user"],
        row["reason"],
        row["message"],
        row["attempts"],
        row["received_at"],
        row["failed_at"],
        None if at is None else Discarded(at, row["discarded_by"], row["discarded_for"]),
    )
