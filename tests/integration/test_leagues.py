"""Leagues and seasons on a real database: seats under concurrency, rollovers against a naive count, crashes, repeats."""

import asyncio
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from conftest_api import Instance, within
from ledger import misbooked

from questline.control import board_rebuild
from questline.model import calendar
from questline.model.event import WaitingEvent
from questline.model.principal import Project
from questline.processing import rollover as rollover_module
from questline.processing import room
from questline.processing import season_ends as season_ends_module
from questline.processing.apply import Applier
from questline.processing.programs import ProgramCache
from questline.processing.rollover import Rollover
from questline.processing.season_ends import SeasonEnds
from questline.store import boards, outbox, users
from questline.store.ids import EventIds
from questline.store.pool import Connection, connect

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
LEAGUE: dict[str, Any] = {
    "currency": "XP",
    "tiers": [{"title": "Bronze"}, {"title": "Silver"}, {"title": "Gold"}],
    "cohorts": {"size": 10},
    "promote": 3,
    "demote": 2,
}
PROGRAM: dict[str, Any] = {
    "currencies": {"XP": {"kind": "xp"}, "coins": {"kind": "currency"}},
    "rules": {"task": {"on": "task", "award": {"XP": {"field": "points"}}}},
    "leagues": {"weekly": LEAGUE},
}
Played = tuple[str, int, datetime]  # user, points, at

_numbers = itertools.count(1)


class Crash(BaseException):
    """The process is gone."""


class World:
    """A project whose events are applied at the times they are given, and whose services have a clock of their own."""

    def __init__(self, dsn: str, owner: asyncpg.Connection, conn: Connection, project_id: int) -> None:
        self.dsn = dsn
        self.owner = owner
        self.conn = conn
        self.project_id = project_id
        self.now = MONDAY
        self.programs = ProgramCache()
        self.ids = EventIds()
        self.applier = Applier(self.programs, lambda: self.now, self.ids.new)
        self.applied: list[WaitingEvent] = []

    async def play(self, played: Iterable[Played], conn: Connection | None = None, batch: int = 500) -> None:
        """Apply tasks, each received as it happened."""
        await self.apply([self._event(user, {"points": points}, at, at) for user, points, at in played], conn, batch)

    def _event(self, user: str, payload: dict[str, Any], at: datetime, received_at: datetime) -> WaitingEvent:
        text = msgspec.json.encode(payload).decode()
        return WaitingEvent(
            self.ids.new(), self.project_id, "task", user, text, at, received_at, None, None, 0, 0, 0
        )  # fmt: skip

    async def apply(self, events: Sequence[WaitingEvent], conn: Connection | None = None, batch: int = 500) -> None:
        conn = conn or self.conn
        self.applied += events
        shard = await boards.claim_shard(conn)
        for start in range(0, len(events), batch):
            some = events[start : start + batch]
            async with conn.transaction():
                locked = await users.lock(conn, {(e.project_id, e.user): None for e in some})
                await self.applier.apply(conn, shard, some, locked)

    async def store_applied(self) -> None:
        """Write down the events that were applied, as accepting them would have."""
        await self.owner.executemany(
            """INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)""",
            [(e.id, e.project_id, e.type, e.user, e.payload, e.occurred_at, e.received_at) for e in self.applied],
        )

    async def drain(self) -> None:
        """Apply what waits in the queue, as a worker would."""
        while waiting := await outbox.claim(self.conn, list(range(64)), 1_000, 1 << 20):
            async with self.conn.transaction():
                locked = await users.lock(self.conn, {(e.project_id, e.user): None for e in waiting})
                await self.applier.apply(
                    self.conn, await boards.claim_shard(self.conn), await outbox.take(self.conn, waiting), locked
                )

    def rollover(self, batch_users: int = 1_000) -> Rollover:
        return Rollover(self.dsn, self.programs, lambda: self.now, self.ids.new, batch_users=batch_users)

    def season_ends(self, batch_users: int = 1_000) -> SeasonEnds:
        return SeasonEnds(self.dsn, self.programs, lambda: self.now, self.ids.new, batch_users=batch_users)

    async def members(self, week: int = 0) -> list[asyncpg.Record]:
        """The rows of a week, counted from MONDAY, in rank order within cohorts."""
        number = calendar.period_number("week", MONDAY, UTC) + week
        return await self.owner.fetch(
            """SELECT u.external_id AS user, w.zone, m.* FROM league_members m JOIN users u ON u.id = m.user_id
            JOIN league_weeks w ON w.id = m.league_week
            WHERE m.project_id = $1 AND m.week = $2 ORDER BY w.zone, tier, cohort, rank, m.user_id""",
            self.project_id,
            number,
        )

    async def notices(self) -> list[tuple[str, str, dict[str, Any]]]:
        rows = await self.owner.fetch(
            """SELECT u.external_id, n.type, n.data FROM notices n JOIN users u ON u.id = n.user_id
            WHERE n.project_id = $1 ORDER BY n.event_id, n.ordinal""",
            self.project_id,
        )
        return [(user, type_, msgspec.json.decode(data)) for user, type_, data in rows]

    async def put_program(self, program: dict[str, Any]) -> None:
        version = 1 + await self.owner.fetchval("SELECT program_version FROM projects WHERE id = $1", self.project_id)
        await self.owner.execute(
            "INSERT INTO program_versions (project_id, version, document) VALUES ($1, $2, $3)",
            self.project_id,
            version,
            msgspec.json.encode(program).decode(),
        )
        await self.owner.execute("UPDATE projects SET program_version = $2 WHERE id = $1", self.project_id, version)


