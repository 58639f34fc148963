"""Growth: what an event costs to apply with many rules of other types, and with many users, beside few of both."""

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import asyncpg
import msgspec

from bench.drain import watch_queue
from bench.frame import Bench, Figure
from bench.processes import Processes
from bench.program import PROGRAM, with_other_rules
from bench.state import Size, build, use_program
from bench.traffic import fill_queue_of

FEW_USERS = Size("bench_few", 1_000, 10_000)
MANY_USERS = Size("bench_many", 1_000_000, 1_000_000)
EVENTS = 60_000


async def run(bench: Bench) -> Sequence[Figure]:
    """Compare processor time an event (workers and their backends), in percent more; runs alternate.

    Of 1,000 users drawn at random a batch of 1,000 events has 632, whose rows are written once; of a million it has 1,000. So
    the few take turns: then batches write as many rows.
    """
    few = await _on(bench, FEW_USERS)
    many = await _on(bench, MANY_USERS)
    at_random = partial(_at_random, MANY_USERS.users)
    await _cost_us(few, 10, _in_turn)
    for _ in range(2):  # what a checkpoint makes PostgreSQL log as whole pages is logged before the clock starts
        await _cost_us(many, 10, at_random)
    rules, stored, active = [], [], []
    for _ in range(bench.repeats):
        least = await _cost_us(few, 10, _in_turn)
        rules.append(100 * (await _cost_us(few, 1_000, _in_turn) / least - 1))
        stored.append(100 * (await _cost_us(many, 10, _in_turn) / least - 1))
        active.append(100 * (await _cost_us(many, 10, at_random) / least - 1))
    await _program_back(few)
    what = "processor time an event"
    return [
        Figure("growth", f"{what}: 1,000 rules of other types over 10", "% more", rules, 20, more_is_better=False),
        Figure(
            "growth", f"{what}: 1,000,000 users stored over 1,000, the same 1,000 active", "% more", stored, 20,
            more_is_better=False,
        ),
        Figure(
            "growth", f"{what}: 1,000,000 users all active at random over 1,000 in turn", "% more", active, 20,
            more_is_better=False, note="as many users a batch; the million's rows lie in 1,000 times as many pages",
        ),
    ]  # fmt: skip


def _in_turn(events: int) -> Iterable[int]:
    return (1 + number % FEW_USERS.users for number in range(events))


def _at_random(users: int, events: int) -> Iterable[int]:
    return (random.randint(1, users) for _ in range(events))


async def _on(bench: Bench, size: Size) -> Bench:
    state = await build(bench.server, size)
    return msgspec.structs.replace(
        bench, state=state, processes=Processes(state.app_dsn, bench.server.directory / "logs")
    )


async def _cost_us(bench: Bench, rules: int, users: Callable[[int], Iterable[int]]) -> float:
    conn = await asyncpg.connect(bench.state.owner_dsn)
    await use_program(conn, with_other_rules(rules))
    await fill_queue_of(conn, users(EVENTS))
    drained = await watch_queue(bench, conn, EVENTS)
    await conn.close()
    return drained.processor_us


async def _program_back(bench: Bench) -> None:
    conn = await asyncpg.connect(bench.state.owner_dsn)
    await use_program(conn, PROGRAM)
    await conn.close()
