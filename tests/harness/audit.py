"""The books after a run, held against a plain count of what was acknowledged."""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

import asyncpg
import msgspec

from questline.control.board_rebuild import compare
from questline.engine.compile import compile_program
from questline.store.projects import find
from tests.naive.open_source import longest_run

from .drain import Drain
from .load import PROGRAM, Book
from .order import disorders

STUCK_SECONDS = 10.0
STUCK_WITH_CARRIERS_SECONDS = (
    45.0  # who was cut off from a broker tries again for some seconds, on a busy machine for more
)

# What waits elsewhere than in PostgreSQL, asked on a connection of the owner's.
Elsewhere = Callable[[asyncpg.Connection], Awaitable[int]]
_SHOWN = 5

_WAITING = "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM retries)"
_STATES = "SELECT relay_state, count(*), (now() - max(relay_at))::text FROM outbox GROUP BY 1"
_STANDINGS = """
    SELECT u.external_id AS user,
        coalesce((SELECT amount FROM balances b WHERE (b.project_id, b.user_id, b.currency) = (u.project_id, u.id, 'XP')), 0) AS "XP",
        coalesce((SELECT amount FROM balances b WHERE (b.project_id, b.user_id, b.currency) = (u.project_id, u.id, 'coins')), 0) AS coins,
        coalesce((SELECT value::bigint FROM metrics m WHERE (m.project_id, m.user_id, m.metric) = (u.project_id, u.id, 'tasks')), 0) AS tasks,
        coalesce((SELECT value::bigint FROM metrics m WHERE (m.project_id, m.user_id, m.metric) = (u.project_id, u.id, 'minutes')), 0) AS minutes,
        coalesce((SELECT length FROM streaks s WHERE (s.project_id, s.user_id, s.streak) = (u.project_id, u.id, 'daily')), 0) AS length,
        coalesce((SELECT longest FROM streaks s WHERE (s.project_id, s.user_id, s.streak) = (u.project_id, u.id, 'daily')), 0) AS longest
    FROM users u JOIN projects p ON p.id = u.project_id WHERE p.app_id = $1"""
UNEQUAL = """
    SELECT project_id, user_id, currency, b.amount, t.total FROM balances b FULL JOIN (
        SELECT project_id, user_id, currency, sum(CASE WHEN credit = 'user' THEN amount ELSE -amount END) AS total
        FROM transfers GROUP BY 1, 2, 3) t USING (project_id, user_id, currency)
    WHERE b.amount IS DISTINCT FROM t.total"""
_APPLIED = """
    SELECT e.external_id, count(DISTINCT e.id) AS stored, count(d.event_id) AS decided,
        count(*) FILTER (WHERE d.status = 'processed') AS processed
    FROM events e JOIN projects p ON p.id = e.project_id
    LEFT JOIN decisions d ON d.project_id = e.project_id AND d.event_id = e.id
    WHERE e.type = 'task' AND p.app_id = $1 GROUP BY 1"""


class Audit(msgspec.Struct):
    """What was found. `findings` are sentences; none: every promise was kept."""

    events: int = 0
    lost: int = 0
    twice: int = 0
    invented: int = 0
    stuck: int = 0
    disordered: int = 0
    findings: list[str] = []


async def nowhere(_: asyncpg.Connection) -> int:
    """What waits beside PostgreSQL where nothing can."""
    return 0