@pytest.fixture
async def world(database: Any) -> AsyncIterator[World]:
    """A project of its own, on the module's database."""
    async with new_world(database) as made:
        yield made


@asynccontextmanager
async def new_world(database: Any) -> AsyncIterator[World]:
    """Yield a project of its own, on a database."""
    owner = await asyncpg.connect(database.owner_dsn)
    organization = await owner.fetchval(
        "INSERT INTO organizations (slug, name) VALUES ($1, '') RETURNING id", f"org-{next(_numbers)}"
    )
    project = await owner.fetchval(
        "INSERT INTO projects (organization_id, app_id, name) VALUES ($1, $2, '') RETURNING id",
        organization,
        f"world-{next(_numbers)}",
    )
    conn = await connect(database.app_dsn)
    made = World(database.app_dsn, owner, conn, project)
    await made.put_program(PROGRAM)
    try:
        yield made
    finally:
        await owner.execute(
            "UPDATE projects SET program_version = 0 WHERE id = $1", project
        )  # the next test's services pass it by
        await conn.close()
        await owner.close()


def population(seed: int, size: int, start: datetime, *, active: float = 1.0) -> list[Played]:
    """Tasks of users, some several, with many ties of score and of time."""
    chance = random.Random(seed)
    found = [
        (f"u{n}", chance.randint(1, 8), start + timedelta(minutes=chance.randint(0, 6 * 1440)))
        for n in range(size)
        if chance.random() < active
        for _ in range(chance.randint(1, 2))
    ]
    chance.shuffle(found)
    return found


class Naive:
    """Leagues by plain loops over what happened, sharing nothing with the engine but who sits in which cohort."""

    def __init__(self, league: dict[str, Any]) -> None:
        self.league = league
        self.tier: dict[str, int] = {}

    def week(
        self, played: list[Played], cohorts: dict[str, int], first_seen: dict[str, int]
    ) -> dict[str, tuple[int, int, int, str]]:
        """Return user → (tier, rank, next tier, outcome), and go on from the next tiers."""
        totals: dict[str, int] = defaultdict(int)
        reached: dict[str, datetime] = {}
        for user, points, at in played:
            totals[user] += points
            reached[user] = max(reached.get(user, at), at)
        seated = defaultdict(list)
        for user in totals:
            seated[self.tier.get(user, 1), cohorts[user]].append(user)
        found = {}
        for (tier, _), members in seated.items():
            for user in members:
                mine = (-totals[user], reached[user], first_seen[user])
                better = [m for m in members if totals[m] > totals[user]]
                if self.league.get("ties", "first") == "first":
                    rank = 1 + sum((-totals[m], reached[m], first_seen[m]) < mine for m in members)
                    last = len(members)
                elif self.league["ties"] == "competition":
                    rank, last = 1 + len(better), len(members)
                else:
                    rank, last = 1 + len({totals[m] for m in better}), len({totals[m] for m in members})
                outcome, after = "stayed", tier
                if rank <= self.league["promote"] and tier < len(self.league["tiers"]):
                    outcome, after = "promoted", tier + 1
                elif rank > last - self.league["demote"] and tier > 1:
                    outcome, after = "demoted", tier - 1
                found[user] = (tier, rank, after, outcome)
        for user, (_, _, after, _) in found.items():
            self.tier[user] = after
        return found


async def first_seen(world: World) -> dict[str, int]:
    rows = await world.owner.fetch("SELECT external_id, id FROM users WHERE project_id = $1", world.project_id)
    return dict(rows)


