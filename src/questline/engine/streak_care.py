"""Care for streaks: pauses, restored breaks, users' own targets and day starts, and the mending after an incident.

Whatever mends does so by excusing periods: they neither count nor break. A streak is a function of its active and its
excused periods, so care and activity give the same streak in any order of arrival; and excusing never shortens a run.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from questline.engine import streaks
from questline.engine.choices import (
    choices_of,
    day_start_hours,
    periods_that_suffice,
    with_day_start,
    with_target,
)
from questline.engine.refusal import Refusal
from questline.engine.runs import milestones_of, pay_milestones
from questline.model import calendar
from questline.model.decision import StreakChange
from questline.model.limits import STREAK_CARE_DAYS_MAX, STREAK_CHOICES_MAX, STREAK_DAY_START_DAYS
from questline.model.program import Streak
from questline.model.reasons import Reason
from questline.model.records import RecordKind
from questline.model.streaks import StreakChoices

if TYPE_CHECKING:
    from questline.engine.draft import Draft

_A_WHILE = timedelta(days=STREAK_DAY_START_DAYS)


def pause(draft: "Draft") -> None:
    """`$streak_pause` {streak, from, until}: excuse what the days from `from` (today) to `until`, both included, touch."""
    name, definition = _named(draft)
    today = _period("day", draft, name, definition, draft.event.occurred_at)
    begin = _day(draft, "from", today)
    end = _day(draft, "until", None)
    if begin > today + STREAK_CARE_DAYS_MAX:
        raise Refusal(Reason.LIMIT_REACHED, f"from: a pause begins within {STREAK_CARE_DAYS_MAX} days")
    if begin < today:
        raise Refusal(Reason.INVALID_COMMAND, "from: a pause begins today or later; restore mends what is past")
    _check_span(begin, end)
    _excuse(draft, name, definition, _touched(definition, begin, end))
    draft.notice("streak.paused", streak=name, **_dates(begin, end))


def at_risk(draft: "Draft") -> None:
    """`$streak_at_risk` {streak}: tell the user of a run that ends unless they are active today; nothing else changes."""
    name, definition = _named(draft)
    state, at = draft.state.streaks.get(name), draft.event.occurred_at
    today = _period(definition.every, draft, name, definition, at)
    if state is None or definition.remind is None or state.last_period >= today:
        return
    length, _ = streaks.as_of(definition, state, today)
    kept = streaks.as_of(definition, state, today + 1)[0]  # by a freeze, or because today is excused
    if length >= definition.remind.from_ and not kept:
        draft.notice("streak.at_risk", streak=name, length=length)


def restore(draft: "Draft") -> None:
    """`$streak_restore` {streak, reason, by, from, until}: excuse the latest break, or what the days that are named touch."""
    name, definition = _named(draft)
    reason = draft.event.payload.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise Refusal(Reason.INVALID_COMMAND, "reason: is missing; it is kept with the event")
    state = draft.state.streaks.get(name)
    at = draft.event.occurred_at
    current = _period(definition.every, draft, name, definition, at)
    if "from" in draft.event.payload or "until" in draft.event.payload:
        begin, end = _day(draft, "from", None), _day(draft, "until", None)
        if end >= _period("day", draft, name, definition, at):
            raise Refusal(Reason.INVALID_COMMAND, "until: must lie before today; a pause excuses what is to come")
        _check_span(begin, end)
        missed: Iterable[int] = _touched(definition, begin, end)
    else:
        broken = streaks.missed_periods(definition, state, current) if state is not None else range(0)
        if not broken:
            raise Refusal(Reason.STREAK_NOT_BROKEN, f"the streak {name!r} has no break to restore")
        begin = calendar.first_day(definition.every, broken[0])
        end = calendar.first_day(definition.every, broken[-1] + 1) - 1
        _check_span(begin, end)
        missed = broken
    change = _excuse(draft, name, definition, missed)
    length = change.state.length if change is not None else draft.streak(name)
    draft.notice("streak.restored", streak=name, length=length, **_dates(begin, end))


def choose_target(draft: "Draft") -> None:
    """`$streak_target` {streak, days}: from the next week or month on so many active days are needed; null: as the streak says.

    The period under way keeps its target, so that nobody saves it by asking less of themselves on its last evening.
    """
    name, definition = _named(draft)
    days_max = {"day": 1, "week": 7, "month": 28}[definition.every]
    if not definition.personal or definition.every == "day":
        text = f"streak: {name!r} has no target to choose: it must be personal, and of weeks or months"
        raise Refusal(Reason.INVALID_COMMAND, text)
    days = draft.event.payload.get("days")
    if days is not None and (type(days) is not int or not 1 <= days <= days_max):
        raise Refusal(Reason.INVALID_COMMAND, f"days: must be a whole number from 1 to {days_max}, or null")
    since = _period(definition.every, draft, name, definition, draft.event.occurred_at) + 1
    chosen = with_target(choices_of(draft, name), since, definition.days if days is None else days)
    draft.put(RecordKind.STREAK_CHOICES, name, chosen, "command:streak_target")
    first = calendar.date_text(calendar.first_day(definition.every, since))
    draft.notice("streak.target", streak=name, days=days, **{"from": first})
    reached = periods_that_suffice(definition, chosen, since)
    if reached:
        _take(draft, name, definition, streaks.activate(name, definition, draft.state.streaks.get(name), reached))


def choose_day_start(draft: "Draft") -> None:
    """`$streak_day_start` {streak, hours}: from now on the user's day begins so many hours after midnight.

    Earlier events keep their days. A period that the change itself makes begin before its time is excused, unless a choice
    before has let it begin already; and that is done once in a while, or who goes to and fro need never be active.
    """
    name, definition = _named(draft)
    if not definition.personal:
        raise Refusal(Reason.INVALID_COMMAND, f"streak: {name!r} has no day start to choose: it is not personal")
    hours, at = draft.event.payload.get("hours"), draft.event.occurred_at
    if type(hours) is not int or not 0 <= hours <= 23:
        raise Refusal(Reason.INVALID_COMMAND, "hours: must be a whole number from 0 to 23")
    chosen = choices_of(draft, name)
    if len(chosen.day_starts) == STREAK_CHOICES_MAX and at - chosen.day_starts[0][0] < _A_WHILE:
        text = f"hours: a day start is chosen at most {STREAK_CHOICES_MAX} times in {STREAK_DAY_START_DAYS} days"
        raise Refusal(Reason.LIMIT_REACHED, text)
    chosen = with_day_start(chosen, at, hours)
    short = _cut_short(draft, definition, chosen)
    if at in short and any(since != at and abs(at - since) < _A_WHILE for since in short):
        text = f"hours: would cut a {definition.every} short, less than {STREAK_DAY_START_DAYS} days from the last time; choose"
        raise Refusal(
            Reason.LIMIT_REACHED, f"{text} them at an hour at which both day starts give the same {definition.every}"
        )
    draft.put(RecordKind.STREAK_CHOICES, name, chosen, "command:streak_day_start")
    _excuse(draft, name, definition, short.get(at, ()))
    draft.notice("streak.day_start", streak=name, hours=hours)


def mend(draft: "Draft") -> None:
    """`$streak_mend` {incident, from, until, streaks}: excuse every period that the window touches on the user's clocks."""
    payload = draft.event.payload
    begin, end = (datetime.fromisoformat(payload[key]) for key in ("from", "until"))
    for name, definition in draft.program.streaks.items():
        if payload.get("streaks") and name not in payload["streaks"]:
            continue
        first = _period(definition.every, draft, name, definition, begin)
        last = _period(definition.every, draft, name, definition, end - timedelta(microseconds=1))
        change = _excuse(draft, name, definition, range(first, last + 1))
        if change is not None and change.state.length != change.length_before:
            draft.notice("streak.restored", streak=name, length=change.state.length, incident=payload.get("incident"))


