"""Requirements: what achievements and quests look at in a user's state, and how far the user is."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from questline.engine.numbers import exact
from questline.model.items import Span
from questline.model.program import ProgramDocument
from questline.model.requirements import Requirement
from questline.model.state import AchievementState, Number, StreakState


class Reader(Protocol):
    """Values that requirements look at; a Draft is one."""

    def balance(self, currency: str) -> int: ...
    def level(self, track: str) -> int: ...
    def longest_streak(self, streak: str) -> int: ...
    def metric(self, metric: str) -> Any: ...
    def achievement_tier(self, achievement: str) -> int: ...
    def window(self, metric: str, span: Span, *, most: bool) -> Number: ...
    def progress(self, achievement: str) -> Number: ...
    def quest_times(self, quest: str) -> int: ...
    def streak_state(self, streak: str) -> StreakState | None: ...
    def achievement_state(self, achievement: str) -> AchievementState | None: ...


def requirements_of(program: ProgramDocument) -> Iterator[Requirement]:
    """Yield every requirement of a program."""
    for achievement in program.achievements.values():
        yield from achievement.requirements
    for quest in program.quests.values():
        yield from quest.all_requirements


COMPARE: dict[str, Callable[[Number, Number], bool]] = {
    "gte": lambda value, threshold: value >= threshold,
    "gt": lambda value, threshold: value > threshold,
    "lte": lambda value, threshold: value <= threshold,
    "lt": lambda value, threshold: value < threshold,
    "eq": lambda value, threshold: value == threshold,
}


def value_of(requirement: Requirement, reader: Reader) -> Number:
    """Return what a requirement looks at: a metric's value, a level, the longest streak, a tier, a quest's times ...

    Through a timeframe, a threshold to be reached looks at the best window that holds the event.
    """
    kind, name = requirement.source
    if kind == "metric":
        if requirement.timeframe is not None:
            return reader.window(name, requirement.timeframe, most=requirement.operator in ("gte", "gt"))
        value = reader.metric(name)
        return 0 if value is None else value
    if kind == "level":
        return reader.level(name)
    if kind == "streak":
        return reader.longest_streak(name)
    if kind == "progress":
        return reader.progress(name)
    if kind == "quest":
        return reader.quest_times(name)
    return reader.achievement_tier(name) if kind == "achievement" else reader.balance(name)


def number_of(value: float | int) -> Number:
    """Return a threshold, or a value that was stored, as it is compared: exact, never a binary float."""
    return value if isinstance(value, int) else exact(value)


def meets(requirement: Requirement, value: Number) -> bool:
    """Tell whether a value meets a requirement."""
    return COMPARE[requirement.operator](value, number_of(requirement.threshold))


def requirement_share(requirement: Requirement, value: Number) -> float:
    """Return how far a value is from meeting a requirement: from 0 to 1, and 1 only where it is met."""
    met = meets(requirement, value)
    if met or requirement.operator not in ("gte", "gt"):
        return float(met)
    return min(share(value, requirement.threshold), 0.999)


def share(value: Number, threshold: float | int) -> float:
    """Return value / threshold, from 0 to 1."""
    if threshold <= 0:
        return 1.0
    return min(max(float(value) / float(threshold), 0.0), 1.0)
