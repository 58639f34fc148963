"""A user as their profile shows them: levels, streaks as of now, balances, achievements with progress."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import msgspec

from questline.control.leagues import LeagueView
from questline.control.quest_views import QuestView, quest_views
from questline.control.rewards import BadgeView, GrantView, badges_of, pending_of
from questline.control.seasons import SeasonView
from questline.engine import achievements, choices, streaks, vitals
from questline.engine.boosts import holds, holds_until
from questline.engine.compile import Program
from questline.engine.draft import Draft
from questline.engine.guards import score_at
from questline.model import calendar, periods
from questline.model.boosts import Boost, BoostState
from questline.model.event import Event
from questline.model.guards import SuspicionState
from questline.model.items import ItemState
from questline.model.records import SELF, RecordKind
from questline.model.state import UserState
from questline.model.tiers import Tiers, TierState
from questline.model.vitals import VitalState


class UserView(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    display_name: str | None
    attributes: dict[str, Any]
    timezone: str
    blocked: bool
    created_at: datetime


class LevelView(msgspec.Struct, frozen=True, rename="camel"):
    """`progress` runs from 0 to 1 between the XP of this level and of the next; both are null at the top."""

    track: str
    title: str
    xp: int
    level: int
    level_xp: int
    next_level_xp: int | None
    progress: float


class StreakView(msgspec.Struct, frozen=True, rename="camel"):
    """`current` is the length as of now: 0 once it is broken.

    `days_needed` are the active days that the current period needs, and `days_active` those it has. `protected_until` is the
    last date of a pause, or another time that cannot break the streak, which is under way.
    """

    streak: str
    title: str
    current: int
    longest: int
    freezes: int
    active_now: bool  # the current period has its activity already
    days_needed: int
    days_active: int
    protected_until: str | None


class BalanceView(msgspec.Struct, frozen=True, rename="camel"):
    currency: str
    title: str
    amount: int
    decimals: int
    debt: int  # owed since a clawback; what comes in pays it off first


class AchievementView(msgspec.Struct, frozen=True, rename="camel"):
    achievement: str
    title: str
    description: str
    type: str
    category: str
    points: int
    secret: bool
    unlocked: bool
    tier: int
    tiers: int
    times: int
    unlocked_at: datetime | None
    progress: float


class MetricView(msgspec.Struct, frozen=True, rename="camel"):
    metric: str
    value: float | int


class VitalView(msgspec.Struct, frozen=True, rename="camel"):
    """`value` is as of now: what regenerated since the last change is in it."""

    vital: str
    title: str
    value: int
    min: int
    max: int


class ItemView(msgspec.Struct, frozen=True, rename="camel"):
    """Units held now; `expires_at` is when the first of them go, `ready_at` when the next may be used (null: now)."""

    item: str
    title: str
    units: int
    expires_at: datetime | None
    ready_at: datetime | None


class TierView(msgspec.Struct, frozen=True, rename="camel"):
    """The step stood on, and the way to the next one (null at the top)."""

    tier: str
    title: str
    step: str
    next: str | None
    progress: float


class BoostView(msgspec.Struct, frozen=True, rename="camel"):
    """A boost that holds for the user now."""

    boost: str
    title: str
    by: float
    until: datetime | None
    personal: bool


class Profile(msgspec.Struct, frozen=True, rename="camel"):
    """Everything a user has, under the program in force. `suspicion` is the guards' score as of now."""

    user: UserView
    levels: list[LevelView]
    streaks: list[StreakView]
    balances: list[BalanceView]
    achievements: list[AchievementView]
    metrics: list[MetricView]
    badges: list[BadgeView]
    rewards: list[GrantView]  # those that wait to be claimed
    vitals: list[VitalView]
    items: list[ItemView]
    suspicion: int
    tiers: list[TierView]
    segments: list[str]
    boosts: list[BoostView]
    quests: list[QuestView]
    leagues: list[LeagueView]
    seasons: list[SeasonView]
    program_version: int


def profile_of(
    program: Program,
    state: UserState,
    created_at: datetime,
    now: datetime,
    leagues: Sequence[LeagueView] = (),
    seasons: Sequence[SeasonView] = (),
) -> Profile:
    """Return the profile of a whole state, as of `now`; `leagues` and `seasons` are shown as they are given."""
    # The engine's own view of a state, by an event that does nothing: what conditions see is what the profile shows.
    reader = Draft(program, state, Event(UUID(int=0), 0, "", state.user, {}, now))
    user = UserView(
        state.user,
        state.display_name,
        dict(state.attributes),
        state.timezone or program.timezone,
        state.blocked,
        created_at,
    )
    return Profile(
        user,
        [_level(program, name, state) for name in program.curves],
        [_streak(program, name, state, now, reader) for name in program.streaks],
        [
            BalanceView(name, currency.title, state.balances.get(name, 0), currency.decimals, state.debts.get(name, 0))
            for name, currency in program.currencies.items()
        ],
        _achievements(program, state, reader),
        [MetricView(name, _number(state.metrics[name].value)) for name in program.metrics if name in state.metrics],
        badges_of(program, state),
        pending_of(program, state, now),
        _vitals(program, state, now),
        inventory_of(program, state, now),
        _suspicion(program, state, now),
        [_tier(name, tiers, reader) for name, tiers in program.tiers.items()],
        [name for name in program.segments if reader.segment(name)],
        [_boost(name, boost, reader) for name, boost in program.document.boosts.items() if holds(reader, name, boost)],
        quest_views(program, state, reader, now, reader.zone),
        list(leagues),
        list(seasons),
        program.version,
    )


