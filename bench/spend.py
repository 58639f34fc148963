"""Commands: spends of different users from 64 connections, each answered when it is applied."""

import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg

from bench.frame import Bench, Figure
from bench.state import settle
from bench.traffic import project_of
from bench.wrk import Load, wrk
from questline.model.event import SPEND, AcceptedEvent
from questline.model.hashing import content_hash, user_hash
from questline.model.limits import DRAIN_BYTES_MAX
from questline.store import boards, commands, outbox, users
from questline.store.ids import EventIds
from questline.store.pool import connect
from questline.store.statements import statements

CONNECTIONS = 64
_SCRIPT = """
local users = {%s}
local at = 0
local head = {["Content-Type"] = "application/json", ["X-API-Key"] = "%s"}
request = function()
  at = at %% #users + 1
  local body = '{"userId":"user-' .. users[at] .. '","currency":"coins","amount":1,"idempotencyKey":"%s-' .. at .. '-'
    .. math.random(1000000000) .. '"}'
  return wrk.format("POST", "/v1/currency/spend", head, body)
end
"""


async def run(bench: Bench) -> Sequence[Figure]:
    """Spend one coin of each of very many users; then do the statements of the same commands bare."""
    conn = await asyncpg.connect(bench.state.owner_dsn)
    rates, slowest, refused = [], [], []
    async with bench.processes.api(), bench.processes.workers():
        await settle(conn)
        for number in range(bench.repeats + 1):
            load = await _load(bench, await _rich(conn, bench.state.size.users), bench.seconds)
            if number:
                rates.append(load.per_second)
                slowest.append(load.p99_ms)
                refused.append(float(load.refused))
    bare = [await _bare(bench, await _rich(conn, bench.state.size.users)) for _ in range(bench.repeats)]
    await conn.close()
    return [
        Figure(
            name="spend",
            what="spend on distinct users, 64 connections",
            unit="commands/s",
            runs=rates,
            reach=2_000,
            floor_what=f"the same statements bare, {CONNECTIONS} commands a transaction, one connection",
            floor_runs=bare,
        ),
        Figure("spend", "spend, time to the answer, p99", "ms", slowest, reach=50, more_is_better=False),
        Figure("spend", "spends refused or failed that had the money", "", refused, reach=0, more_is_better=False),
    ]


async def _load(bench: Bench, rich: list[int], seconds: float) -> Load:
    script = _SCRIPT % (",".join(map(str, rich)), bench.state.key(1), time.time_ns())
    return await wrk(bench.processes.url, script, connections=CONNECTIONS, seconds=seconds)


async def _rich(conn: Any, users: int) -> list[int]:
    """Numbers of users of project 1 who can pay, shuffled; those after the first `users` have other numbers than ids."""
    rows = await conn.fetch(
        """SELECT user_id FROM balances
        WHERE project_id = 1 AND currency = 'coins' AND amount >= 20 AND user_id <= $1 ORDER BY random()""",
        users,
    )
    return [row[0] for row in rows]


async def _bare(bench: Bench, rich: list[int]) -> float:
    """Return commands a second of the statements alone: keys, events, locks, balances, the writes, the commit."""
    sql, states = statements("effects"), statements("state")
    ids = EventIds()
    conn = await connect(bench.state.app_dsn)
    await boards.claim_shard(conn)
    groups = [rich[start : start + CONNECTIONS] for start in range(0, len(rich) - CONNECTIONS, CONNECTIONS)]
    done = 0
    started = time.perf_counter()
    for group in groups:
        now = datetime.now(UTC)
        events = [_spend(ids, number, now) for number in group]
        id_column, projects = [e.id for e in events], [e.project_id for e in events]
        async with conn.transaction():
            await commands.accept(conn, events)
            locked = await users.lock(conn, {(e.project_id, e.user): None for e in events})
            of_events = [locked[e.project_id, e.user].id for e in events]
            count = len(events)
            await outbox.drain(conn, {(e.project_id, e.user): e.user_hash for e in events}, 100, DRAIN_BYTES_MAX)
            await conn.fetch(states["balances"], projects, of_events, ["coins"] * count)
            await conn.execute(
                sql["add_attempts"], projects, id_column, [1] * count, ["processed"] * count, ["PROCESSED"] * count,
                [None] * count, [100] * count, [now] * count,
            )  # fmt: skip
            await conn.execute(
                sql["add_decisions"], projects, id_column, of_events, ["processed"] * count, ["PROCESSED"] * count,
                [1] * count, ['{"balances":{"coins":20}}'] * count,
            )  # fmt: skip
            await conn.execute(
                sql["add_transfers"], projects, id_column, [0] * count, of_events, ["coins"] * count,
                ["user"] * count, ["burn"] * count, [1] * count, ["command:spend"] * count, [1] * count, [now] * count,
            )  # fmt: skip
            await conn.execute(
                sql["move_balances"], projects, of_events, ["coins"] * count, [-1] * count, [-1] * count, [0] * count
            )
        done += count
        if time.perf_counter() - started > bench.seconds:
            break
    await conn.close()
    return done / (time.perf_counter() - started)


def _spend(ids: EventIds, number: int, now: datetime) -> AcceptedEvent:
    project, user = project_of(number), f"user-{number}"
    payload = json.dumps({"currency": "coins", "amount": 1})
    return AcceptedEvent(
        id=ids.new(),
        project_id=project,
        type=SPEND,
        user=user,
        payload=payload,
        occurred_at=now,
        received_at=now,
        key_hash=random.randbytes(16),
        content_hash=content_hash(payload.encode()),
        user_hash=user_hash(project, user),
        idempotency_key="",
    )
