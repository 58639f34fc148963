"""The processing code under a scheduler that the seed drives, held against a plain count."""

import asyncio
import os
import random
from collections import defaultdict
from typing import Any

import asyncpg
import msgspec
import pytest

from questline.control.apps import create_app
from questline.control.board_rebuild import compare
from questline.control.programs import apply
from questline.engine.compile import compile_program
from questline.store import outbox
from questline.store.embedded import EmbeddedPostgres
from questline.store.ids import EventIds
from questline.store.roles import APP_ROLE
from questline.transport.postgres import PostgresTransport
from tests.conftest import fresh_database
from tests.harness.audit import UNEQUAL
from tests.naive.open_source import longest_run

from .scheduler import noted
from .world import INSTALL, PAID_A_DAY, PROGRAM, Harm, World, under

SEED = os.environ.get("QUESTLINE_SIMULATION_SEED")
RUNS = int(os.environ.get("QUESTLINE_SIMULATION_RUNS", "3"))
SEEDS = [int(SEED)] if SEED else list(range(1, RUNS + 1))

_STANDINGS = """
    SELECT u.external_id AS user,
        (SELECT jsonb_object_agg(currency, amount) FROM balances b WHERE (b.project_id, b.user_id) = (u.project_id, u.id)) AS balances,
        (SELECT value::bigint FROM metrics m WHERE (m.project_id, m.user_id, m.metric) = (u.project_id, u.id, 'tasks')) AS tasks,
        (SELECT longest FROM streaks s WHERE (s.project_id, s.user_id, s.streak) = (u.project_id, u.id, 'daily')) AS longest
    FROM users u"""


class Played(msgspec.Struct):
    """A run: what went wrong, if anything, and the order in which everything happened."""

    seed: int
    failure: str = ""
    trace: list[str] = []
    accepted: int = 0
    deliveries: int = 0
    harms: int = 0
    seconds: float = 0.0

    def render(self) -> str:
        """Return what one needs to look into a failure."""
        return (
            f"seed {self.seed}: {self.failure}\nQUESTLINE_SIMULATION_SEED={self.seed} pytest tests/simulation runs it again. "
            "It ended with\n" + "\n".join(self.trace[-40:])
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_every_order_of_statements_crashes_and_clocks_ends_as_a_plain_count_does(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    played = play(postgres, monkeypatch, seed)
    print(
        f"seed {seed}: {played.accepted} events in {played.deliveries} deliveries, {len(played.trace)} steps, "
        f"{played.harms} crashes, cuts and jumps, {played.seconds:.0f} s of its time"
    )
    assert not played.failure, played.render()
    assert played.harms
    assert played.deliveries > played.accepted / 6


def test_a_seed_plays_the_same_run_again(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(postgres, monkeypatch, 1001) == play(postgres, monkeypatch, 1001)


def test_a_planted_defect_is_found_and_the_seed_finds_it_again(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defect: later events of a user overtake the one that is tried again."""

    async def take(self: Any, conn: asyncpg.Connection, events: Any, users: Any) -> Any:
        return await outbox.take(conn, events)

    monkeypatch.setattr(PostgresTransport, "take", take)
    found = next((run for run in (play(postgres, monkeypatch, seed) for seed in range(1, 9)) if run.failure), None)
    assert found, "eight runs went well"
    assert play(postgres, monkeypatch, found.seed) == found


def play(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, seed: int) -> Played:
    """Play a seed on a fresh database, in an event loop of its own."""
    random.seed(seed)  # the product's jitter
    with monkeypatch.context() as patched:
        return asyncio.run(_play(postgres, patched, Played(seed)))


async def _play(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, played: Played) -> Played:
    asyncio.get_running_loop().set_task_factory(noted)
    async with fresh_database(postgres) as database:
        observer, marks = await asyncpg.connect(database.owner_dsn), await asyncpg.connect(database.owner_dsn)
        try:
            project = await _prepare(observer)
            world = World(played.seed, database.app_dsn, observer, marks, project.id, Harm())
            under(monkeypatch, lambda: world.scheduler)
            try:
                await world.run()
                await _verify(world, observer, project)
            except AssertionError as failure:
                played.failure = str(failure)
            finally:
                await world.end()
        finally:
            await observer.close()
            await marks.close()
    played.trace, played.seconds = world.scheduler.trace, world.scheduler.now
    played.accepted = sum(len(events) for events in world.accepted.values())
    played.deliveries, played.harms = world.deliveries, world.harms
    return played


async def _prepare(owner: asyncpg.Connection) -> Any:
    await owner.execute(INSTALL)
    await owner.execute(f"ALTER ROLE {APP_ROLE} IN DATABASE {await owner.fetchval('SELECT current_database()')} "
                        "SET search_path = sim, pg_catalog, public")  # fmt: skip
    async with owner.transaction():
        row, _ = await create_app(owner, None, EventIds().new(), "sim", "sim", "UTC", {})
        await apply(owner, row.project.id, "UTC", lambda _: PROGRAM, "the simulation")
    return row.project


async def _verify(world: World, conn: asyncpg.Connection, project: Any) -> None:
    dead = {
        r[0] for r in await conn.fetch("SELECT e.external_id FROM dead_letters d JOIN events e ON e.id = d.event_id")
    }
    assert (
        dead - world.fragile
        == world.deadly & {e.external_id for es in world.accepted.values() for e in es} - world.fragile
    )
    rows = await conn.fetch(
        "SELECT e.external_id, count(DISTINCT e.id) AS stored, count(d.event_id) AS decided FROM events e"
        " LEFT JOIN decisions d ON d.event_id = e.id WHERE e.type = 'task' GROUP BY 1"
    )
    stored = {r["external_id"]: (r["stored"], r["decided"]) for r in rows}
    due = {e.external_id: (1, int(e.external_id not in dead)) for events in world.accepted.values() for e in events}
    assert stored == due, f"stored and decided: {_unlike(stored, due)}"
    stands = {
        r["user"]: (msgspec.json.decode(r["balances"] or "{}"), r["tasks"] or 0, r["longest"] or 0)
        for r in await conn.fetch(_STANDINGS)
    }
    counted = _counted(world, dead)
    assert {user: stands.get(user) for user in counted} == counted, f"standings: {_unlike(stands, counted)}"
    assert await conn.fetch(UNEQUAL) == []
    assert await compare(conn, project, compile_program(PROGRAM, 1)) == []


def _counted(world: World, dead: set[Any]) -> dict[str, Any]:
    spent: dict[str, int] = defaultdict(int)
    for user, amount, result in world.spends.values():
        spent[user] += amount if result.status == "processed" else 0
    counted = {}
    for user, events in world.accepted.items():
        applied = [event for event in events if event.external_id not in dead]
        paid: dict[int, list[int]] = defaultdict(list)
        for event in applied:
            paid[event.occurred_at.toordinal()].append(msgspec.json.decode(event.payload)["minutes"])
        balances = {
            "XP": 10 * len(applied),
            "coins": 3 * len(applied) - spent[user],
            "gems": sum(sum(minutes[:PAID_A_DAY]) for minutes in paid.values()),
        }
        counted[user] = (balances if applied else {}, len(applied), longest_run(set(paid)))
    return counted


def _unlike(found: dict[Any, Any], due: dict[Any, Any]) -> list[Any]:
    return [
        (key, found.get(key), due.get(key))
        for key in sorted(found.keys() | due.keys())
        if found.get(key) != due.get(key)
    ]
