"""The daily loop: check-ins, buys and uses of distinct users from 32 connections, each answered when it is applied."""

import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from bench.frame import Bench, Figure
from bench.program import PROGRAM
from bench.state import settle, use_program
from bench.traffic import all_answered
from bench.wrk import Load, wrk

CONNECTIONS = 32
_SCRIPT = """
local users = {%s}
local at = 0
local head = {["Content-Type"] = "application/json", ["X-API-Key"] = "%s"}
request = function()
  at = at %% #users + 1
  local body = '{"userId":"user-' .. users[at] .. '","idempotencyKey":"%s-' .. at .. '"}'
  return wrk.format("POST", "%s", head, body)
end
"""
_LOOP: dict[str, Any] = {
    "vitals": {"energy": {"start": 50, "atTop": {"then": 0}}, "fatigue": {}},
    "inventory": {"cap": 20},
    "items": {
        "coffee": {"price": {"coins": 1}, "use": [{"vital": "energy", "value": 15}, {"vital": "fatigue", "value": 2}]},
        "rest": {"price": {"coins": 1}, "use": [{"vital": "fatigue", "value": -15}]},
        "focus": {"price": {"coins": 2}, "use": [{"currency": "coins", "value": 1}, {"vital": "energy", "value": 5}]},
    },
    "rules": {
        **PROGRAM["rules"],
        "check-in": {
            "on": "check_in", "award": {"coins": 5, "xp": 10},
            "rewards": [{"vital": "energy", "value": 20}, {"vital": "fatigue", "value": 10}],
        },
    },
    "streaks": {**PROGRAM["streaks"], "check-ins": {"on": "check_in", "milestones": {"7": {"award": {"coins": 25}}}}},
}  # fmt: skip


async def run(bench: Bench) -> Sequence[Figure]:
    """Measure each command on users who can do it; the state is put back before each run."""
    conn = await asyncpg.connect(bench.state.owner_dsn)
    await use_program(conn, PROGRAM | _LOOP)
    figures = []
    async with bench.processes.api(), bench.processes.workers():
        for what, path in (
            ("check-in", "/v1/check-in"),
            ("buy", "/v1/items/coffee/buy"),
            ("use", "/v1/items/coffee/use"),
        ):
            loads = []
            await settle(conn)
            for _ in range(bench.repeats + 1):
                users = await _ready(conn, bench.state.size.users)
                loads.append(await _load(bench, users, path, bench.seconds))
            figures += _figures(what, loads[1:])
    await use_program(conn, PROGRAM)
    await conn.close()
    return figures


def _figures(what: str, loads: list[Load]) -> list[Figure]:
    name = f"{what} on distinct users, {CONNECTIONS} connections"
    return [
        Figure("daily", name, "commands/s", [load.per_second for load in loads], reach=1_500),
        Figure("daily", f"{name}, p99", "ms", [load.p99_ms for load in loads], reach=60, more_is_better=False),
        Figure(
            "daily", f"{name}, answered other than 2xx", "", [float(load.refused) for load in loads], reach=0,
            more_is_better=False,
        ),
    ]  # fmt: skip


async def _ready(conn: Any, users: int) -> list[int]:
    """Let every user of project 1 who has money check in again today, buy, and use: they hold ten of the item.

    Returns their numbers, which are their ids: those after the first `users` have others.
    """
    await all_answered(conn)
    await conn.execute("DELETE FROM check_ins")
    await conn.execute(
        """INSERT INTO items (project_id, user_id, item, units, lots)
        SELECT project_id, user_id, 'coffee', 10, '[[10,null]]' FROM balances
        WHERE project_id = 1 AND currency = 'coins' AND amount >= 20
        ON CONFLICT ON CONSTRAINT items_pk DO UPDATE SET units = 10, lots = '[[10,null]]'"""
    )
    await conn.execute("VACUUM (ANALYZE) check_ins, items")
    rows = await conn.fetch(
        """SELECT user_id FROM balances
        WHERE project_id = 1 AND currency = 'coins' AND amount >= 20 AND user_id <= $1 ORDER BY random()""",
        users,
    )
    return [row[0] for row in rows]


async def _load(bench: Bench, users: list[int], path: str, seconds: float) -> Load:
    script = _SCRIPT % (",".join(map(str, users)), bench.state.key(1), time.time_ns(), path)
    return await wrk(bench.processes.url, script, connections=CONNECTIONS, seconds=seconds)