async def audit(
    conn: asyncpg.Connection, book: Book, app: str, elsewhere: Elsewhere = nowhere, stuck_seconds: float = STUCK_SECONDS
) -> Audit:
    """Wait until nothing waits, or for as long as that should take, and look everything over."""
    found = Audit(events=len(book.acknowledged), findings=[f"an answer was wrong: {f}" for f in book.faults[:_SHOWN]])
    drain = Drain(stuck_seconds, time.monotonic())
    found.stuck = await _stuck(conn, elsewhere, drain)
    if found.stuck:
        states = [tuple(row) for row in await conn.fetch(_STATES)]
        found.findings.append(
            f"{found.stuck} rows are stuck: for {stuck_seconds:.0f} s nothing moved, or not all was done after"
            f" {drain.seconds_max:.0f} s; (relay state, rows, since) {states}"
        )
    _compare_events(found, book, {r["external_id"]: r for r in await conn.fetch(_APPLIED, app)})
    disordered = await disorders(conn, book)
    found.disordered = len(disordered)
    if disordered:
        found.findings.append(
            f"{len(disordered)} events were applied before an earlier one of their user: {disordered[:_SHOWN]}"
        )
    if rejected := await conn.fetch("SELECT record_offset, message FROM kafka_rejects"):
        found.findings.append(
            f"{len(rejected)} records were rejected, though every event was good: {rejected[:_SHOWN]}"
        )
    if dead := await conn.fetchval("SELECT count(*) FROM dead_letters"):
        found.findings.append(f"{dead} dead letters, though every event was good")
    if unequal := await conn.fetch(UNEQUAL):
        found.findings.append(f"{len(unequal)} balances are not the sums of their transfers: {unequal[:_SHOWN]}")
    stands = {r["user"]: {n: v for n, v in r.items() if n != "user"} for r in await conn.fetch(_STANDINGS, app)}
    wrong = [(user, stands.get(user), due) for user, due in counted(book).items() if stands.get(user) != due]
    if wrong:
        found.findings.append(
            f"{len(wrong)} users do not stand where a count says: (user, stands, due) {wrong[:_SHOWN]}"
        )
    row = await find(conn, app)
    assert row is not None
    if boards := await compare(conn, row.project, compile_program(PROGRAM, 1)):
        found.findings.append(f"{len(boards)} board entries are not what a rebuild gives: {boards[:_SHOWN]}")
    return found


def counted(book: Book) -> dict[str, dict[str, int]]:
    """Count what was acknowledged: where each user should stand."""
    by_user: dict[str, list[dict[str, Any]]] = defaultdict(list)
    spent: Counter[str] = Counter()
    for event in book.acknowledged.values():
        by_user[event["userId"]].append(event)
    for user, amount in book.spends.values():
        spent[user] += amount
    due = {}
    for user in by_user.keys() | spent.keys():
        events = by_user[user]
        days = {date.fromisoformat(event["occurredAt"][:10]).toordinal() for event in events}
        due[user] = {
            "XP": 10 * len(events) + 7 * (len(events) >= 10),
            "coins": 3 * len(events) - spent[user],
            "tasks": len(events),
            "minutes": sum(event["payload"]["minutes"] for event in events),
            "length": _last_run(days),
            "longest": longest_run(days),
        }
    spenders_without_events = {user for user, _ in book.spends.values()} - by_user.keys()
    assert all(math.isclose(spent[user], 0) for user in spenders_without_events), "somebody spent what was never earned"
    return due


def _compare_events(found: Audit, book: Book, applied: dict[str, Any]) -> None:
    lost = [id_ for id_ in book.acknowledged if id_ not in applied or not applied[id_]["processed"]]
    twice = [id_ for id_, row in applied.items() if row["stored"] > 1 or row["decided"] > 1]
    invented = [id_ for id_ in applied if id_ not in book.sent]
    found.lost, found.twice, found.invented = len(lost), len(twice), len(invented)
    for ids, what in ((lost, "lost"), (twice, "applied twice"), (invented, "invented")):
        if ids:
            found.findings.append(f"{len(ids)} events are {what}: {sorted(ids)[:_SHOWN]}")


def _last_run(days: set[int]) -> int:
    run, day = 0, max(days, default=0)
    while day in days:
        run, day = run + 1, day - 1
    return run


async def _stuck(conn: asyncpg.Connection, elsewhere: Elsewhere, drain: Drain) -> int:
    """Return 0 as soon as nothing waits, or how many rows and records wait when that has lasted too long."""
    while waiting := await elsewhere(conn) + int(await conn.fetchval(_WAITING)):
        if drain.is_stuck(waiting, time.monotonic()):
            return waiting
        await asyncio.sleep(0.05)
    return 0
