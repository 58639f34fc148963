"""A streak's step in a decision: the event's period made active, milestones paid."""

from collections.abc import Callable
from datetime import UTC

from questline.engine import streaks
from questline.engine.conditions import compile_condition
from questline.engine.draft import Draft
from questline.engine.rewards import give
from questline.model import calendar
from questline.model.decision import StreakChange
from questline.model.definition import Reward
from questline.model.program import Streak, rewards_of

Step = Callable[[Draft], None]
Milestones = list[tuple[int, tuple[Reward, ...]]]


def compile_streak(name: str, streak: Streak) -> Step:
    """Return the closure that advances a streak and pays the milestones its longest run passes."""
    test = compile_condition(streak.when) if streak.when else None
    milestones = milestones_of(streak)
    every = streak.every
    graceful = streak.grace_hours > 0

    def step(draft: Draft) -> None:
        if test is not None and not test(draft.view):
            return
        at, zone = draft.event.occurred_at, draft.zone
        period = calendar.period_number(every, at, zone)
        excused = streaks.excused_periods(streak, at, zone, period) if graceful or zone is not UTC else ()
        change = streaks.advance(name, streak, draft.state.streaks.get(name), period, excused)
        if change is not None:
            draft.streaks[name] = change
            if milestones and change.state.longest > change.longest_before:
                pay_milestones(draft, name, milestones, change)

    return step


def milestones_of(streak: Streak) -> Milestones:
    """Return (length, rewards) of a streak's milestones, the shortest first."""
    return sorted((int(length), rewards_of(milestone)) for length, milestone in streak.milestones.items())


def pay_milestones(draft: Draft, name: str, milestones: Milestones, change: StreakChange) -> None:
    """Pay each milestone once: when the longest run first reaches it."""
    for length, rewards in milestones:
        if change.longest_before < length <= change.state.longest:
            draft.notice("streak.milestone", streak=name, length=length)
            give(draft, rewards, 1, f"streak:{name}:{length}")
