"""Growth: what an event costs to apply with many rules of other types, and with many users, beside few of both."""

from collections.abc import Sequence

import asyncpg
import msgspec

from bench.drain import drain
from bench.frame import Bench, Figure
from bench.processes import Processes
from bench.program import PROGRAM, with_other_rules
from bench.state import Size, build, use_program

FEW_USERS = Size("bench_few", 1_000, 10_000)
MANY_USERS = Size("bench_many", 1_000_000, 1_000_000)
EVENTS = 15_000


async def run(bench: Bench) -> Sequence[Figure]:
    """Compare times an event, in percent more; runs alternate, so that a slow minute falls on both."""
    few = await _on(bench, FEW_USERS)
    many = await _on(bench, MANY_USERS)
    rules, users = [], []
    for _ in range(bench.repeats):
        ten = await _cost_us(few, 10)
        rules.append(100 * (await _cost_us(few, 1_000) / ten - 1))
        users.append(100 * (await _cost_us(many, 10) / ten - 1))
    await _program_back(few)
    return [
        Figure(
            "growth", "an event's cost with 1,000 rules of other types, over 10", "% more", rules, reach=20,
            more_is_better=False,
        ),
        Figure(
            "growth", "an event's cost with 1,000,000 users, over 1,000", "% more", users, reach=20,
            more_is_better=False,
        ),
    ]  # fmt: skip


async def _on(bench: Bench, size: Size) -> Bench:
    state = await build(bench.server, size)
    return msgspec.structs.replace(
        bench, state=state, processes=Processes(state.app_dsn, bench.server.directory / "logs")
    )


async def _cost_us(bench: Bench, rules: int) -> float:
    conn = await asyncpg.connect(bench.state.owner_dsn)
    await use_program(conn, with_other_rules(rules))
    rate = await drain(bench, conn, EVENTS)
    await conn.close()
    return 1e6 / rate


async def _program_back(bench: Bench) -> None:
    conn = await asyncpg.connect(bench.state.owner_dsn)
    await use_program(conn, PROGRAM)
    await conn.close()
