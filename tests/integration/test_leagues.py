"""Leagues and seasons on a real database: seats under concurrency, rollovers against a naive count, crashes, repeats."""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from questline.model import calendar
from questline.model.event import WaitingEvent
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


class Crash(Exception):
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
        self.shard = -1

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
        shard = await boards.claim_shard(conn)
        for start in range(0, len(events), batch):
            some = events[start : start + batch]
            async with conn.transaction():
                locked = await users.lock(conn, {(e.project_id, e.user): None for e in some})
                await self.applier.apply(conn, shard, some, locked)

    async def drain(self) -> None:
        """Apply what waits in the queue, as a worker would."""
        while waiting := await outbox.claim(self.conn, list(range(64)), 1_000):
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
            """SELECT u.external_id AS user, m.* FROM league_members m JOIN users u ON u.id = m.user_id
            WHERE m.project_id = $1 AND m.week = $2 ORDER BY zone, tier, cohort, rank, m.user_id""",
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
    owner = await asyncpg.connect(database.owner_dsn)
    organization = await owner.fetchval(
        "INSERT INTO organizations (slug, name) VALUES ($1, '') RETURNING id", f"org-{next(_numbers)}"
    )
    project = await owner.fetchval(
        "INSERT INTO projects (organization_id, app_id, name) VALUES ($1, $2, '') RETURNING id",
        organization,
        f"app-{next(_numbers)}",
    )
    conn = await connect(database.app_dsn)
    made = World(database.app_dsn, owner, conn, project)
    await made.put_program(PROGRAM)
    yield made
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
