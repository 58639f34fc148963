"""Reviews of held events: approved, which applies them as of their own time, or denied, which leaves their trace."""

from datetime import tzinfo
from typing import TYPE_CHECKING, Literal, cast
from uuid import UUID

import msgspec

from questline.engine.refusal import Refusal
from questline.model.event import Approval, Event
from questline.model.guards import ReviewState
from questline.model.reasons import Reason
from questline.model.records import RecordKey, RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft


def as_approved(approval: Event, held: Event) -> Event:
    """Return the event that `$approve` stands for: what the held one says, at its time, under the approval's id.

    Its effects are keyed by that id, and its review is decided with them: it is applied once, however often it is approved.
    """
    named = Approval(held.id, _reason(approval))
    return msgspec.structs.replace(held, id=approval.id, received_at=approval.received_at, approval=named)


def key(event: Event, _: tzinfo) -> RecordKey:
    """Return the review that a `$deny` names."""
    return RecordKind.REVIEW, _named(event)


def approve(draft: "Draft") -> None:
    """`$approve` {event, reason}: note that the held event is approved, or refuse; its own steps follow."""
    approval = draft.event.approval
    if approval is None:  # it could not be found
        raise Refusal(Reason.UNKNOWN_REVIEW, f"the user has no held event {_named(draft.event)!r}")
    _decide(draft, str(approval.event_id), "approved", approval.reason)


def deny(draft: "Draft") -> None:
    """`$deny` {event, reason}: note that the held event is denied, or refuse."""
    _decide(draft, _named(draft.event), "denied", _reason(draft.event))


def _decide(draft: "Draft", name: str, status: Literal["approved", "denied"], reason: str) -> None:
    state = cast(ReviewState | None, draft.record(RecordKind.REVIEW, name))
    if state is None:
        raise Refusal(Reason.UNKNOWN_REVIEW, f"the user has no held event {name!r}")
    if state.status != "waiting":
        raise Refusal(Reason.ALREADY_REVIEWED, f"the event was {state.status} before")
    draft.put(RecordKind.REVIEW, name, ReviewState(status, state.at, reason, draft.event.id), f"review:{status}")
    draft.notice(f"review.{status}", event=name, reason=reason)


def _named(event: Event) -> str:
    """The id of the held event, as reviews are named; one that names nothing is nobody's."""
    try:
        return str(UUID(str(event.payload.get("event"))))
    except ValueError:
        return str(UUID(int=0))


def _reason(event: Event) -> str:
    return str(event.payload.get("reason", ""))
