"""What the engine may read of a user: values only, loaded by the store, never written in place by the engine."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from questline.model.guards import Sighting, SightingKey
from questline.model.records import Record, RecordKey
from questline.model.stocks import StockState

Number = int | Decimal


class MetricState(msgspec.Struct, frozen=True, gc=False):
    value: Number
    last_at: datetime | None = None  # of a `last` metric


class StreakState(msgspec.Struct, frozen=True, gc=False):
    """`active` and `excused` are PostgreSQL multirange texts of period numbers, such as `{[1,4),[6,7)}`.

    They are texts because most events only touch the end of a streak and never need the set; engine/streaks.py parses
    them when an event is late. `added` texts of a changed state hold the periods to unite with the stored set.
    """

    active: str
    excused: str
    run_start: int
    last_period: int
    length: int
    longest: int
    freeze_credit: int


class AchievementState(msgspec.Struct, frozen=True, gc=False):
    """The latest unlock. `threshold` is that of `tier`, by which a program with other tiers finds it; None where it has none,
    and where an older release wrote the state.
    """

    tier: int
    times: int
    event_id: UUID
    unlocked_at: datetime
    threshold: float | int | None = None


class UserState(msgspec.Struct):
    """A user as loaded for a batch. The shell alone replaces entries, with the values of an accepted decision.

    `zone_history` holds (until, zone) pairs, oldest first: the zones in force before `timezone`.
    `lineage` is one for all users of a batch: whom the batch attributed so far, to (referrer, those above).
    `debts` are what is owed after a clawback; `stocks` is one object for all users of a project in a batch.
    `rule_uses` is keyed by (rule, window_start); `seen_values` by (metric, 16-byte hash): those already counted.
    `sightings` is one object for all users of a project in a batch: what guards saw of the values they share.
    `parked`: an event of theirs is tried again later, and the others wait for it.
    """

    id: int
    user: str
    attributes: Mapping[str, Any] = {}
    display_name: str | None = None
    timezone: str | None = None
    zone_history: tuple[tuple[datetime, str | None], ...] = ()
    blocked: bool = False
    parked: bool = False
    balances: dict[str, int] = {}
    levels: dict[str, int] = {}
    debts: dict[str, int] = {}
    metrics: dict[str, MetricState] = {}
    streaks: dict[str, StreakState] = {}
    rule_uses: dict[tuple[str, int], int] = {}
    seen_values: set[tuple[str, bytes]] = set()
    achievements: dict[str, AchievementState] = {}
    records: dict[RecordKey, Record] = {}
    lineage: dict[int, tuple[int, ...]] = {}
    sightings: dict[SightingKey, Sighting] = {}
    stocks: dict[str, StockState] = {}
