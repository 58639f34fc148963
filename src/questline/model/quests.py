"""Quests: steps towards a goal that a user starts, and that end by success, by failure or by time."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

import msgspec

from questline.model.definition import Condition, Definition, Instant, Reward
from questline.model.items import Span
from questline.model.requirements import Requirement

QuestType = Literal["daily", "weekly", "monthly", "special", "story", "event"]
_PERIODS = {"daily": "day", "weekly": "week", "monthly": "month"}


class StepRequirement(Requirement, frozen=True, rename="camel", omit_defaults=True):
    """A requirement of a step: of what was reached in total (`ever`), or since the quest's `start`.

    None: metrics of a quest that repeats count since its start, everything else in total.
    """

    since: Literal["start", "ever"] | None = None


class QuestStep(Definition, frozen=True, rename="camel", omit_defaults=True):
    """One step: complete when its events are counted, its requirements met and, if `manual`, the customer says so.

    A step that names neither events nor requirements is for the customer to complete.
    """

    id: str
    title: str = ""
    description: str = ""
    optional: bool = False
    manual: bool = False
    on: str | tuple[str, ...] | None = None
    when: Condition | None = None
    count: int = 1
    requirements: tuple[StepRequirement, ...] = ()
    match: Literal["all", "any"] = "all"
    rewards: tuple[Reward, ...] = ()

    @property
    def waits_for_customer(self) -> bool:
        return self.manual or (self.on is None and not self.requirements)


class Failing(Definition, frozen=True, rename="camel", omit_defaults=True):
    """The events that fail a quest under way."""

    on: str | tuple[str, ...]
    when: Condition | None = None


class Quest(Definition, frozen=True, rename="camel", omit_defaults=True):
    """Steps, when they may be taken, and what they give. Daily, weekly and monthly quests begin anew each period."""

    title: str
    steps: tuple[QuestStep, ...]
    description: str = ""
    type: QuestType = "special"
    difficulty: Literal["easy", "medium", "hard", "epic"] = "medium"
    category: str = ""
    ordered: bool = False
    prerequisites: tuple[Requirement, ...] = ()
    auto_start: bool = True
    auto_complete: bool = True
    time_limit: Span | None = None
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    fails: Failing | None = None
    rewards: tuple[Reward, ...] = ()

    @property
    def every(self) -> str | None:
        """The period it repeats in; None: it is done once."""
        return _PERIODS.get(self.type)

    @property
    def all_requirements(self) -> tuple[Requirement, ...]:
        """The prerequisites, and what its steps require."""
        return (*self.prerequisites, *(requirement for step in self.steps for requirement in step.requirements))


class QuestStatus(StrEnum):
    NOT_STARTED = "NOT_STARTED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


class QuestState(msgspec.Struct, frozen=True, gc=False):
    """A user's latest run of a quest, and how often they completed it in all.

    `deadline` None: none. `period` is the number of the period a repeating run belongs to. `done` are its complete steps,
    in that order; `counts` the events counted, by step; `since` what requirements count from, by `kind:name`, as texts.
    """

    status: QuestStatus = QuestStatus.NOT_STARTED
    times: int = 0
    period: int = 0
    started_at: datetime | None = None
    deadline: datetime | None = None
    ended_at: datetime | None = None
    done: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    since: dict[str, str] = {}
