"""Records of a user's mechanics: every kind is loaded and put in the same way, by a pair of statements of its own."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from asyncpg import Connection

from questline.model.boosts import BoostState, Held
from questline.model.contests import LeagueStanding
from questline.model.guards import BlockState, GuardState, Mark, ReviewState, SuspicionState
from questline.model.items import ItemState, Lot
from questline.model.quests import QuestState, QuestStatus
from questline.model.records import CheckInState, Record, RecordKey, RecordKind
from questline.model.redemptions import FulfilmentState, FulfilmentStatus, Method
from questline.model.referrals import CodeOwner, CommissionState, ReferralState
from questline.model.rewards import AllowanceState, BadgeState, Given, GrantState, GrantStatus
from questline.model.state import UserState
from questline.model.streaks import StreakChoices
from questline.model.vitals import VitalState
from questline.model.windows import Bucket, ProgressState, WindowState
from questline.store import marks
from questline.store.round_trips import Reads, Writes
from questline.store.statements import statements

SQL = statements("records")


class _Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a quest's row keeps as JSON."""

    done: tuple[str, ...] = ()
    counts: dict[str, int] = {}
    since: dict[str, str] = {}


_decode_lots = msgspec.json.Decoder(tuple[Lot, ...]).decode
_decode_marks = msgspec.json.Decoder(tuple[Mark, ...]).decode
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
price_of = msgspec.json.Decoder(dict[str, int]).decode
given_of = msgspec.json.Decoder(tuple[Given, ...]).decode
_decode_progress = msgspec.json.Decoder(_Progress).decode
_encode = msgspec.json.encode
_decode_targets = msgspec.json.Decoder(tuple[tuple[int, int], ...]).decode
_decode_starts = msgspec.json.Decoder(tuple[tuple[datetime, int], ...]).decode
_decode_spans = msgspec.json.Decoder(tuple[Held, ...]).decode


def _boost_of(until: datetime, since: datetime | None, kept: str) -> BoostState:
    """Return a boost; where a worker of an older release moved its end alone, `since` is of a span that is over."""
    spans = _decode_spans(kept)
    if since is None or not spans or spans[-1] != (since, until):
        return BoostState(until, None, spans)
    return BoostState(until, since, spans[:-1])


def _spans_of(boost: BoostState) -> tuple[Held, ...]:
    return boost.earlier if boost.since is None else (*boost.earlier, (boost.since, boost.until))


_decode_buckets = msgspec.json.Decoder(tuple[Bucket, ...]).decode
_encode_exact = msgspec.json.Encoder(decimal_format="number").encode


class _Table(msgspec.Struct, frozen=True):
    """How one kind is stored: its statements, the state of a row's columns, and the columns of a state."""

    load: str
    put: str | None  # None: decisions read it and never change it
    read: Callable[..., Record]
    row: Callable[[Any], tuple[object, ...]]
    of_user: str | None = None  # all of one user's, for the profile
    lock: str | None = None  # taken for the projects before loading
    later: bool = False  # its put writes rows of other tables too, after whatever else was decided of them


def _referral(referrer: int, user: str, at: datetime, status: Any) -> ReferralState:
    return ReferralState(referrer, user, at, status)


def _no_row(_: Any) -> tuple[object, ...]:
    raise AssertionError("a record that is only read was changed")


def grant_of(
    reward: str, status: str, cause: str, at: datetime, expires_at: datetime | None, settled_at: datetime | None,
    holds: str, limited: bool, given: str,
) -> GrantState:  # fmt: skip
    """Return a grant of its row's columns."""
    return GrantState(
        reward,
        GrantStatus(status),
        cause,
        at,
        expires_at,
        settled_at,
        _decode_names(holds),
        limited,
        given_of(given),
    )


def fulfilment_of(
    item: str, method: Method, status: str, price: str, at: datetime, settled_at: datetime | None, note: str, holds: str,
    limited: bool,
) -> FulfilmentState:  # fmt: skip
    """Return a fulfilment of its row's columns."""
    return FulfilmentState(
        item,
        method,
        FulfilmentStatus(status),
        price_of(price),
        at,
        settled_at,
        note,
        _decode_names(holds),
        limited,
    )