def told(rows: Iterable[asyncpg.Record]) -> dict[str, tuple[int, int, int, str]]:
    return {r["user"]: (r["tier"], r["rank"], r["next_tier"], r["outcome"]) for r in rows}


async def test_a_week_ranks_the_sum_of_fractions_rounded_down_once(world: World) -> None:
    await world.put_program(
        {
            "metrics": {"km": {"on": "task", "sum": "points"}},
            "leagues": {"weekly": {"metric": "km", "tiers": [{}, {}], "promote": 1, "cohorts": {"size": 10}}},
        }
    )
    played: list[Any] = [("ann", 0.9, MONDAY + timedelta(hours=n)) for n in range(10)]
    played += [("bob", 1, MONDAY + timedelta(hours=n)) for n in range(8)]
    played += [("cid", (-1) ** n * 0.5, MONDAY + timedelta(hours=n)) for n in range(10)]
    await world.play(played, batch=3)
    rows = await world.members()
    assert {row["user"]: row["score"] for row in rows} == {"ann": 9, "bob": 8, "cid": 0}
    world.now = MONDAY + 2 * WEEK
    await world.rollover().run_once()
    await world.rollover().run_once()
    assert {row["user"]: row["outcome"] for row in await world.members()} == {
        "ann": "promoted", "bob": "stayed", "cid": "stayed",
    }  # fmt: skip


@pytest.mark.parametrize("ties", ["first", "competition", "dense"])
async def test_weeks_come_out_as_a_naive_count_says(world: World, ties: str) -> None:
    league = {**LEAGUE, "ties": ties}
    await world.put_program({**PROGRAM, "leagues": {"weekly": league}})
    naive = Naive(league)
    for week in range(5):
        played = population(week, 400, MONDAY + week * WEEK, active=0.8)
        await world.play(played)
        world.now = MONDAY + (week + 1) * WEEK + timedelta(minutes=1)
        assert await world.rollover(batch_users=37).run_once() == len({user for user, _, _ in played})
        await world.drain()
        rows = await world.members(week)
        sizes = Counter((r["tier"], r["cohort"]) for r in rows)
        assert max(sizes.values()) <= 10
        assert told(rows) == naive.week(played, {r["user"]: r["cohort"] for r in rows}, await first_seen(world))
    tiers = dict(
        await world.owner.fetch(
            "SELECT external_id, tier FROM league_standings s JOIN users u ON u.id = s.user_id WHERE s.project_id = $1",
            world.project_id,
        )
    )
    assert tiers == naive.tier
    assert set(tiers.values()) == {1, 2, 3}


async def played_week(
    world: World, size: int, seed: int = 1
) -> tuple[list[Played], dict[str, tuple[int, int, int, str]]]:
    """Play a week and move the clock past its end; return what was played and what a naive count makes of it."""
    played = population(seed, size, MONDAY)
    await world.play(played)
    world.now = MONDAY + WEEK + timedelta(minutes=1)
    cohorts = {r["user"]: r["cohort"] for r in await world.members()}
    return played, Naive(LEAGUE).week(played, cohorts, await first_seen(world))


