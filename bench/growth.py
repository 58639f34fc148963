"""Growth: what an event costs to apply with many rules of other types, and with many users, beside few of both."""

from collections.abc import Sequence

import asyncpg
import msgspec

from bench.drain import watch_drain
from bench.frame import Bench, Figure
from bench.processes import Processes
from bench.program import PROGRAM, with_other_rules
from bench.state import Size, build, use_program

FEW_USERS = Size("bench_few", 1_000, 10_000)
MANY_USERS = Size("bench_many", 1_000_000, 1_000_000)
EVENTS = 60_000


async def run(bench: Bench) -> Sequence[Figure]:
    """Compare processor time an event (worker and its backends), in percent more; runs alternate."""
    few = await _on(bench, FEW_USERS)
    many = await _on(bench, MANY_USERS)
    for warmed in (few, many):  # so that both have been active today
        await _cost_us(warmed, 10, FEW_USERS.users)
    rules, stored, active = [], [], []
    for _ in range(bench.repeats):
        least = await _cost_us(few, 10)
        rules.append(100 * (await _cost_us(few, 1_000) / least - 1))
        stored.append(100 * (await _cost_us(many, 10, FEW_USERS.users) / least - 1))
        active.append(100 * (await _cost_us(many, 10) / least - 1))
    await _program_back(few)
    what = "processor time an event"
    return [
        Figure("growth", f"{what}: 1,000 rules of other types over 10", "% more", rules, 20, more_is_better=False),
        Figure(
            "growth", f"{what}: 1,000,000 users stored over 1,000, the same 1,000 active", "% more", stored, 20,
            more_is_better=False,
        ),
        Figure(
            "growth", f"{what}: 1,000,000 users all active at random over 1,000", "% more", active, 20,
            more_is_better=False,
            note="of 1,000 users a batch of 1,000 events has 632, whose rows are written once",
        ),
    ]  # fmt: skip


async def _on(bench: Bench, size: Size) -> Bench:
    state = await build(bench.server, size)
    return msgspec.structs.replace(
        bench, state=state, processes=Processes(state.app_dsn, bench.server.directory / "logs")
    )


async def _cost_us(bench: Bench, rules: int, active: int | None = None) -> float:
    conn = await asyncpg.connect(bench.state.owner_dsn)
    await use_program(conn, with_other_rules(rules))
    drained = await watch_drain(bench, conn, EVENTS, active)
    await conn.close()
    return drained.processor_us


async def _program_back(bench: Bench) -> None:
    conn = await asyncpg.connect(bench.state.owner_dsn)
    await use_program(conn, PROGRAM)
    await conn.close()
