"""A user's state of every mechanic that keeps one small record a name: loaded, changed and stored in one way for all."""

from datetime import datetime
from enum import StrEnum

import msgspec

from questline.model.boosts import BoostState
from questline.model.contests import LeagueStanding
from questline.model.guards import BlockState, GuardState, ReviewState, SuspicionState
from questline.model.items import ItemState
from questline.model.quests import QuestState
from questline.model.redemptions import FulfilmentState
from questline.model.referrals import CodeOwner, CommissionState, ReferralState
from questline.model.rewards import AllowanceState, BadgeState, GrantState
from questline.model.streaks import StreakChoices
from questline.model.tiers import TierState
from questline.model.vitals import VitalState
from questline.model.windows import ProgressState, WindowState


class RecordKind(StrEnum):
    VITAL = "vital"
    ITEM = "item"
    CHECK_IN = "check_in"
    BOOST = "boost"
    TIER = "tier"
    WINDOW = "window"
    PROGRESS = "progress"
    REFERRAL_CODE = "referral_code"  # read only: whose a code is
    REFERRAL = "referral"
    COMMISSION = "commission"
    LEAGUE = "league"
    GUARD = "guard"
    SUSPICION = "suspicion"
    BLOCK = "block"
    REVIEW = "review"
    STREAK_CHOICES = "streak_choices"
    GRANT = "grant"
    BADGE = "badge"
    ALLOWANCE = "allowance"
    QUEST = "quest"
    FULFILMENT = "fulfilment"


UNTOLD = frozenset({RecordKind.WINDOW, RecordKind.GUARD, RecordKind.STREAK_CHOICES})
"""Kinds that traces, histories and outcomes leave out: what they hold follows from what these tell already."""

KEPT_UNAPPLIED = frozenset({RecordKind.SUSPICION, RecordKind.BLOCK})
"""Kinds that change also where an event is not applied: an attempt to cheat leaves its mark on the user."""


class CheckInState(msgspec.Struct, frozen=True, gc=False):
    """That the user checked in on a calendar day; the record's name is the day's number."""

    at: datetime


Record = (
    VitalState
    | ItemState
    | CheckInState
    | BoostState
    | TierState
    | WindowState
    | ProgressState
    | CodeOwner
    | ReferralState
    | CommissionState
    | LeagueStanding
    | GuardState
    | SuspicionState
    | BlockState
    | ReviewState
    | StreakChoices
    | GrantState
    | BadgeState
    | AllowanceState
    | QuestState
    | FulfilmentState
)
RecordKey = tuple[RecordKind, str]  # kind, name

SELF = "user"
"""The name of records that a user has one of."""


class RecordChange(msgspec.Struct, frozen=True, gc=False):
    """The new state of a record, the one before (None: there was none), and what changed it."""

    kind: RecordKind
    name: str
    state: Record
    before: Record | None
    cause: str


class Notice(msgspec.Struct, frozen=True, gc=False):
    """A domain fact for every outward channel, such as `level.up` {track, before, after}."""

    type: str
    data: dict[str, object]
