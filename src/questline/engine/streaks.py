"""Streaks: a function of the set of active periods, so late and out-of-order events give the same streak.

The definition is a fold over the active periods in order, with a bank of freezes as one number, the credit, in
[0, max * earnEvery]:

* an active period adds 1 to the credit, and nothing while the bank is full;
* a gap of g missed periods (excused ones do not count as missed) costs g * earnEvery; with less credit than that the
  run ends, and the next one starts with an empty bank;
* freezes held are credit div earnEvery; a run's length is the number of its active periods.

Each step is monotone in the credit, and an active period in place of a missed one only adds credit: so the longest run
never shrinks when a period is added, and what is paid for it does not depend on the order of arrival.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

from questline.model import calendar, periods
from questline.model.decision import StreakChange
from questline.model.program import Streak
from questline.model.state import StreakState


def advance(
    name: str, definition: Streak, state: StreakState | None, period: int, excused: tuple[int, ...] = ()
) -> StreakChange | None:
    """Return the change that an active period and periods excused with it make; None when they change nothing."""
    if state is None or state.active == periods.EMPTY:
        return _first(name, definition, state, period, excused)
    if period >= state.last_period and not _touches_past(state, excused):
        if period == state.last_period:
            return _excuse_ahead(name, state, excused) if excused else None
        return _extend(name, definition, state, period, excused)
    return _refold(name, definition, state, [period], excused)


def excuse(name: str, definition: Streak, state: StreakState | None, excused: Iterable[int]) -> StreakChange | None:
    """Return the change that excusing periods makes to a streak, also to one that has no active period yet."""
    if state is None:
        state = _NEVER_ACTIVE
    known = periods.parse(state.excused)
    fresh = tuple(p for p in excused if not periods.contains(known, p))
    if not fresh:
        return None
    if state.active == periods.EMPTY:
        return _excuse_ahead(name, state, fresh)
    return _refold(name, definition, state, [], fresh)


def first_excused(change: StreakChange) -> int:
    """Return the first period that a change excuses; a change that excuses none begins with its last active one."""
    added = periods.parse(change.added_excused)
    return added[0][0] if added else change.state.last_period


def activate(name: str, definition: Streak, state: StreakState | None, active: Iterable[int]) -> StreakChange | None:
    """Return the change that any active periods make, however late they are found to be."""
    return _refold(name, definition, state or _NEVER_ACTIVE, active, ())


def missed_periods(definition: Streak, state: StreakState, current_period: int) -> range:
    """Return the periods of the latest break: those missed up to now, else those before the latest run; empty: no break."""
    if state.active == periods.EMPTY:
        return range(0)
    if as_of(definition, state, current_period)[0] == 0:
        return range(state.last_period + 1, current_period)
    before = [high for _, high in periods.parse(state.active) if high <= state.run_start]
    return range(before[-1], state.run_start) if before else range(0)


def excused_periods(
    definition: Streak, at: datetime, tz: tzinfo, period: int, day_start_hours: int = 0
) -> tuple[int, ...]:
    """Return the periods that an event at an instant excuses, besides making its own period active.

    Within `graceHours` after a period's end an event still saves that period; and local dates next to it that never
    were on the zone's clocks are nobody's fault.
    """
    excused: tuple[int, ...] = ()
    grace = definition.grace_hours
    if grace and calendar.periods_begun(definition.every, at, tz, grace, day_start_hours):
        excused = (period - 1,)
    if definition.every == "day" and tz is not UTC:
        excused += tuple(day for day in (period - 1, period + 1) if not calendar.day_exists(day, tz))
    return excused


def as_of(definition: Streak, state: StreakState, current_period: int) -> tuple[int, int]:
    """Return (length, freezes held) as they are in the current period: 0 once the gap can no longer be bridged.

    The current period itself is not missed before it ends.
    """
    missed = _missed(state.last_period, current_period, state.excused)
    if definition.freezes is None:
        return (state.length if missed <= 0 else 0), 0
    earn_every = definition.freezes.earn_every
    left = state.freeze_credit - missed * earn_every
    return (state.length, left // earn_every) if left >= 0 else (0, 0)


def _missed(last: int, period: int, excused: str) -> int:
    missed = period - last - 1
    if missed > 0 and excused != periods.EMPTY:
        missed -= periods.count_between(periods.parse(excused), last + 1, period)
    return max(missed, 0)


def _credit_max(definition: Streak) -> int:
    return definition.freezes.max * definition.freezes.earn_every if definition.freezes else 0


def _first(
    name: str, definition: Streak, state: StreakState | None, period: int, excused: tuple[int, ...]
) -> StreakChange:
    active = periods.single(period)
    added = all_excused = periods.format_ranges(periods.of(excused)) if excused else periods.EMPTY
    if state is not None:
        all_excused = periods.format_ranges(periods.unite(periods.parse(state.excused), periods.of(excused)))
    new = StreakState(active, all_excused, period, period, 1, 1, min(1, _credit_max(definition)))
    return StreakChange(name, new, active, added, 0, 0)


_NEVER_ACTIVE = StreakState(periods.EMPTY, periods.EMPTY, 0, 0, 0, 0, 0)


def _touches_past(state: StreakState, excused: tuple[int, ...]) -> bool:
    """Tell whether an excused period may mend what the fold has already passed."""
    return any(p < state.last_period for p in excused)


def _excuse_ahead(name: str, state: StreakState, excused: tuple[int, ...]) -> StreakChange | None:
    known = periods.parse(state.excused)
    fresh = [p for p in excused if not periods.contains(known, p)]
    if not fresh:
        return None
    added = periods.of(fresh)
    new = StreakState(
        state.active,
        periods.format_ranges(periods.unite(known, added)),
        state.run_start,
        state.last_period,
        state.length,
        state.longest,
        state.freeze_credit,
    )
    return StreakChange(name, new, periods.EMPTY, periods.format_ranges(added), state.length, state.longest)


def _extend(name: str, definition: Streak, state: StreakState, period: int, excused: tuple[int, ...]) -> StreakChange:
    """The common case: a period after the last one. The set is not parsed, however long it is."""
    excused_text, added_excused = state.excused, periods.EMPTY
    if excused:
        added = periods.of(excused)
        added_excused = periods.format_ranges(added)
        excused_text = periods.format_ranges(periods.unite(periods.parse(state.excused), added))
    credit_max = _credit_max(definition)
    missed = _missed(state.last_period, period, excused_text)
    cost = missed * definition.freezes.earn_every if definition.freezes else missed
    if cost <= state.freeze_credit or not missed:
        start, length, credit = state.run_start, state.length + 1, min(state.freeze_credit - cost + 1, credit_max)
    else:
        start, length, credit = period, 1, min(1, credit_max)
    longest = length if length > state.longest else state.longest
    active = periods.append(state.active, period)
    new = StreakState(active, excused_text, start, period, length, longest, credit)
    return StreakChange(name, new, periods.single(period), added_excused, state.length, state.longest)


def _refold(
    name: str, definition: Streak, state: StreakState, active: Iterable[int], excused: tuple[int, ...]
) -> StreakChange | None:
    """A late event: unite the sets and fold them from the beginning."""
    known_active, known_excused = periods.parse(state.active), periods.parse(state.excused)
    fresh_active = periods.of(p for p in active if not periods.contains(known_active, p))
    fresh_excused = periods.of(p for p in excused if not periods.contains(known_excused, p))
    if not fresh_active and not fresh_excused:
        return None
    all_active = periods.unite(known_active, fresh_active)
    all_excused = periods.unite(known_excused, fresh_excused)
    start, last, length, longest, credit = fold(definition, all_active, all_excused)
    new = StreakState(
        periods.format_ranges(all_active),
        periods.format_ranges(all_excused),
        start,
        last,
        length,
        max(longest, state.longest),
        credit,
    )
    return StreakChange(
        name,
        new,
        periods.format_ranges(fresh_active),
        periods.format_ranges(fresh_excused),
        state.length,
        state.longest,
    )


def fold(definition: Streak, active: periods.Ranges, excused: periods.Ranges) -> tuple[int, int, int, int, int]:
    """Fold a non-empty set; return (run_start, last_period, length, longest, freeze_credit)."""
    credit_max = _credit_max(definition)
    price = definition.freezes.earn_every if definition.freezes else 1
    start = previous_end = active[0][0]
    length = longest = credit = 0
    for low, high in active:
        missed = low - previous_end
        if missed:
            if excused:
                missed -= periods.count_between(excused, previous_end, low)
            if missed * price <= credit:
                credit -= missed * price
            else:
                start, length, credit = low, 0, 0
        length += high - low
        if credit_max:
            credit = min(credit + high - low, credit_max)
        if length > longest:
            longest = length
        previous_end = high
    return start, previous_end - 1, length, longest, credit
