"""Vitals: bounded counters of a user, such as energy and fatigue, that may recover with time."""

from datetime import datetime
from typing import Literal

import msgspec

from questline.model.definition import Definition, Gains, Reward


class Regeneration(Definition, frozen=True, rename="camel", omit_defaults=True):
    """`amount` (negative: it wanes) for each whole span of `every` units since the last change."""

    amount: int
    every: int
    unit: Literal["minutes", "hours", "days"] = "hours"

    @property
    def seconds(self) -> int:
        return self.every * {"minutes": 60, "hours": 3_600, "days": 86_400}[self.unit]


class Top(Definition, frozen=True, rename="camel", omit_defaults=True):
    """What happens on reaching `max`: rewards, and the value it falls to (None: it stays)."""

    rewards: tuple[Reward, ...] = ()
    then: int | None = None


class Vital(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A counter from `min` to `max`. A change beyond a bound stops at it."""

    title: str = ""
    min: int = 0
    max: int = 100
    start: int = 0
    regenerate: Regeneration | None = None
    at_top: Top | None = None
    gains: Gains | None = None


class VitalState(msgspec.Struct, frozen=True, gc=False):
    """The value as of `at`; what regenerated since is worked out by whoever reads it."""

    value: int
    at: datetime
