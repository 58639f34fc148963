"""One event and all that became of it, explained."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from questline.engine.compile import Program
from questline.engine.explain import Verdict, explain
from questline.model.event import Event


class EventStatus(StrEnum):
    """Where an event stands. Applying is one transaction, so nobody ever sees an event half applied."""

    PENDING = "pending"
    PROCESSED = "processed"
    REFUSED = "refused"
    HELD = "held"  # by a guard, until it is approved (then processed) or denied (then refused)
    FAILED = "failed"  # a dead letter


class AttemptView(msgspec.Struct, frozen=True, rename="camel"):
    number: int
    status: str
    reason: str
    message: str | None
    duration_us: int
    at: datetime


class TransferView(msgspec.Struct, frozen=True, rename="camel"):
    currency: str
    debit: str
    credit: str
    amount: int
    rule: str


class DecisionView(msgspec.Struct, frozen=True, rename="camel"):
    """What the engine said; `explanation` has a verdict on each definition of the event's type."""

    status: str
    reason: str
    message: str
    program_version: int
    transfers: list[TransferView]
    trace: dict[str, Any]
    explanation: list[Verdict]


class EventReview(msgspec.Struct, frozen=True, rename="camel"):
    """What became of an event that a guard held; the effects of an approved one are those of `decided_by`."""

    status: str  # waiting | approved | denied
    reason: str
    decided_by: str | None


class EventView(msgspec.Struct, frozen=True, rename="camel"):
    """An event and what became of it."""

    id: str
    event_id: str | None
    type: str
    user_id: str
    payload: dict[str, Any]
    occurred_at: datetime
    received_at: datetime
    source: str | None
    schema_version: str | None
    spec_version: str | None
    partition_key: str | None
    correlation_id: str | None
    context: dict[str, Any] | None
    sent_with: str | None
    status: EventStatus
    reason: str | None
    message: str | None
    attempts: list[AttemptView]
    decision: DecisionView | None
    review: EventReview | None


def status_of(row: Any) -> tuple[EventStatus, str | None]:
    """Return (status, reason code) of an event's row."""
    if row["dead_reason"] is not None:
        return EventStatus.FAILED, row["dead_reason"]
    if row["status"] is None:
        return EventStatus.PENDING, None
    return EventStatus(row["status"]), row["reason"]


def event_view(row: Any, program: Program | None) -> EventView:
    """Return the view of a row of store.reads.event; `program` is the version that decided it, where one did."""
    status, reason = status_of(row)
    payload = msgspec.json.decode(row["payload"], type=dict[str, Any])
    decision = _decision(row, program) if row["status"] is not None and program is not None else None
    return EventView(
        str(row["id"]),
        row["external_id"],
        row["type"],
        row["external_user"],
        payload,
        row["occurred_at"],
        row["received_at"],
        row["source"],
        row["schema_version"],
        row["spec_version"],
        row["partition_key"],
        row["correlation_id"],
        _context(row),
        row["sent_with"],
        status,
        reason,
        row["dead_message"] if status is EventStatus.FAILED else decision.message if decision is not None else None,
        msgspec.json.decode(row["attempts"] or "[]", type=list[AttemptView]),
        decision,
        _review(row),
    )


def _context(row: Any) -> dict[str, Any] | None:
    return None if row["context"] is None else msgspec.json.decode(row["context"], type=dict[str, Any])


def _review(row: Any) -> EventReview | None:
    if row["review_status"] is None:
        return None
    by = row["review_by"]
    return EventReview(row["review_status"], row["review_reason"], None if by is None else str(by))


def _decision(row: Any, program: Program) -> DecisionView:
    trace = msgspec.json.decode(row["trace"], type=dict[str, Any])
    event = Event(
        row["id"],
        0,
        row["type"],
        row["external_user"],
        msgspec.json.decode(row["payload"], type=dict[str, Any]),
        row["occurred_at"],
        row["source"],
        row["schema_version"],
        context=_context(row),
    )
    return DecisionView(
        row["status"],
        row["reason"],
        trace.get("message", ""),
        row["program_version"],
        msgspec.json.decode(row["transfers"] or "[]", type=list[TransferView]),
        trace,
        explain(program, program.as_read(event), trace, _unapplied(row)),
    )


def _unapplied(row: Any) -> str:
    if row["review_status"] == "approved":
        return "the event was applied when it was approved"
    return "" if row["status"] == EventStatus.PROCESSED else f"the event is {row['status']}"
