"""What users chose of a streak: when their day begins, and on how many days of a week or month they want to be active."""

from bisect import insort
from datetime import datetime
from typing import TYPE_CHECKING, cast

from questline.model import calendar, periods
from questline.model.limits import STREAK_CHOICES_MAX
from questline.model.program import Streak
from questline.model.records import RecordKind
from questline.model.streaks import StreakChoices

if TYPE_CHECKING:
    from questline.engine.draft import Draft

_NONE = StreakChoices()


def choices_of(draft: "Draft", name: str) -> StreakChoices:
    """Return what the user chose of a streak; nothing, where there is no choice."""
    return cast(StreakChoices | None, draft.record(RecordKind.STREAK_CHOICES, name)) or _NONE


def day_start_hours(definition: Streak, chosen: StreakChoices, at: datetime) -> int:
    """Return how many hours after midnight the user's day began at an instant."""
    return next((hours for since, hours in reversed(chosen.day_starts) if since <= at), definition.day_start_hours)


def target(definition: Streak, chosen: StreakChoices, period: int) -> int:
    """Return how many active days a period needs."""
    return next((days for since, days in reversed(chosen.targets) if since <= period), definition.days)


def active_days(definition: Streak, chosen: StreakChoices, period: int) -> int:
    """Return on how many days of a period the user was active."""
    low, high = (calendar.first_day(definition.every, number) for number in (period, period + 1))
    return periods.count_between(periods.parse(chosen.days), low, high)


def with_day(chosen: StreakChoices, day: int) -> StreakChoices | None:
    """Return the choices with one more active day; None where it was active before."""
    known = periods.parse(chosen.days)
    if periods.contains(known, day):
        return None
    return _changed(chosen, days=periods.format_ranges(periods.unite(known, [(day, day + 1)])))


def with_target(chosen: StreakChoices, since: int, days: int) -> StreakChoices:
    """Return the choices with a target from a period on, until the next that was chosen."""
    targets = [found for found in chosen.targets if found[0] != since]
    insort(targets, (since, days))
    return _changed(chosen, targets=tuple(targets[-STREAK_CHOICES_MAX:]))


def with_day_start(chosen: StreakChoices, since: datetime, hours: int) -> StreakChoices:
    """Return the choices with a day that begins so many hours after midnight, from an instant on."""
    starts = [found for found in chosen.day_starts if found[0] != since]
    insort(starts, (since, hours))
    return _changed(chosen, day_starts=tuple(starts[-STREAK_CHOICES_MAX:]))


def periods_that_suffice(definition: Streak, chosen: StreakChoices, since: int) -> list[int]:
    """Return the periods from one on whose active days reach their target."""
    days = periods.parse(chosen.days)
    found = {
        calendar.period_of_day(definition.every, day)
        for low, high in days
        for day in range(max(low, calendar.first_day(definition.every, since)), high)
    }
    return [p for p in sorted(found) if active_days(definition, chosen, p) >= target(definition, chosen, p)]


def _changed(
    chosen: StreakChoices,
    days: str | None = None,
    targets: tuple[tuple[int, int], ...] | None = None,
    day_starts: tuple[tuple[datetime, int], ...] | None = None,
) -> StreakChoices:
    return StreakChoices(
        chosen.days if days is None else days,
        chosen.targets if targets is None else targets,
        chosen.day_starts if day_starts is None else day_starts,
    )
