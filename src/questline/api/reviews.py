"""/v1/reviews: held events, approved or denied by a person."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, get, post

from questline.api.acts import Acts
from questline.api.callers import Admin, Reader, needs
from questline.api.commands import execute
from questline.api.events import find_id
from questline.api.idempotency import given_key
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.users import page
from questline.model.event import APPROVE, DENY
from questline.model.limits import PAGE_ITEMS_DEFAULT
from questline.model.permissions import Scope
from questline.model.principal import Project
from questline.processing.outcome import stored_outcome
from questline.store import commands, reviews
from questline.store.pool import tenant_transaction

AnyRequest = Request[Any, Any, Any]


class ReviewStatus(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    DENIED = "denied"


class GuardTrip(msgspec.Struct, frozen=True, rename="camel"):
    """What a guard said: the numbers it compared, and the user's suspicion with this event."""

    guard: str
    kind: str
    action: str
    values: dict[str, float]
    score: int


class Review(msgspec.Struct, frozen=True, rename="camel"):
    """A held event with what the guards said; `decided_by` is the event that approved or denied it."""

    event_id: str
    external_id: str | None
    user_id: str
    type: str
    payload: dict[str, Any]
    occurred_at: datetime
    received_at: datetime
    status: ReviewStatus
    reason: str
    decided_by: str | None
    guards: list[GuardTrip]


class ReviewPage(msgspec.Struct, frozen=True, rename="camel"):
    items: list[Review]
    next_cursor: str | None


class ReviewDecision(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Why a held event is approved or denied."""

    reason: str = ""


class Reviewed(msgspec.Struct, frozen=True, rename="camel"):
    """How a review ended, and what it changed; the same answer to whoever decides the same again."""

    event_id: str
    status: ReviewStatus
    decided_by: str
    duplicate: bool
    outcome: dict[str, Any]


@get("/reviews", tags=["reviews"], opt=needs(Scope.REVIEWS_READ))
async def list_reviews(
    reader: Reader,
    services: Services,
    status: ReviewStatus = ReviewStatus.WAITING,
    cursor: str | None = None,
    limit: int = PAGE_ITEMS_DEFAULT,
) -> ReviewPage:
    """List held events, newest first: those that wait, or those that were approved or denied."""
    before, limit = page(cursor, limit)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        rows = await reviews.listed(conn, reader.project.id, status.value, before, limit + 1)
    items = [_review(row) for row in rows[:limit]]
    return ReviewPage(items, items[-1].event_id if len(rows) > limit else None)


@post(
    "/reviews/{event_id:str}/approve",
    status_code=200,
    tags=["reviews"],
    opt=needs(Scope.REVIEWS_WRITE, "review.approve", command=True),
)
async def approve_review(
    event_id: str, data: ReviewDecision, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> Reviewed:
    """Apply a held event as of its own time, once however often it is approved."""
    return await _decide(services, admin, acts, event_id, ReviewStatus.APPROVED, data.reason, request)


@post(
    "/reviews/{event_id:str}/deny",
    status_code=200,
    tags=["reviews"],
    opt=needs(Scope.REVIEWS_WRITE, "review.deny", command=True),
)
async def deny_review(
    event_id: str, data: ReviewDecision, admin: Admin, acts: Acts, services: Services, request: AnyRequest
) -> Reviewed:
    """Refuse a held event for good; it and its trace are kept."""
    return await _decide(services, admin, acts, event_id, ReviewStatus.DENIED, data.reason, request)


async def _decide(
    services: Services, admin: Admin, acts: Acts, event_id: str, status: ReviewStatus, reason: str, request: AnyRequest
) -> Reviewed:
    """Run the command unless the review has ended so already; who comes second is answered as the first was."""
    review = await _find(services, admin.project, event_id)
    if review["status"] != status:
        type_ = APPROVE if status is ReviewStatus.APPROVED else DENY
        payload = {"event": str(review["event_id"]), "reason": reason, "by": admin.actor}
        key, at = given_key(request.scope["headers"]), review["occurred_at"]
        try:
            act = acts.of(admin, "event", review["event_id"], before={"status": review["status"]})
            done = await execute(services, admin.project, type_, review["external_user"], payload, key, at, act)
            return Reviewed(str(review["event_id"]), status, str(done.event_id), done.duplicate, done.outcome)
        except Problem as problem:
            review = await _find(services, admin.project, event_id)
            if problem.code != "already-reviewed" or review["status"] != status:
                raise
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        stored = await commands.outcomes(conn, [(admin.project.id, review["decided_by"])])
    *_, outcome = stored_outcome(stored[review["decided_by"]])
    return Reviewed(str(review["event_id"]), status, str(review["decided_by"]), True, outcome)


async def _find(services: Services, project: Project, event_id: str) -> Any:
    async with tenant_transaction(services.pool, project.id) as conn:
        id_: UUID | None = await find_id(conn, project.id, event_id)
        review = None if id_ is None else await reviews.one(conn, project.id, id_)
    if review is None:
        raise Problem(404, "not-found", f"there is no held event {event_id!r}")
    return review


def _review(row: Any) -> Review:
    trace = msgspec.json.decode(row["trace"], type=dict[str, Any])
    return Review(
        str(row["event_id"]),
        row["external_id"],
        row["external_user"],
        row["type"],
        msgspec.json.decode(row["payload"], type=dict[str, Any]),
        row["occurred_at"],
        row["received_at"],
        ReviewStatus(row["status"]),
        row["reason"],
        None if row["decided_by"] is None else str(row["decided_by"]),
        [GuardTrip(*trip) for trip in trace.get("guards", ())],
    )
