"""A program document as typed values. Wire names are camelCase; `parse` takes a document that validate() passed."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from questline.model.boosts import Boost, Boosting, Segment
from questline.model.catalogue import EventType
from questline.model.contests import League, Season
from questline.model.definition import Award, Condition, Definition, Gains, Per, Reward
from questline.model.event import SYSTEM_PREFIX
from questline.model.guards import Guard, Suspicion
from questline.model.items import Inventory, Item
from questline.model.quests import Quest
from questline.model.redemptions import StoreItem
from questline.model.referrals import Commission, Referrals
from questline.model.requirements import Requirement
from questline.model.rewards import NamedReward
from questline.model.tiers import Tiers
from questline.model.vitals import Vital

Period = Literal["daily", "weekly", "monthly", "yearly", "all-time"]


class LevelReward(Definition, frozen=True, rename="camel", omit_defaults=True):
    award: dict[str, int] = {}
    rewards: tuple[Reward, ...] = ()


class Levels(Definition, frozen=True, rename="camel", omit_defaults=True):
    """How XP becomes levels: `sqrt` and `linear` by `base`, `table` by the XP each level from 1 on needs."""

    curve: Literal["sqrt", "linear", "table"]
    base: int = 100
    table: tuple[int, ...] = ()
    max: int | None = None
    rewards: dict[str, LevelReward] = {}


class Currency(Definition, frozen=True, rename="camel", omit_defaults=True):
    kind: Literal["xp", "currency"]
    title: str = ""
    decimals: int = 0  # for display only: amounts are always in smallest units
    levels: Levels | None = None
    spendable: bool | None = None  # None: currencies are, XP is not
    gains: Gains | None = None

    @property
    def can_be_spent(self) -> bool:
        return self.kind == "currency" if self.spendable is None else self.spendable


class Metric(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A named aggregate over events: exactly one of the six kinds is set, `count` to true, the others to a field."""

    on: str | tuple[str, ...]
    when: Condition | None = None
    count: bool = False
    sum: str | None = None
    min: str | None = None
    max: str | None = None
    last: str | None = None
    distinct: str | None = None

    @property
    def kind(self) -> str:
        return next((k for k in ("sum", "min", "max", "last", "distinct") if getattr(self, k) is not None), "count")

    @property
    def field(self) -> str:
        return "" if self.kind == "count" else getattr(self, self.kind)


class Multiplier(Definition, frozen=True, rename="camel", omit_defaults=True):
    """One factor: {field, map, default}, {streak, every | from, by} or {hours: [from, to], by}."""

    field: str | None = None
    map: dict[str, float] | None = None
    default: float = 1
    streak: str | None = None
    every: int | None = None
    from_: int | None = msgspec.field(default=None, name="from")
    hours: tuple[int, int] | None = None
    by: float = 1


class Limit(Definition, frozen=True, rename="camel", omit_defaults=True):
    times: int
    per: Per


class Rule(Definition, frozen=True, rename="camel", omit_defaults=True):
    on: str | tuple[str, ...]
    award: Award = {}
    rewards: tuple[Reward, ...] = ()
    when: Condition | None = None
    multiply: tuple[Multiplier, ...] = ()
    limit: Limit | None = None
    title: str = ""
    enabled: bool = True


class Freezes(Definition, frozen=True, rename="camel", omit_defaults=True):
    max: int
    earn_every: int


class Milestone(Definition, frozen=True, rename="camel", omit_defaults=True):
    award: dict[str, int] = {}
    rewards: tuple[Reward, ...] = ()


