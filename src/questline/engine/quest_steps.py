"""Steps of a quest: what each counts and requires, whether it is met, and how far the user is."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from decimal import Decimal

from questline.engine.numbers import EXACT, exact
from questline.engine.requirements import Reader, meets, requirement_share, share, value_of
from questline.model import calendar, periods
from questline.model.program import Streak
from questline.model.quests import Quest, QuestState, QuestStep, StepRequirement
from questline.model.state import Number

SINCE_METRICS = ("count", "sum", "distinct")  # whose values of two moments have a difference that says something


def counts_since_start(quest: Quest, requirement: StepRequirement) -> bool:
    """Tell whether a requirement counts from the quest's start; metrics of a quest that repeats do unless it says not."""
    if requirement.since is not None:
        return requirement.since == "start"
    return quest.every is not None and requirement.metric is not None and requirement.timeframe is None


def key_of(requirement: StepRequirement) -> str:
    """Return the name under which a state keeps what a requirement counts from."""
    return ":".join(requirement.source)


def counted_from_start(quest: Quest) -> dict[str, StepRequirement]:
    """Return the requirements that count from a run's start, by the name under which a run keeps where that was.

    Achievements need none: they know when they were unlocked.
    """
    return {
        key_of(requirement): requirement
        for step in quest.steps
        for requirement in step.requirements
        if requirement.achievement is None and counts_since_start(quest, requirement)
    }


def baselines(
    counted: Mapping[str, StepRequirement], streaks: Mapping[str, Streak], reader: Reader, at: datetime, zone: tzinfo
) -> dict[str, str]:
    """Return what each requirement that counts since the start counts from: a value, or the number of a streak's period."""
    return {
        key: str(
            _period(streaks[requirement.streak], at, zone)
            if requirement.streak is not None
            else value_of(requirement, reader)
        )
        for key, requirement in counted.items()
    }


def _period(streak: Streak, at: datetime, zone: tzinfo) -> int:
    return calendar.period_number(streak.every, at, zone, streak.day_start_hours)


def step_value(quest: Quest, requirement: StepRequirement, state: QuestState, reader: Reader) -> Number:
    """Return what a requirement of a step is compared with.

    Since the start: what a metric, a level or the completions of a quest rose by; the active periods of the latest run of a
    streak; the tier of an achievement that was unlocked since.
    """
    if not counts_since_start(quest, requirement):
        return value_of(requirement, reader)
    kind, name = requirement.source
    if kind == "achievement":
        unlocked = reader.achievement_state(name)
        since = unlocked is not None and state.started_at is not None and unlocked.unlocked_at >= state.started_at
        return reader.achievement_tier(name) if since else 0
    start = state.since.get(key_of(requirement))
    if kind == "streak":
        found = reader.streak_state(name)
        if found is None or start is None:
            return 0
        return periods.count_between(
            periods.parse(found.active), max(found.run_start, int(start)), found.last_period + 1
        )
    if start is None:
        return 0
    return EXACT.subtract(exact(value_of(requirement, reader)), Decimal(start))


def is_met(quest: Quest, step: QuestStep, state: QuestState, reader: Reader) -> bool:
    """Tell whether a step's events are counted and its requirements met; what the customer has to say is not looked at."""
    if step.on is not None and state.counts.get(step.id, 0) < step.count:
        return False
    if not step.requirements:
        return True
    tests = (meets(r, step_value(quest, r, state, reader)) for r in step.requirements)
    return all(tests) if step.match == "all" else any(tests)


def is_open(quest: Quest, step: QuestStep, done: tuple[str, ...]) -> bool:
    """Tell whether a step can be worked on: of ordered steps, when all required ones before it are complete."""
    if step.id in done:
        return False
    if quest.ordered:
        for other in quest.steps:
            if other.id == step.id:
                break
            if not other.optional and other.id not in done:
                return False
    return True


def first_missing(quest: Quest, done: tuple[str, ...]) -> str | None:
    """Return the first required step that is not complete; None when all are."""
    return next((step.id for step in quest.steps if not step.optional and step.id not in done), None)


def step_progress(quest: Quest, step: QuestStep, state: QuestState, reader: Reader) -> float:
    """Return how far a step is, from 0 to 1: the mean of its parts, of which requirements of which any will do are one."""
    if step.id in state.done:
        return 1.0
    parts = []
    if step.on is not None:
        parts.append(share(state.counts.get(step.id, 0), step.count))
    shares = [requirement_share(r, step_value(quest, r, state, reader)) for r in step.requirements]
    parts += [max(shares)] if shares and step.match == "any" else shares
    if step.waits_for_customer:
        parts.append(0.0)
    return min(sum(parts) / len(parts), 0.999)


def quest_progress(quest: Quest, steps: Mapping[str, float]) -> float:
    """Return how far a quest is, from 0 to 1: the mean of its required steps, by their ids; 1 only where all are."""
    required = [steps[step.id] for step in quest.steps if not step.optional]
    return 1.0 if min(required) == 1.0 else min(sum(required) / len(required), 0.999)
