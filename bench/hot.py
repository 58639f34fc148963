"""One hot user: all events of 64 connections are theirs, so they are applied one after the other."""

import time
from collections.abc import Sequence

import asyncpg

from bench.frame import Bench, Figure
from bench.program import EVENT_TYPE
from bench.traffic import all_applied
from bench.wrk import wrk

_SCRIPT = """
local at = 0
local head = {["Content-Type"] = "application/json", ["X-API-Key"] = "%s"}
request = function()
  at = at + 1
  local body = '{"type":"%s","userId":"%s","payload":{"difficulty":"easy","minutes":1},"eventId":"%s-' .. at .. '"}'
  return wrk.format("POST", "/v1/events", head, body)
end
"""


async def run(bench: Bench) -> Sequence[Figure]:
    """Send as fast as it goes, wait until all is applied, and count what the user has."""
    conn = await asyncpg.connect(bench.state.owner_dsn)
    rates, lost = [], []
    async with bench.processes.api(), bench.processes.workers():
        for number in range(bench.repeats):
            user = f"hot-{time.time_ns()}-{number}"
            script = _SCRIPT % (bench.state.key(1), EVENT_TYPE, user, user)
            started = time.perf_counter()
            load = await wrk(bench.processes.url, script, connections=64, seconds=bench.seconds)
            await all_applied(conn)
            spent = time.perf_counter() - started
            stored = await conn.fetchval(
                "SELECT count(*) FROM events WHERE project_id = 1 AND external_user = $1",
                user,
            )
            applied = await conn.fetchval(
                "SELECT m.value FROM metrics m JOIN users u ON u.id = m.user_id"
                " WHERE u.project_id = 1 AND u.external_id = $1",
                user,
            )
            rates.append(int(applied) / spent)
            lost.append(float(max(stored, load.requests - load.refused) - int(applied)))
    await conn.close()
    return [
        Figure(
            "hot", "one hot user, 64 connections: applied, from the first request on", "events/s", rates, reach=1_500
        ),
        Figure("hot", "events of the hot user acknowledged and not applied", "", lost, reach=0, more_is_better=False),
    ]