def _fulfilment_row(one: FulfilmentState) -> tuple[object, ...]:
    price, holds = _encode(one.price).decode(), _encode(one.holds).decode()
    return one.item, one.method, one.status.value, price, one.at, one.settled_at, one.note, holds, one.limited


def _grant_row(grant: GrantState) -> tuple[object, ...]:
    holds, given = _encode(grant.holds).decode(), _encode(grant.given).decode()
    return (
        grant.reward, grant.status.value, grant.cause, grant.at, grant.expires_at, grant.settled_at, holds, grant.limited,
        given,
    )  # fmt: skip


def _quest(
    status: str,
    times: int,
    period: int,
    started_at: datetime,
    deadline: datetime | None,
    ended_at: datetime | None,
    progress: str,
) -> QuestState:
    found = _decode_progress(progress)
    return QuestState(
        QuestStatus(status), times, period, started_at, deadline, ended_at, found.done, found.counts, found.since
    )


def _quest_row(quest: QuestState) -> tuple[object, ...]:
    progress = _encode(_Progress(quest.done, quest.counts, quest.since)).decode()
    return quest.status.value, quest.times, quest.period, quest.started_at, quest.deadline, quest.ended_at, progress


_TABLES: dict[RecordKind, _Table] = {
    RecordKind.VITAL: _Table(
        "load_vitals", "put_vitals", VitalState, lambda vital: (vital.value, vital.at), "vitals_of_user"
    ),
    RecordKind.ITEM: _Table(
        "load_items",
        "put_items",
        lambda lots, used_at: ItemState(_decode_lots(lots), used_at),
        lambda item: (sum(lot.units for lot in item.lots), _encode(item.lots).decode(), item.used_at),
        "items_of_user",
    ),
    RecordKind.LEAGUE: _Table(
        "load_league_standings",
        "put_league_standings",
        LeagueStanding,
        lambda standing: (standing.tier, standing.week, standing.rank, standing.outcome),
    ),
    RecordKind.BOOST: _Table(
        "load_boosts",
        "put_boosts",
        _boost_of,
        lambda boost: (boost.until, boost.since, _encode(_spans_of(boost)).decode()),
        "boosts_of_user",
    ),
    RecordKind.TIER: _Table(
        "load_tiers",
        "put_tiers",
        marks.tier_of,
        lambda tier: (tier.step, tier.best, tier.earned, marks.of_tier(tier)),
        "tiers_of_user",
    ),
    RecordKind.WINDOW: _Table(
        "load_windows",
        "put_windows",
        lambda buckets: WindowState(_decode_buckets(buckets)),
        lambda window: (_encode_exact(window.buckets).decode(),),
        "windows_of_user",
    ),
    RecordKind.STREAK_CHOICES: _Table(
        "load_streak_choices",
        "put_streak_choices",
        lambda days, targets, starts: StreakChoices(days, _decode_targets(targets), _decode_starts(starts)),
        lambda chosen: (chosen.days, _encode(chosen.targets).decode(), _encode(chosen.day_starts).decode()),
        "streak_choices_of_user",
    ),
    RecordKind.PROGRESS: _Table(
        "load_progress",
        "put_progress",
        lambda value, at: ProgressState(int(value) if value == value.to_integral_value() else value, at),
        lambda progress: (progress.value, progress.at),
        "progress_of_user",
    ),
    RecordKind.REFERRAL_CODE: _Table(
        "load_referral_codes",
        None,
        lambda owner, user, ancestors: CodeOwner(owner, user, tuple(ancestors)),
        _no_row,
        lock="lock_referral_codes",
    ),
    RecordKind.REFERRAL: _Table(
        "load_referrals", "put_referrals", _referral, lambda found: (found.referrer, found.at, found.status)
    ),
    RecordKind.COMMISSION: _Table(
        "load_commissions",
        "put_commissions",
        CommissionState,
        lambda paid: (paid.amount, paid.plan, paid.reversed, paid.currency),
    ),
    RecordKind.CHECK_IN: _Table("load_check_ins", "put_check_ins", CheckInState, lambda day: (day.at,)),
    RecordKind.GUARD: _Table(
        "load_guard_marks",
        "put_guard_marks",
        lambda marks, value: GuardState(_decode_marks(marks), value),
        lambda guard: (_encode(guard.marks).decode(), guard.value),
    ),
    RecordKind.SUSPICION: _Table(
        "load_suspicions",
        "put_suspicions",
        SuspicionState,
        lambda suspicion: (suspicion.score, suspicion.at),
        "suspicion_of_user",
    ),
    RecordKind.BLOCK: _Table(
        "load_blocks",
        "put_blocks",
        BlockState,
        lambda block: (block.blocked, block.off_boards, block.reason, block.at),
        later=True,
    ),
    RecordKind.REVIEW: _Table(
        "load_reviews",
        "put_reviews",
        ReviewState,
        lambda review: (review.status, review.at, review.reason, review.decided_by),
        later=True,
    ),
    RecordKind.GRANT: _Table("load_grants", "put_grants", grant_of, _grant_row, "grants_of_user"),
    RecordKind.BADGE: _Table(
        "load_badges", "put_badges", BadgeState, lambda badge: (badge.at, badge.times), "badges_of_user"
    ),
    RecordKind.FULFILMENT: _Table("load_fulfilments", "put_fulfilments", fulfilment_of, _fulfilment_row),
    RecordKind.ALLOWANCE: _Table("load_allowances", "put_allowances", AllowanceState, lambda taken: (taken.units,)),
    RecordKind.QUEST: _Table("load_quests", "put_quests", _quest, _quest_row, "quests_of_user"),
}


