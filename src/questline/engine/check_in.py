"""The daily check-in: at most once per calendar day of the user; what it gives are rules and streaks on `check_in`."""

from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from questline.engine.refusal import Refusal
from questline.model import calendar
from questline.model.event import Event
from questline.model.limits import CHECK_IN_HOURS_ACROSS_ZONES
from questline.model.reasons import Reason
from questline.model.records import CheckInState, RecordKey, RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft

_APART = timedelta(hours=CHECK_IN_HOURS_ACROSS_ZONES)
_DAYS_KEPT = 64  # most check-ins are of now
_DAYS_BESIDE = 2  # dates of one instant lie so far apart at most: UTC-12 and UTC+14


def keys(event: Event, zone: tzinfo) -> tuple[RecordKey, ...]:
    """Return the records of the calendar day the event lies in, and of those that other zones may have called it."""
    return _days_around(calendar.period_number("day", event.occurred_at, zone))


@lru_cache(_DAYS_KEPT)
def _days_around(day: int) -> tuple[RecordKey, ...]:
    return tuple((RecordKind.CHECK_IN, str(one)) for one in range(day - _DAYS_BESIDE, day + _DAYS_BESIDE + 1))


def check_in(draft: "Draft") -> None:
    """`check_in`: note the day, or refuse where it was noted before, by this zone's clocks or just now by another's."""
    at, zone = draft.event.occurred_at, draft.zone
    kind, day = RecordKind.CHECK_IN, _day(at, zone)
    if draft.record(kind, day) is not None:
        local = calendar.local(at, zone).date()
        raise Refusal(Reason.ALREADY_CHECKED_IN, f"the user has checked in on {local.isoformat()}")
    other = _in_another_zone(draft, at, zone)
    if other is not None:
        raise Refusal(
            Reason.ALREADY_CHECKED_IN,
            f"the user checked in at {other.isoformat()} and has another time zone since; the next day's check-in"
            f" is taken {CHECK_IN_HOURS_ACROSS_ZONES} hours after it",
        )
    draft.put(kind, day, CheckInState(at), "command:check_in")


def _in_another_zone(draft: "Draft", at: datetime, zone: tzinfo) -> datetime | None:
    """Return when the user checked in, a few hours from now, on a date that this zone's clocks did not show then."""
    for kind, day in keys(draft.event, zone):
        found = cast(CheckInState | None, draft.record(kind, day))
        if found is not None and abs(at - found.at) < _APART and _day(found.at, zone) != day:
            return found.at
    return None


def _day(at: datetime, zone: tzinfo) -> str:
    return str(calendar.period_number("day", at, zone))
