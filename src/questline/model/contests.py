"""Seasons and leagues: contests over a span of time, with places, and rewards for ranges of places."""

from typing import Literal

import msgspec

from questline.model.definition import Definition, Reward
from questline.model.items import Span

Ties = Literal["first", "dense", "competition"]


class RankRewards(Definition, frozen=True, rename="camel", omit_defaults=True):
    """What each user whose rank lies from `from` to `to` (left out: `from` alone) is given."""

    from_: int = msgspec.field(name="from")
    to: int | None = None
    rewards: tuple[Reward, ...] = ()

    @property
    def last(self) -> int:
        """The last rank of the range."""
        return self.from_ if self.to is None else self.to


class SeasonBoard(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A board of a currency or a metric that counts what happened within the season."""

    currency: str | None = None
    metric: str | None = None
    ties: Ties = "first"
    decimals: int = 0
    title: str = ""
    rewards: tuple[RankRewards, ...] = ()

    @property
    def ranks(self) -> str:
        """The name of what the board ranks."""
        return self.currency or self.metric or ""


class Season(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A named span of time, from `start` until before `end`.

    Both are dates (their first moment in the program's zone) or instants with an offset. `settle` is how long events that
    come late are waited for. `reset` says what becomes of each user's balance of a currency.
    """

    start: str
    end: str
    title: str = ""
    boards: dict[str, SeasonBoard] = {}
    reset: dict[str, Literal["keep", "zero"]] = {}
    settle: Span | None = None


class LeagueTier(Definition, frozen=True, rename="camel", omit_defaults=True):
    """One tier; its own counts win over the league's. `rewards` are given for ranks in a cohort of this tier."""

    title: str = ""
    promote: int | None = None
    demote: int | None = None
    rewards: tuple[RankRewards, ...] = ()


class Cohorts(Definition, frozen=True, rename="camel", omit_defaults=True):
    """At most `size` users meet in a cohort: any of the project, or (`zone: user`) those of one time zone."""

    size: int = 30
    zone: Literal["project", "user"] = "project"


class League(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A weekly contest in tiers, of what users earn of a currency or of what a metric counts in the week."""

    tiers: tuple[LeagueTier, ...]  # the lowest first; they are numbered from 1
    currency: str | None = None
    metric: str | None = None
    decimals: int = 0
    title: str = ""
    ties: Ties = "first"
    cohorts: Cohorts = Cohorts()
    promote: int = 0
    demote: int = 0
    settle: Span | None = None

    @property
    def ranks(self) -> str:
        """The name of what the league ranks."""
        return self.currency or self.metric or ""


class LeagueStanding(msgspec.Struct, frozen=True, gc=False):
    """Where a week left a user: the tier of their next week, and how they got there."""

    tier: int
    week: str  # its key, such as 2026-W47
    rank: int
    outcome: str  # promoted | demoted | stayed
