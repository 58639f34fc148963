"""Set-based loads of users' state: one statement a table for a whole batch."""

from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import TypeVar

import msgspec
from asyncpg import Connection

from questline.model.footprint import Footprint
from questline.model.records import RecordKey
from questline.model.state import AchievementState, MetricState, StreakState, UserState
from questline.store import records
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
    if keys := _keys((id_, w.project_id, w.currencies) for id_, w in wanted.items()):
        for user_id, currency, amount, level, debt in await conn.fetch(SQL["balances"], *keys):
            user = users[user_id]
            user.balances[currency] = amount
            user.levels[currency] = level
            if debt:
                user.debts[currency] = debt
    if keys := _keys((id_, w.project_id, w.metrics) for id_, w in wanted.items()):
        for user_id, metric, value, last_at in await conn.fetch(SQL["metrics"], *keys):
            number = int(value) if value == value.to_integral_value() else value
            users[user_id].metrics[metric] = MetricState(number, last_at)
    if keys := _keys((id_, w.project_id, w.streaks) for id_, w in wanted.items()):
        for user_id, streak, *columns in await conn.fetch(SQL["streaks"], *keys):
            users[user_id].streaks[streak] = StreakState(*columns)
    if keys := _keys((id_, w.project_id, w.achievements) for id_, w in wanted.items()):
        for user_id, achievement, *columns in await conn.fetch(SQL["achievements"], *keys):
            users[user_id].achievements[achievement] = AchievementState(*columns)
    if pairs := _pair_keys((id_, w.project_id, w.rule_windows) for id_, w in wanted.items()):
        for user_id, rule, window_start, uses in await conn.fetch(SQL["rule_uses"], *pairs):
            users[user_id].rule_uses[rule, window_start] = uses
    if any(w.records for w in wanted.values()):
        await records.load(conn, ((id_, w.project_id, w.records) for id_, w in wanted.items()), users)
    if hashes := _pair_keys((id_, w.project_id, w.distinct_keys) for id_, w in wanted.items()):
        for user_id, metric, value_hash in await conn.fetch(SQL["metric_values"], *hashes):
            users[user_id].seen_values.add((metric, value_hash))


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