async def test_a_large_week_is_exact(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RESULTS_WAITING_MAX", 20_000)
    await world.put_program({**PROGRAM, "leagues": {"weekly": {**LEAGUE, "cohorts": {"size": 30}}}})
    _, expected = await played_week(world, 20_000)
    assert await world.rollover().run_once() == 20_000
    rows = await world.members()
    assert told(rows) == expected
    assert set(Counter(r["cohort"] for r in rows).values()) == {30, 20}


async def test_many_who_join_at_once_fill_cohorts_one_after_the_other(world: World, database: Any) -> None:
    conns = [await connect(database.app_dsn) for _ in range(6)]
    await asyncio.gather(
        *(
            world.play([(f"w{lane}-{n}", 1, MONDAY) for n in range(251)], conn, batch=25)
            for lane, conn in enumerate(conns)
        )
    )
    for conn in conns:
        await conn.close()
    sizes = Counter(r["cohort"] for r in await world.members())
    assert [sizes[n] for n in range(151)] == [10] * 150 + [6]


async def test_the_size_of_cohorts_may_change_within_a_week(world: World) -> None:
    sizes = []
    for size in (10, 4, 12):
        await world.put_program({**PROGRAM, "leagues": {"weekly": {**LEAGUE, "promote": 1, "demote": 1, "cohorts": {"size": size}}}})  # fmt: skip
        for _ in range(3):
            await world.play([(f"u{next(_numbers)}", 1, MONDAY) for _ in range(5)])
        counted = Counter(r["cohort"] for r in await world.members())
        sizes.append([counted[n] for n in sorted(counted)])
    assert sizes == [[10, 5], [10, 5, 4, 4, 4, 3], [10, 5, 4, 4, 4, 12, 6]]


async def test_a_rollover_run_twice_is_a_rollover_run_once(world: World) -> None:
    _, expected = await played_week(world, 60)
    assert await world.rollover().run_once() == 60
    await world.drain()
    before = (await world.members(), await world.notices())
    assert await world.rollover().run_once() == 0
    await world.drain()
    assert (await world.members(), await world.notices()) == before
    assert {user: (d["before"], d["rank"], d["after"], d["outcome"]) for user, _, d in before[1]} == expected
    assert Counter(type_ for _, type_, _ in before[1]) == {"league.promoted": 18, "league.stayed": 42}


STEPS = ["hold_progress", "scores", "put_results", "advance", "seat", "settle"]


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_after_any_step_of_any_batch_leaves_the_same_results(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    _, expected = await played_week(world, 90)
    whole = getattr(rollover_module.leagues, step)
    crashes = 0

    async def crashing(*arguments: Any) -> Any:
        nonlocal crashes
        found = await whole(*arguments)
        crashes += 1
        if crashes % 2:
            raise Crash
        return found

    monkeypatch.setattr(rollover_module.leagues, step, crashing)
    for _ in range(30):
        try:
            await world.rollover(batch_users=25).run_once()
        except Crash:
            continue
        break
    assert crashes > 1
    await world.drain()
    assert told(await world.members()) == expected
    assert sorted(user for user, _, _ in await world.notices()) == sorted(expected)


async def test_two_workers_settle_a_week_once(world: World) -> None:
    _, expected = await played_week(world, 300)
    both = await asyncio.gather(*(world.rollover(batch_users=20).run_once() for _ in range(2)))
    assert sum(both) == 300
    await world.drain()
    assert told(await world.members()) == expected
    assert sorted(user for user, _, _ in await world.notices()) == sorted(expected)


async def test_who_scores_before_their_last_week_is_settled_is_seated_with_its_result(world: World) -> None:
    await played_week(world, 40)
    await world.play([(f"u{n}", 1, MONDAY + WEEK) for n in range(40)] + [("new", 1, MONDAY + WEEK)])
    assert [r["user"] for r in await world.members(1) if r["cohort"] is not None] == ["new"]
    world.now = MONDAY + 2 * WEEK + timedelta(minutes=1)
    await world.rollover(batch_users=20).run_once()
    last, this = await world.members(0), await world.members(1)
    assert {r["user"]: r["tier"] for r in this if r["user"] != "new"} == {r["user"]: r["next_tier"] for r in last}
    assert max(Counter((r["tier"], r["cohort"]) for r in this).values()) <= 10
    assert await world.rollover().run_once() == 0 or all(r["outcome"] for r in await world.members(1))


async def test_users_score_in_the_new_week_while_the_old_one_is_settled(world: World, database: Any) -> None:
    _, expected = await played_week(world, 300)
    conns = [await connect(database.app_dsn) for _ in range(3)]
    new_week = [(f"u{n}", 1, MONDAY + WEEK + timedelta(seconds=n)) for n in range(400)]
    settled, *_ = await asyncio.gather(
        world.rollover(batch_users=10).run_once(),
        *(world.play(new_week[lane::3], conn, batch=7) for lane, conn in enumerate(conns)),
    )
    for conn in conns:
        await conn.close()
    assert settled == 300
    last, this = await world.members(0), await world.members(1)
    assert told(last) == expected
    tiers = {r["user"]: r["next_tier"] for r in last}
    assert {r["user"]: r["tier"] for r in this} == {user: tiers.get(user, 1) for user, _, _ in new_week}
    sizes: dict[int, list[int]] = defaultdict(list)
    for (tier, _), size in sorted(Counter((r["tier"], r["cohort"]) for r in this).items()):
        sizes[tier].append(size)
    assert all(found[:-1] == [10] * (len(found) - 1) and found[-1] <= 10 for found in sizes.values())


async def test_two_weeks_missed_are_settled_in_their_order(world: World) -> None:
    for week in range(3):
        await world.play([(f"u{n}", n + 1, MONDAY + week * WEEK + timedelta(hours=1)) for n in range(10)])
    world.now = MONDAY + 3 * WEEK + timedelta(minutes=1)
    while await world.rollover().run_once():
        pass
    tiers = [{r["user"]: (r["tier"], r["next_tier"]) for r in await world.members(week)} for week in range(3)]
    assert [found["u9"] for found in tiers] == [(1, 2), (2, 3), (3, 3)]
    assert [found["u0"] for found in tiers] == [(1, 1), (1, 1), (1, 1)]


async def test_a_week_of_the_users_zone_ends_at_its_own_midnight(world: World) -> None:
    await world.put_program({**PROGRAM, "leagues": {"weekly": {**LEAGUE, "cohorts": {"size": 10, "zone": "user"}}}})
    zones = {"early": "Pacific/Kiritimati", "late": "Pacific/Pago_Pago", "plain": None}
    for user, zone in zones.items():
        await world.play([(user, 1, MONDAY - WEEK)])
        await world.owner.execute(
            "UPDATE users SET timezone = $1 WHERE project_id = $2 AND external_id = $3", zone, world.project_id, user
        )
        await world.play([(user, 5, MONDAY + timedelta(days=2))])
    assert len({(r["zone"], r["cohort"]) for r in await world.members()}) == 3
    done = []
    for hours in (-25, -13, 1, 12):
        world.now = MONDAY + WEEK + timedelta(hours=hours)
        while await world.rollover().run_once():
            pass
        done.append(sorted(r["user"] for r in await world.members() if r["outcome"] is not None))
    assert done == [[], ["early"], ["early", "plain"], ["early", "late", "plain"]]


async def test_a_week_waits_for_what_was_received_before_it_closed(world: World) -> None:
    await world.play([("u1", 1, MONDAY), ("u2", 2, MONDAY)])
    world.now = MONDAY + WEEK + timedelta(minutes=1)
    real = datetime.now(UTC)
    late = world._event("u1", {"points": 9}, real, real)
    await world.owner.execute(
        "INSERT INTO outbox (partition, project_id, event_id, user_hash) VALUES (0, $1, $2, 0)",
        world.project_id,
        late.id,
    )
    await world.owner.execute(
        "UPDATE league_weeks SET closes_at = $2 WHERE project_id = $1", world.project_id, real + timedelta(seconds=1)
    )
    world.now = real + timedelta(minutes=1)
    assert await world.rollover().run_once() == 0
    await world.owner.execute("DELETE FROM outbox WHERE project_id = $1", world.project_id)
    assert await world.rollover().run_once() == 2


async def test_an_event_received_after_its_week_closed_moves_no_league(world: World) -> None:
    await world.play([("u1", 1, MONDAY), ("u2", 2, MONDAY)])
    closed = MONDAY + WEEK
    await world.apply([world._event(user, {"points": 50}, MONDAY, closed) for user in ("u1", "u3")])
    world.now = closed + timedelta(minutes=1)
    await world.rollover().run_once()
    await world.apply([world._event("u1", {"points": 50}, MONDAY, MONDAY)])  # held, and approved when all is over
    rows = [(r["user"], r["score"], r["rank"]) for r in await world.members()]
    assert rows == [("u2", 2, 1), ("u1", 1, 2)]


async def test_a_blocked_user_is_left_out_and_stays(world: World) -> None:
    await world.play([(f"u{n}", 10 - n, MONDAY) for n in range(6)])
    await world.owner.execute(
        "UPDATE users SET blocked_at = now() WHERE project_id = $1 AND external_id = 'u1'", world.project_id
    )
    world.now = MONDAY + WEEK + timedelta(minutes=1)
    await world.rollover().run_once()
    await world.drain()
    assert told(await world.members()) == {
        "u0": (1, 1, 2, "promoted"), "u1": (1, None, 1, "stayed"), "u2": (1, 2, 2, "promoted"),
        "u3": (1, 3, 2, "promoted"), "u4": (1, 4, 1, "stayed"), "u5": (1, 5, 1, "stayed"),
    }  # fmt: skip
    assert "u1" not in {user for user, _, _ in await world.notices()}


async def test_results_leave_room_in_the_queue(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await played_week(world, 100)
    monkeypatch.setattr(room, "RESULTS_WAITING_MAX", 20)
    rollover = world.rollover(batch_users=10)
    settled = []
    while not settled or settled[-1]:
        settled.append(await rollover.run_once())
        await world.drain()
    assert settled == [20, 20, 20, 20, 20, 0]
    assert len(await world.notices()) == 100


@asynccontextmanager
async def both_due(database: Any) -> AsyncIterator[tuple[World, World]]:
    """Two projects, of which the first has its turn first."""
    async with new_world(database) as first, new_world(database) as second:
        for world in (first, second):
            await world.put_program(SEASONAL | {"leagues": PROGRAM["leagues"]})
            await world.play([("u1", 1, MONDAY)])
            world.now = MONDAY + WEEK + timedelta(minutes=1)
        yield first, second


@pytest.mark.parametrize("service", ["rollover", "season_ends"])
async def test_a_project_whose_queue_is_never_empty_keeps_none_of_the_others_waiting(
    database: Any, monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    monkeypatch.setattr(room, "RESULTS_WAITING_MAX", 3)
    async with both_due(database) as (loud, quiet):
        await loud.owner.executemany(
            "INSERT INTO outbox (partition, project_id, event_id, user_hash) VALUES (0, $1, $2, 0)",
            [(loud.project_id, loud.ids.new()) for _ in range(3)],
        )
        async with within(30.0, "the end of what is the other's"):
            assert await getattr(quiet, service)().run_once(asyncio.Event()) == 1
        await loud.owner.execute("DELETE FROM outbox WHERE project_id = $1", loud.project_id)
        assert await getattr(quiet, service)().run_once(asyncio.Event()) == 1


@pytest.mark.parametrize("service", ["rollover", "season_ends"])
async def test_a_project_that_fails_keeps_none_of_the_others_waiting(database: Any, service: str) -> None:
    async with both_due(database) as (broken, sound):
        await broken.put_program(SEASONAL | {"leagues": PROGRAM["leagues"], "currencies": {"XP": {"kind": "none"}}})
        assert await getattr(sound, service)().run_once() == 1


async def test_a_league_taken_out_of_the_program_goes_on_when_it_comes_back(world: World) -> None:
    await world.play([("u1", 1, MONDAY)])
    await world.put_program({**PROGRAM, "leagues": {}})
    world.now = MONDAY + WEEK + timedelta(minutes=1)
    assert await world.rollover().run_once() == 0
    await world.put_program(PROGRAM)
    assert await world.rollover().run_once() == 1


SEASON: dict[str, Any] = {
    "start": "2026-01-05",
    "end": "2026-01-12",
    "reset": {"coins": "zero", "XP": "keep"},
    "boards": {
        "xp": {
            "currency": "XP",
            "ties": "competition",
            "rewards": [
                {"from": 1, "rewards": [{"currency": "coins", "value": 1_000}]},
                {"from": 2, "to": 20, "rewards": [{"currency": "coins", "value": 100}]},
            ],
        },
        "tasks": {"metric": "tasks", "ties": "dense"},
    },
}
SEASONAL: dict[str, Any] = {
    "currencies": PROGRAM["currencies"],
    "metrics": {"tasks": {"on": "task", "count": True}},
    "rules": {"task": {"on": "task", "award": {"XP": {"field": "points"}, "coins": 3}}},
    "seasons": {"winter": SEASON},
}


async def coins(world: World) -> dict[str, int]:
    rows = await world.owner.fetch(
        "SELECT external_id, amount FROM balances b JOIN users u ON u.id = b.user_id WHERE b.project_id = $1 AND currency = 'coins'",
        world.project_id,
    )
    return dict(rows)


async def played_season(world: World) -> dict[str, int]:
    """Play a season with some before and after it; return the coins that a naive count leaves users with."""
    await world.put_program(SEASONAL)
    before = [(f"u{n}", 50, MONDAY - timedelta(days=1)) for n in range(0, 30, 3)]
    within = population(3, 60, MONDAY)
    after = [(f"u{n}", 50, MONDAY + WEEK) for n in range(0, 90, 2)]
    await world.play([*before, *within, *after])
    scores: dict[str, int] = defaultdict(int)
    for user, points, _ in within:
        scores[user] += points
    left = {user: 0 for user, _, _ in [*before, *within, *after]}
    for user, _, _ in after:
        left[user] += 3
    for user, score in scores.items():
        rank = 1 + sum(other > score for other in scores.values())
        left[user] += 1_000 if rank == 1 else 100 if rank <= 20 else 0
    world.now = MONDAY + WEEK + timedelta(minutes=1)
    return left


async def test_a_seasons_end_takes_gives_and_tells_as_a_naive_count_says(world: World) -> None:
    expected = await played_season(world)
    assert await world.season_ends(batch_users=7).run_once() == 60
    await world.drain()
    assert await coins(world) == expected
    assert await world.season_ends().run_once() == 0
    await world.drain()
    assert await coins(world) == expected
    assert Counter(type_ for _, type_, _ in await world.notices()) == {"season.ended": 120, "season.reset": 60}


async def block(world: World, user: str, standing: str) -> None:
    payload = {"reason": "a bot", "standing": standing}
    event = world._event(user, payload, world.now, world.now)
    await world.apply([msgspec.structs.replace(event, type="$block")])


async def test_a_seasons_end_takes_from_blocked_users_too_and_gives_to_those_whose_standing_was_kept(
    world: World,
) -> None:
    await world.put_program(SEASONAL)
    await world.play([(user, 50 - n, MONDAY) for n, user in enumerate(("ada", "bob", "cyd", "dan"))])
    world.now = MONDAY + WEEK + timedelta(minutes=1)
    await block(world, "ada", "keep")
    await block(world, "bob", "remove")
    await world.season_ends().run_once()
    await block(world, "cyd", "remove")  # has a place already
    await world.drain()
    assert await coins(world) == {"ada": 1_000, "bob": 0, "cyd": 0, "dan": 100}


async def test_a_season_waits_for_its_end_and_for_what_was_received_before_it(world: World) -> None:
    await played_season(world)
    ended, world.now = world.now, MONDAY + WEEK
    assert await world.season_ends().run_once() == 0
    world.now = ended
    early = UUID(int=1 << 64)  # received before all others
    await world.owner.execute(
        "INSERT INTO outbox (partition, project_id, event_id, user_hash) VALUES (0, $1, $2, 0)", world.project_id, early
    )
    assert await world.season_ends().run_once() == 0
    await world.owner.execute("DELETE FROM outbox WHERE project_id = $1", world.project_id)
    assert await world.season_ends().run_once() == 60


SEASON_STEPS = ["close", "hold_progress", "next_results", "advance", "settle"]


@pytest.mark.parametrize("step", SEASON_STEPS)
async def test_a_crash_after_any_step_of_a_seasons_end_leaves_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    expected = await played_season(world)
    whole = getattr(season_ends_module.seasons, step)
    crashes = 0

    async def crashing(*arguments: Any) -> Any:
        nonlocal crashes
        found = await whole(*arguments)
        crashes += 1
        if crashes % 2:
            raise Crash
        return found

    monkeypatch.setattr(season_ends_module.seasons, step, crashing)
    for _ in range(30):
        try:
            await world.season_ends(batch_users=20).run_once()
        except Crash:
            continue
        break
    await world.drain()
    assert crashes > 0
    assert await coins(world) == expected


async def test_a_crash_between_the_statements_that_close_a_season_closes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await played_season(world)
    sql = season_ends_module.seasons.SQL
    with monkeypatch.context() as broken:
        broken.setitem(sql, "add_resets", "SELECT $1::integer, $2::text, $3::text[], $4::timestamptz, $5::uuid, 1 / 0")
        assert await world.season_ends().run_once() == 0
    assert (
        await world.owner.fetchval("SELECT count(*) FROM season_results WHERE project_id = $1", world.project_id) == 0
    )
    assert await world.season_ends().run_once() == 60
    await world.drain()
    assert await coins(world) == expected


async def test_two_workers_end_a_season_once(world: World) -> None:
    expected = await played_season(world)
    both = await asyncio.gather(*(world.season_ends(batch_users=5).run_once() for _ in range(2)))
    assert sum(both) == 60
    await world.drain()
    assert await coins(world) == expected


async def test_the_books_balance_after_a_seasons_end(world: World) -> None:
    await played_season(world)
    await world.season_ends().run_once()
    await world.drain()
    assert await misbooked(world.owner) == []


async def test_a_rebuild_counts_the_boards_of_seasons_from_the_ledger_and_the_events(world: World) -> None:
    await played_season(world)
    await world.store_applied()
    program = (await world.programs.in_force(world.conn, [world.project_id]))[world.project_id]
    project = Project(world.project_id, 1, "app", "", "UTC", program.version)
    rows = "SELECT p.board, e.* FROM board_entries e JOIN board_periods p ON p.id = e.board_period WHERE e.project_id = $1 ORDER BY 1, 4"
    before = await world.owner.fetch(rows, world.project_id)
    assert len(before) == 120
    assert await board_rebuild.compare(world.conn, project, program) == []
    gone = await world.owner.execute(
        "DELETE FROM board_entries WHERE project_id = $1 AND user_id % 2 = 0", world.project_id
    )
    assert f"DELETE {await board_rebuild.rebuild(world.conn, project, program)}" == gone != "DELETE 0"
    assert await world.owner.fetch(rows, world.project_id) == before


SERVED: dict[str, Any] = {
    "currencies": {"XP": {"kind": "xp"}},
    "rules": {"task": {"on": "task", "award": {"XP": {"field": "points"}}}},
    "leagues": {"weekly": {"currency": "XP", "title": "Weekly", "tiers": [{"title": "Bronze"}, {"title": "Silver"}], "promote": 1, "cohorts": {"size": 3}}},
    "seasons": {"now": {"start": "2020-01-01", "end": "2100-01-01", "boards": {"xp": {"currency": "XP"}}}},
}  # fmt: skip


async def test_a_users_cohort_is_a_leaderboard_with_tier_and_zone(questline: Instance) -> None:
    app = await questline.app(SERVED)
    for n in range(4):
        await app.send("task", f"u{n}", {"points": 10 * (n + 1)}, headers={"Prefer": "wait=5"})
    page = (await app.get("/v1/leaderboards?leagueId=weekly&userId=u1&around=1&limit=2")).json()
    assert [(e["rank"], e["userId"], e["score"]) for e in page["entries"]] == [(1, "u2", 30), (2, "u1", 20)]
    assert (page["total"], page["me"]["rank"], page["metric"], page["period"]) == (3, 2, "XP", "weekly")
    assert [e["userId"] for e in page["aroundMe"]] == ["u2", "u1", "u0"]
    assert page["league"] == {"tier": 1, "tierTitle": "Bronze", "cohort": 0, "promote": 1, "demote": 0, "zone": "stay"}
    rest = (await app.get(f"/v1/leaderboards?leagueId=weekly&userId=u1&after={page['nextCursor']}")).json()
    assert [(e["rank"], e["userId"]) for e in rest["entries"]] == [(3, "u0")]
    assert (await app.get("/v1/leaderboards?leagueId=weekly&userId=u3")).json()["league"]["cohort"] == 1
    assert (await app.get("/v1/leaderboards?leagueId=weekly&userId=nobody")).json()["entries"] == []
    codes = [
        (await app.get(path)).json()["code"]
        for path in ("/v1/leaderboards?leagueId=weekly", "/v1/leaderboards?leagueId=none&userId=u1",
                     "/v1/leaderboards?leagueId=weekly&userId=u1&periodKey=2026")
    ]  # fmt: skip
    assert codes == ["invalid-parameter", "board-not-found", "invalid-parameter"]


async def test_a_profile_and_a_history_tell_how_a_week_ended(questline: Instance) -> None:
    app = await questline.app(SERVED)
    for n in range(3):
        await app.send("task", f"u{n}", {"points": 10 * (n + 1)}, headers={"Prefer": "wait=5"})
    [league] = (await app.get("/v1/users/u2/leagues")).json()["items"]
    week = league["week"]
    assert {k: league[k] for k in ("tier", "tierTitle", "tiers", "cohort", "members", "rank", "score", "zone", "results")} == {
        "tier": 1, "tierTitle": "Bronze", "tiers": 2, "cohort": 0, "members": 3, "rank": 1, "score": 30,
        "zone": "promotion", "results": [],
    }  # fmt: skip
    later = datetime.now(UTC) + timedelta(days=8)
    await Rollover(questline.settings.dsn, ProgramCache(), lambda: later, EventIds().new).run_once()
    await questline.drain()
    profile = await app.profile("u2")
    assert profile["leagues"][0]["results"] == [
        {"week": week, "tier": 1, "cohort": 0, "score": 30, "rank": 1, "outcome": "promoted"}
    ]
    assert profile["seasons"] == [
        {"season": "now", "title": "", "start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z", "ended": False,
         "places": [{"board": "xp", "rank": 1, "score": 30}]}
    ]  # fmt: skip
    newest = (await app.get("/v1/users/u2/history?limit=1")).json()["items"][0]
    assert (newest["type"], newest["status"]) == ("$league_result", "processed")
    assert newest["changes"][0]["after"] == {"tier": 2, "week": week, "rank": 1, "outcome": "promoted"}


async def test_a_seasons_board_is_read_by_its_period_key(questline: Instance) -> None:
    app = await questline.app(SERVED)
    for n in range(3):
        await app.send("task", f"u{n}", {"points": 10 * (n + 1)}, headers={"Prefer": "wait=5"})
    for path in ("metric=xp&periodKey=now", "metric=XP&periodKey=now", "metric=xp", "metric=XP"):
        page = (await app.get(f"/v1/leaderboards?{path}&userId=u0")).json()
        assert (page["board"], page["period"], page["periodKey"], page["total"]) == ("xp", "season", "now", 3)
        assert ([e["userId"] for e in page["entries"]], page["me"]["rank"]) == (["u2", "u1", "u0"], 3)
    assert (await app.get("/v1/leaderboards?metric=tasks&periodKey=now")).json()["code"] == "board-not-found"
    assert (await app.get("/v1/leaderboards?metric=xp&periodKey=then")).json()["code"] == "invalid-parameter"
