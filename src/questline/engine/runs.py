"""A streak's step in a decision: the event's period made active, milestones paid."""

from collections.abc import Callable
from datetime import UTC

from questline.engine import streaks
from questline.engine.choices import active_days, choices_of, day_start_hours, target, with_day
from questline.engine.conditions import compile_condition
from questline.engine.draft import Draft
from questline.engine.rewards import give
from questline.model import calendar
from questline.model.decision import StreakChange
from questline.model.definition import Reward
from questline.model.program import Streak, rewards_of
from questline.model.records import RecordKind

Step = Callable[[Draft], None]
Milestones = list[tuple[int, tuple[Reward, ...]]]


def compile_streak(name: str, streak: Streak) -> Step:
    """Return the closure that advances a streak and pays the milestones its longest run passes."""
    test = compile_condition(streak.when) if streak.when else None
    milestones = milestones_of(streak)
    every = streak.every
    graceful = streak.grace_hours > 0
    has_choices, counts_days, start = streak.has_choices, streak.counts_days, streak.day_start_hours

    def step(draft: Draft) -> None:
        if test is not None and not test(draft.view):
            return
        at, zone = draft.event.occurred_at, draft.zone
        hours = day_start_hours(streak, choices_of(draft, name), at) if has_choices else start
        period = calendar.period_number(every, at, zone, hours)
        excused = streaks.excused_periods(streak, at, zone, period, hours) if graceful or zone is not UTC else ()
        state = draft.state.streaks.get(name)
        if counts_days and not _suffices(draft, name, streak, period, hours):
            change = streaks.excuse(name, streak, state, excused) if excused else None
        else:
            change = streaks.advance(name, streak, state, period, excused)
        if change is not None:
            draft.streaks[name] = change
            if milestones and change.state.longest > change.longest_before:
                pay_milestones(draft, name, milestones, change)

    return step


def _suffices(draft: Draft, name: str, streak: Streak, period: int, hours: int) -> bool:
    """Note the event's day, and tell whether its week or month has as many active days as it needs."""
    chosen = choices_of(draft, name)
    new = with_day(chosen, calendar.period_number("day", draft.event.occurred_at, draft.zone, hours))
    if new is not None:
        draft.put(RecordKind.STREAK_CHOICES, name, new, f"streak:{name}")
        chosen = new
    return active_days(streak, chosen, period) >= target(streak, chosen, period)


def milestones_of(streak: Streak) -> Milestones:
    """Return (length, rewards) of a streak's milestones, the shortest first."""
    return sorted((int(length), rewards_of(milestone)) for length, milestone in streak.milestones.items())


def pay_milestones(draft: Draft, name: str, milestones: Milestones, change: StreakChange) -> None:
    """Pay each milestone once: when the longest run first reaches it."""
    for length, rewards in milestones:
        if change.longest_before < length <= change.state.longest:
            draft.notice("streak.milestone", streak=name, length=length)
            give(draft, rewards, 1, f"streak:{name}:{length}")
