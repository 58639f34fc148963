"""The daily check-in: at most once per calendar day of the user; what it gives are rules and streaks on `check_in`."""

from datetime import tzinfo
from typing import TYPE_CHECKING

from questline.engine.refusal import Refusal
from questline.model import calendar
from questline.model.event import Event
from questline.model.reasons import Reason
from questline.model.records import CheckInState, RecordKey, RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft


def key(event: Event, zone: tzinfo) -> RecordKey:
    """Return the record of the calendar day the event lies in."""
    return RecordKind.CHECK_IN, str(calendar.period_number("day", event.occurred_at, zone))


def check_in(draft: "Draft") -> None:
    """`check_in`: note the day, or refuse where it was noted before."""
    kind, day = key(draft.event, draft.zone)
    if draft.record(kind, day) is not None:
        local = calendar.local(draft.event.occurred_at, draft.zone).date()
        raise Refusal(Reason.ALREADY_CHECKED_IN, f"the user has checked in on {local.isoformat()}")
    draft.put(kind, day, CheckInState(draft.event.occurred_at), "command:check_in")