def _number(value: Any) -> float | int:
    return value if isinstance(value, int) else float(value)


def _suspicion(program: Program, state: UserState, now: datetime) -> int:
    found = cast(SuspicionState | None, state.records.get((RecordKind.SUSPICION, SELF)))
    return score_at(program.suspicion, found, now)[0]


def _vitals(program: Program, state: UserState, now: datetime) -> list[VitalView]:
    views = []
    for name, vital in program.vitals.items():
        found = cast(VitalState | None, state.records.get((RecordKind.VITAL, name)))
        views.append(VitalView(name, vital.title, vitals.value_at(vital, found, now)[0], vital.min, vital.max))
    return views


def inventory_of(program: Program, state: UserState, now: datetime) -> list[ItemView]:
    """Return what a user holds now, in the order of the catalogue."""
    views = []
    for name, item in program.items.items():
        found = cast(ItemState | None, state.records.get((RecordKind.ITEM, name)))
        units = found.units(now) if found is not None else 0
        if found is None or not units:
            continue
        ready_at = None
        if item.cooldown is not None and found.used_at is not None:
            ready_at = found.used_at + timedelta(seconds=item.cooldown.seconds)
        expiries = [lot.expires_at for lot in found.lots if lot.expires_at is not None and lot.expires_at > now]
        views.append(
            ItemView(
                name, item.title, units, min(expiries, default=None), ready_at if ready_at and ready_at > now else None
            )
        )
    return views


def _tier(name: str, tiers: Tiers, reader: Draft) -> TierView:
    state = cast(TierState | None, reader.record(RecordKind.TIER, name))
    step = reader.tier(name)
    place = [one.name for one in tiers.steps].index(step)
    amount = reader.balance(tiers.currency) if tiers.balance is not None else state.earned if state is not None else 0
    if place + 1 == len(tiers.steps):
        return TierView(name, tiers.title, step, None, 1.0)
    here, following = tiers.steps[place], tiers.steps[place + 1]
    progress = min(max((amount - here.at) / (following.at - here.at), 0.0), 1.0)
    return TierView(name, tiers.title, step, following.name, round(progress, 4))


def _boost(name: str, boost: Boost, reader: Draft) -> BoostView:
    state = cast(BoostState | None, reader.record(RecordKind.BOOST, name))
    own = holds_until(state, boost, reader.event.occurred_at) if state is not None and boost.lasts is not None else None
    ends = [end for end in (boost.until, own) if end is not None]
    return BoostView(name, boost.title, boost.by, min(ends, default=None), boost.lasts is not None)


def _level(program: Program, track: str, state: UserState) -> LevelView:
    curve, xp = program.curves[track], state.balances.get(track, 0)
    level = max(state.levels.get(track, 0), curve.level_of(xp))
    begin, following = curve.xp_for(level) or 0, curve.xp_for(level + 1)
    progress = 1.0 if following is None else min(max((xp - begin) / (following - begin), 0.0), 1.0)
    return LevelView(track, program.currencies[track].title, xp, level, begin, following, round(progress, 4))


def _streak(program: Program, name: str, state: UserState, now: datetime, reader: Draft) -> StreakView:
    definition, found = program.streaks[name], state.streaks.get(name)
    chosen = choices.choices_of(reader, name)
    hours = choices.day_start_hours(definition, chosen, now)
    period = calendar.period_number(definition.every, now, reader.zone, hours)
    needed = choices.target(definition, chosen, period)
    active_now = found is not None and found.last_period >= period
    active = choices.active_days(definition, chosen, period) if definition.counts_days else int(active_now)
    if found is None:
        return StreakView(name, definition.title, 0, 0, 0, False, needed, active, None)
    current, freezes = streaks.as_of(definition, found, period)
    end = next((high for low, high in periods.parse(found.excused) if low <= period < high), None)
    until = None if end is None else calendar.date_text(calendar.first_day(definition.every, end) - 1)
    return StreakView(name, definition.title, current, found.longest, freezes, active_now, needed, active, until)


def _achievements(program: Program, state: UserState, reader: Draft) -> list[AchievementView]:
    views = []
    for name, a in program.achievements.items():
        found = state.achievements.get(name)
        if found is None and achievements.is_hidden(a):
            continue
        views.append(
            AchievementView(
                name,
                a.title,
                a.description,
                a.type,
                a.category,
                a.points,
                a.secret,
                found is not None,
                achievements.tier_of(a, found),
                len(a.tiers) or 1,
                found.times if found is not None else 0,
                found.unlocked_at if found is not None else None,
                round(achievements.progress(a, reader, found), 4),
            )
        )
    return views