async def load(
    conn: Connection,
    reads: Reads,
    wanted: Iterable[tuple[int, int, Iterable[RecordKey]]],
    users: Mapping[int, UserState],
) -> None:
    """Add what fills the states with the records that are there to the reads; `wanted` are (user id, project id, keys).

    Locks that reads of a kind need are taken now: what they read must be as it is once they hold them.
    """
    columns: dict[RecordKind, tuple[list[int], list[int], list[str]]] = {}
    for user_id, project_id, keys in wanted:
        for kind, name in keys:
            projects, user_ids, names = columns.setdefault(kind, ([], [], []))
            projects.append(project_id)
            user_ids.append(user_id)
            names.append(name)
    for kind, arrays in sorted(columns.items()):  # in one order always: each order would be a statement of its own
        table = _TABLES[kind]
        if table.lock is not None:
            await conn.execute(SQL[table.lock], arrays[0])
        reads.add(SQL[table.load], arrays, partial(_take, users, kind, table.read))


def _take(
    users: Mapping[int, UserState],
    kind: RecordKind,
    read: Callable[..., Record],
    user_id: int,
    name: str,
    *values: object,
) -> None:
    users[user_id].records[kind, name] = read(*values)


def put(writes: Writes, states: Mapping[tuple[RecordKind, int, int, str], Record]) -> None:
    """Add states to what is to be written, by (kind, project id, user id, name)."""
    rows: dict[RecordKind, list[tuple[object, ...]]] = {}
    for (kind, project_id, user_id, name), state in states.items():
        rows.setdefault(kind, []).append((project_id, user_id, name, *_TABLES[kind].row(state)))
    for kind, of_kind in sorted(rows.items()):
        statement = _TABLES[kind].put
        assert statement is not None
        add = writes.add_later if _TABLES[kind].later else writes.add
        add(SQL[statement], of_kind)


def of_user(reads: Reads, project_id: int, state: UserState) -> None:
    """Add the queries that fill a state with all records that a profile shows."""
    for kind, table in _TABLES.items():
        if table.of_user is not None:
            take = partial(_take, {state.id: state}, kind, table.read, state.id)
            reads.add(SQL[table.of_user], (project_id, state.id), take)