class Reminder(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A notice `streak.at_risk` at an hour of the user's day, where a run of at least `from` has not been kept up yet."""

    hour: int
    from_: int = msgspec.field(default=1, name="from")


class Streak(Definition, frozen=True, rename="camel", omit_defaults=True):
    on: str | tuple[str, ...]
    every: Literal["day", "week", "month"] = "day"
    when: Condition | None = None
    freezes: Freezes | None = None
    grace_hours: int = 0
    milestones: dict[str, Milestone] = {}
    title: str = ""
    day_start_hours: int = 0  # after midnight
    days: int = 1  # active days that a week or a month needs
    personal: bool = False  # users may choose days and day start for themselves
    remind: Reminder | None = None

    @property
    def counts_days(self) -> bool:
        """Whether a period may need more than one active day."""
        return self.every != "day" and (self.days > 1 or self.personal)

    @property
    def has_choices(self) -> bool:
        """Whether users have a record beside the streak itself."""
        return self.personal or self.counts_days


class Tier(Definition, frozen=True, rename="camel", omit_defaults=True):
    threshold: float | int
    title: str = ""
    rewards: tuple[Reward, ...] = ()


class Achievement(Definition, frozen=True, rename="camel", omit_defaults=True):
    title: str
    requirements: tuple[Requirement, ...]
    description: str = ""
    type: str = "MILESTONE"
    category: str = ""
    points: int = 0
    secret: bool = False
    match: Literal["all", "any"] = "all"
    tiers: tuple[Tier, ...] = ()
    repeatable: bool = False
    rewards: tuple[Reward, ...] = ()


class Board(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A leaderboard of a currency (XP tracks are currencies) or of a metric."""

    currency: str | None = None
    metric: str | None = None
    periods: tuple[Period, ...] = ("all-time",)
    ties: Literal["first", "dense", "competition"] = "first"
    scope: Literal["APP", "GLOBAL"] = "APP"
    decimals: int = 0
    title: str = ""

    @property
    def ranks(self) -> str:
        """The name of what the board ranks."""
        return self.currency or self.metric or ""


class ProgramDocument(Definition, frozen=True, rename="camel", omit_defaults=True):
    timezone: str | None = None
    currencies: dict[str, Currency] = {}
    metrics: dict[str, Metric] = {}
    rules: dict[str, Rule] = {}
    streaks: dict[str, Streak] = {}
    achievements: dict[str, Achievement] = {}
    boards: dict[str, Board] = {}
    vitals: dict[str, Vital] = {}
    items: dict[str, Item] = {}
    inventory: Inventory | None = None
    segments: dict[str, Segment] = {}
    boosts: dict[str, Boost] = {}
    boosting: Boosting = Boosting()
    tiers: dict[str, Tiers] = {}
    referrals: Referrals | None = None
    commissions: dict[str, Commission] = {}
    seasons: dict[str, Season] = {}
    leagues: dict[str, League] = {}
    guards: dict[str, Guard] = {}
    suspicion: Suspicion | None = None
    rewards: dict[str, NamedReward] = {}
    quests: dict[str, Quest] = {}
    store: dict[str, StoreItem] = {}
    event_types: dict[str, EventType] = {}
    unknown_event_types: Literal["accept", "refuse"] = "accept"


def parse(document: Mapping[str, Any]) -> ProgramDocument:
    """Return a validated document as typed values; msgspec.ValidationError where validate() was skipped."""
    return msgspec.convert(string_keys(document), ProgramDocument)


def string_keys(value: Any) -> Any:
    """Return the document with every key as text: YAML reads the 7 of `milestones: {7: ...}` as a number."""
    if isinstance(value, Mapping):
        return {str(key): string_keys(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [string_keys(item) for item in value]
    return value


def rewards_of(gift: LevelReward | Milestone) -> tuple[Reward, ...]:
    """Return everything a level or a milestone gives: its award, then its rewards."""
    return (*(Reward(currency=currency, value=value) for currency, value in gift.award.items()), *gift.rewards)


def types_of(on: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the event types an `on` names; "*" stands for all."""
    return (on,) if isinstance(on, str) else on


def concerns(on: str | tuple[str, ...], event_type: str) -> bool:
    """Tell whether what listens to `on` hears a type; "*" hears no system events."""
    types = types_of(on)
    return event_type in types or ("*" in types and not event_type.startswith(SYSTEM_PREFIX))
