"""Growth: what an event costs to apply with many rules of other types, and with many users, beside few of both."""

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import asyncpg
import msgspec

from bench.drain import watch_queue
from bench.frame import Bench, Figure
from bench.processes import WORKERS, Processes
from bench.program import PROGRAM, with_other_rules
from bench.state import Size, build, use_program
from bench.traffic import fill_queue_of
from questline.model.limits import APPLY_BATCH_EVENTS, LANES_PER_WORKER

FEW_USERS = Size("bench_few", 1_000, 10_000)
SOME_USERS = Size("bench_some", WORKERS * LANES_PER_WORKER * APPLY_BATCH_EVENTS, 10_000)  # a batch of each lane
MANY_USERS = Size("bench_many", 1_000_000, 1_000_000)
EVENTS = 60_000


async def run(bench: Bench) -> Sequence[Figure]:
    """Compare processor time an event (workers and their backends), in percent more; runs alternate.

    A batch writes each of its users' rows once. Of 1,000 users a lane has 250, four events each in a batch; of a million
    drawn at random a batch has 1,000. So these are compared with as many users as all lanes' batches hold, who take turns.
    """
    few = await _on(bench, FEW_USERS)
    some = await _on(bench, SOME_USERS)
    many = await _on(bench, MANY_USERS)
    at_random = partial(_at_random, MANY_USERS.users)
    thousand, all_batches = partial(_in_turn, FEW_USERS.users), partial(_in_turn, SOME_USERS.users)
    await _cost_us(few, 10, thousand)
    await _cost_us(some, 10, all_batches)
    for _ in range(2):  # what a checkpoint makes PostgreSQL log as whole pages is logged before the clock starts
        await _cost_us(many, 10, at_random)
    rules, stored, active = [], [], []
    for _ in range(bench.repeats):
        least = await _cost_us(few, 10, thousand)
        rules.append(100 * (await _cost_us(few, 1_000, thousand) / least - 1))
        stored.append(100 * (await _cost_us(many, 10, thousand) / least - 1))
        as_many = await _cost_us(some, 10, all_batches)
        active.append(100 * (await _cost_us(many, 10, at_random) / as_many - 1))
    await _program_back(few)
    what = "processor time an event"
    return [
        Figure("growth", f"{what}: 1,000 rules of other types over 10", "% more", rules, 20, more_is_better=False),
        Figure(
            "growth", f"{what}: 1,000,000 users stored over 1,000, the same 1,000 active", "% more", stored, 20,
            more_is_better=False,
        ),
        Figure(
            "growth", f"{what}: 1,000,000 users all active at random over {SOME_USERS.users:,} in turn", "% more", active,
            20, more_is_better=False, note="as many users a batch; the million's rows lie in 250 times as many pages",
        ),
    ]  # fmt: skip


def _in_turn(users: int, events: int) -> Iterable[int]:
    return (1 + number % users for number in range(events))


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
