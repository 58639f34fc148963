"""What the engine says of one event: a refusal, or effects, and the reasons for either."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from questline.model.guards import SightingChange, Trip
from questline.model.reasons import Reason
from questline.model.records import Notice, RecordChange
from questline.model.state import AchievementState, MetricState, StreakState
from questline.model.stocks import CodeMove, StockMove


class Account(StrEnum):
    USER = "user"
    DEBT = "debt"
    ISSUANCE = "issuance"
    BURN = "burn"
    ESCROW = "escrow"
    COMMISSION = "commission"


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """A movement of `amount` > 0 smallest units of `currency`; USER and DEBT are accounts of the event's user.

    What leaves DEBT the user owes; what reaches it pays that off.

    `rule` names the cause: `rule:NAME`, `level:TRACK:N`, `streak:NAME:N`, `achievement:NAME` (with `:TIER` when
    tiered), `command:spend`, `reward:NAME`, `store:NAME`, `debt`.
    """

    currency: str
    debit: str
    credit: str
    amount: int
    rule: str


class LevelChange(msgspec.Struct, frozen=True, gc=False):
    track: str
    before: int
    after: int


class MetricChange(msgspec.Struct, frozen=True, gc=False):
    """The metric's new state; `seen_value` is the 16-byte hash a `distinct` metric counted for the first time.

    `cause` names the event that was counted, `event:ID`, where that is not the one decided.
    """

    metric: str
    state: MetricState
    seen_value: bytes | None = None
    cause: str = ""


class StreakChange(msgspec.Struct, frozen=True, gc=False):
    """The streak's new state. `added_active` and `added_excused` are multirange texts to unite with the stored sets."""

    streak: str
    state: StreakState
    added_active: str
    added_excused: str
    length_before: int  # 0: the user had no such streak
    longest_before: int


class RuleUse(msgspec.Struct, frozen=True, gc=False):
    rule: str
    window_start: int
    uses: int  # the new total


class Unlock(msgspec.Struct, frozen=True, gc=False):
    achievement: str
    state: AchievementState
    tier_before: int  # 0: locked until now
    times_before: int


POINT = 1_000_000_000
"""A whole point in units of a rest."""


class BoardMode(StrEnum):
    ADD = "add"  # score + points
    MAX = "max"  # the larger of the two
    SET = "set"  # the points are the score


class BoardPoints(msgspec.Struct, frozen=True, gc=False):
    """One change of the user's score on one period of a board; `at` is the event's occurredAt.

    `rest` is what the event adds beyond `points`, in billionths of a point: 0 to 999,999,999.
    """

    board: str
    period: str
    mode: BoardMode
    points: int
    at: datetime
    rest: int = 0


class LeaguePoints(msgspec.Struct, frozen=True, gc=False):
    """One change of the user's score in one week of a league; it also seats those who have no seat yet.

    `zone` is whose Monday it is; `closes_at` is until when events of the week are taken. `size` and `top` (the highest
    tier) are the league's in the program that decided. `rest` is as in BoardPoints.
    """

    league: str
    week: int
    zone: str
    closes_at: datetime
    size: int
    top: int
    mode: BoardMode
    points: int
    at: datetime
    rest: int = 0


class ProfileChange(msgspec.Struct, frozen=True, gc=False):
    """The whole new profile after a `$profile_update`."""

    attributes: dict[str, Any]
    display_name: str | None
    timezone: str | None
    zone_history: tuple[tuple[datetime, str | None], ...]


class FollowUp(msgspec.Struct, frozen=True, gc=False):
    """A system event that a decision sends to a user, another one as a rule; once for ever under its key.

    `type` begins with `$`. `at` is when it happened; None: when it is stored. `user` is None for whoever earned the commission
    that was sent under this key; where nobody did, nothing is sent.
    """

    user: str | None
    type: str
    payload: dict[str, Any]
    key: str
    at: datetime | None = None


class Outcome(StrEnum):
    PROCESSED = "processed"
    REFUSED = "refused"
    HELD = "held"  # nothing is applied until the event is approved


class Decision(msgspec.Struct, frozen=True):
    """`reads` are the state values that conditions, multipliers and limits of fired or tried rules looked at."""

    event_id: UUID
    program_version: int
    outcome: Outcome
    reason: Reason
    message: str = ""
    fired: tuple[str, ...] = ()
    reads: dict[str, Any] = {}
    transfers: tuple[Transfer, ...] = ()
    levels: tuple[LevelChange, ...] = ()
    metrics: tuple[MetricChange, ...] = ()
    streaks: tuple[StreakChange, ...] = ()
    rule_uses: tuple[RuleUse, ...] = ()
    unlocks: tuple[Unlock, ...] = ()
    board_points: tuple[BoardPoints, ...] = ()
    profile: ProfileChange | None = None
    records: tuple[RecordChange, ...] = ()
    notices: tuple[Notice, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()
    league_points: tuple[LeaguePoints, ...] = ()
    trips: tuple[Trip, ...] = ()
    sightings: tuple[SightingChange, ...] = ()
    stocks: tuple[StockMove, ...] = ()
    codes: tuple[CodeMove, ...] = ()
