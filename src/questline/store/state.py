"""Set-based loads of users' state: one statement for a whole batch, with a part for each table."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import repeat
from typing import Any, TypeVar

import msgspec
from asyncpg import Connection

from questline.model.footprint import Footprint
from questline.model.records import RecordKey
from questline.model.state import MetricState, StreakState, UserState
from questline.store import marks, records
from questline.store.round_trips import Reads
from questline.store.statements import statements

SQL = statements("state")

T = TypeVar("T")


class Wanted(msgspec.Struct):
    """What one user's events of a batch may touch."""

    project_id: int
    currencies: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()
    streaks: frozenset[str] = frozenset()
    achievements: frozenset[str] = frozenset()
    rule_windows: Iterable[tuple[str, int]] = ()
    distinct_keys: Iterable[tuple[str, bytes]] = ()
    records: frozenset[RecordKey] = frozenset()
    stocks: frozenset[str] = frozenset()


def wanted_of(project_id: int, footprint: Footprint) -> Wanted:
    """Return what an event of a footprint may touch, whatever the event itself names."""
    return Wanted(
        project_id,
        footprint.currencies,
        footprint.metrics,
        footprint.streaks,
        footprint.achievements,
        records=footprint.records,
        stocks=footprint.stocks,
    )


async def load(conn: Connection, wanted: Mapping[int, Wanted], users: Mapping[int, UserState]) -> None:
    """Fill the locked users' states, by user id, with the rows that are wanted; what has no row stays absent."""
    reads, into = Reads(), _Into(users)
    if keys := _keys((id_, w.project_id, w.currencies) for id_, w in wanted.items()):
        reads.add(SQL["balances"], keys, into.balance)
    if keys := _keys((id_, w.project_id, w.metrics) for id_, w in wanted.items()):
        reads.add(SQL["metrics"], keys, into.metric)
    if keys := _keys((id_, w.project_id, w.streaks) for id_, w in wanted.items()):
        reads.add(SQL["streaks"], keys, into.streak)
    if keys := _keys((id_, w.project_id, w.achievements) for id_, w in wanted.items()):
        reads.add(SQL["achievements"], keys, into.achievement)
    if pairs := _pair_keys((id_, w.project_id, w.rule_windows) for id_, w in wanted.items()):
        reads.add(SQL["rule_uses"], pairs, into.rule_use)
    if hashes := _pair_keys((id_, w.project_id, w.distinct_keys) for id_, w in wanted.items()):
        reads.add(SQL["metric_values"], hashes, into.metric_value)
    if any(w.records for w in wanted.values()):
        await records.load(conn, reads, ((id_, w.project_id, w.records) for id_, w in wanted.items()), users)
    await reads.send(conn)


class _Into:
    """Puts rows into the states of their users."""

    def __init__(self, users: Mapping[int, UserState]) -> None:
        self._users = users

    def balance(self, user_id: int, currency: str, amount: int, level: int, debt: int) -> None:
        user = self._users[user_id]
        user.balances[currency] = amount
        user.levels[currency] = level
        if debt:
            user.debts[currency] = debt

    def metric(self, user_id: int, metric: str, value: Decimal, last_at: datetime) -> None:
        number = int(value) if value == value.to_integral_value() else value
        self._users[user_id].metrics[metric] = MetricState(number, last_at)

    def streak(self, user_id: int, streak: str, *columns: Any) -> None:
        self._users[user_id].streaks[streak] = StreakState(*columns)

    def achievement(self, user_id: int, achievement: str, *columns: Any) -> None:
        self._users[user_id].achievements[achievement] = marks.achievement_of(*columns)

    def rule_use(self, user_id: int, rule: str, window_start: int, uses: int) -> None:
        self._users[user_id].rule_uses[rule, window_start] = uses

    def metric_value(self, user_id: int, metric: str, value_hash: bytes) -> None:
        self._users[user_id].seen_values.add((metric, value_hash))


Keys = tuple[list[int], list[int], list[str]]


def _keys(rows: Iterable[tuple[int, int, frozenset[str]]]) -> Keys | None:
    user_ids: list[int] = []
    project_ids: list[int] = []
    names: list[str] = []
    for user_id, project_id, wanted in rows:
        if wanted:
            user_ids.extend(repeat(user_id, len(wanted)))
            project_ids.extend(repeat(project_id, len(wanted)))
            names.extend(wanted)
    return (project_ids, user_ids, names) if names else None


def _pair_keys(
    rows: Iterable[tuple[int, int, Iterable[tuple[str, T]]]],
) -> tuple[list[int], list[int], list[str], list[T]] | None:
    user_ids: list[int] = []
    project_ids: list[int] = []
    names: list[str] = []
    values: list[T] = []
    for user_id, project_id, pairs in rows:
        for name, value in pairs:
            user_ids.append(user_id)
            project_ids.append(project_id)
            names.append(name)
            values.append(value)
    return (project_ids, user_ids, names, values) if names else None
