"""What all definitions of a program have in common: they are frozen, camelCase on the wire, and leave out defaults."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Condition = dict[str, Any]
Amount = int | dict[str, Any]  # 40, or {field | value, times, round, min, max}
Award = dict[str, Amount]  # currency → amount

Round = Literal["half_even", "half_up", "floor", "ceil"]
Per = Literal["hour", "day", "week", "month", "ever"]
Operator = Literal["gte", "gt", "lte", "lt", "eq"]


class Definition(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One entry of a program, or a part of one."""


REWARD_KINDS = ("currency", "item", "vital", "boost", "reward")


class Reward(Definition, frozen=True, rename="camel", omit_defaults=True):
    """What a user is given: a `value` of a currency or a vital, a `quantity` of an item or a named reward, or a boost.

    Exactly one of the five is set.
    """

    currency: str | None = None
    item: str | None = None
    vital: str | None = None
    boost: str | None = None
    reward: str | None = None
    value: int = 0
    quantity: int = 1

    @property
    def kind(self) -> str:
        """Which of its members names what is given."""
        return next((k for k in REWARD_KINDS if getattr(self, k) is not None), "")


class Gains(Definition, frozen=True, rename="camel", omit_defaults=True):
    """What is gained is multiplied by min(1 + perLevel * (level - 1), max), and rounded once."""

    level: str  # the track
    per_level: float
    max: float | None = None
    round: Round = "half_up"