def _named(draft: "Draft") -> tuple[str, Streak]:
    name = draft.event.payload.get("streak")
    definition = draft.program.streaks.get(name) if isinstance(name, str) else None
    if definition is None:
        raise Refusal(Reason.UNKNOWN_STREAK, f"the program has no streak {name!r}")
    return str(name), definition


def _cut_short(draft: "Draft", definition: Streak, chosen: StreakChoices) -> dict[datetime, range]:
    """Return the periods that each choice of a day start made begin before their time: those that had not begun before."""
    short: dict[datetime, range] = {}
    hours, begun = definition.day_start_hours, 0
    for since, chosen_hours in chosen.day_starts:
        zone = _zone(draft, since)
        begun = max(begun, calendar.period_number(definition.every, since, zone, hours))
        period = calendar.period_number(definition.every, since, zone, chosen_hours)
        if period > begun:
            short[since] = range(begun + 1, period + 1)
            begun = period
        hours = chosen_hours
    return short


def _zone(draft: "Draft", at: datetime) -> tzinfo:
    state = draft.state
    return calendar.zone_in_force(state.timezone, state.zone_history, at, draft.program.timezone)


def _period(every: str, draft: "Draft", name: str, definition: Streak, at: datetime) -> int:
    """Return the period of an instant in the zone, and by the day start, that the user had then."""
    hours = definition.day_start_hours
    if definition.has_choices:
        hours = day_start_hours(definition, choices_of(draft, name), at)
    return calendar.period_number(every, at, _zone(draft, at), hours)


def _day(draft: "Draft", field: str, default: int | None) -> int:
    text = draft.event.payload.get(field)
    if text is None and default is not None:
        return default
    try:
        return calendar.day_of(text if isinstance(text, str) else "")
    except ValueError:
        raise Refusal(Reason.INVALID_COMMAND, f"{field}: must be a date such as 2026-07-01") from None


def _check_span(begin: int, end: int) -> None:
    if end < begin:
        raise Refusal(Reason.INVALID_COMMAND, "until: must not lie before from")
    if end - begin >= STREAK_CARE_DAYS_MAX:
        raise Refusal(Reason.LIMIT_REACHED, f"at most {STREAK_CARE_DAYS_MAX} days are excused at a time")


def _touched(definition: Streak, begin: int, end: int) -> range:
    first, last = (calendar.period_of_day(definition.every, day) for day in (begin, end))
    return range(first, last + 1)


def _dates(begin: int, end: int) -> dict[str, Any]:
    return {"from": calendar.date_text(begin), "until": calendar.date_text(end)}


def _excuse(draft: "Draft", name: str, definition: Streak, excused: Iterable[int]) -> StreakChange | None:
    change = streaks.excuse(name, definition, draft.state.streaks.get(name), excused)
    return _take(draft, name, definition, change)


def _take(draft: "Draft", name: str, definition: Streak, change: StreakChange | None) -> StreakChange | None:
    if change is not None:
        draft.streaks[name] = change
        pay_milestones(draft, name, milestones_of(definition), change)
    return change
