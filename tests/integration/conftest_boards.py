"""A board with its writers and its copy in Redis, for tests of copies."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from questline.cache import ranks
from questline.cache.board_meters import BoardMeters
from questline.cache.meters import CacheMeters
from questline.cache.ranks import Ranks
from questline.cache.redis import RedisClient
from questline.control.board_pages import Pages, Wanted, pages
from questline.model.board_copies import Change
from questline.model.decision import BoardMode, BoardPoints
from questline.model.guards import BlockState
from questline.outward.board_copies import BoardCopies, Pace
from questline.store import boards
from questline.store.board_copies import Touched
from questline.store.boards import BoardRows, Place
from questline.store.pool import connect
from questline.store.standing import Standing
from tests.services import running
from tests.services.redis import RedisServer

START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = START + timedelta(days=20)
TIES = ("first", "competition", "dense")
PACE = Pace(entries_min=1, behind_seconds=5.0, again_seconds=0.0)
USERS = 12
LONG = 1_000.0  # seconds of the projector's clock, after which nothing is waited for
_projects = itertools.count(1)

SHARDS, SOMEBODY = st.integers(0, 2), st.integers(0, USERS - 1)
SCORES = st.one_of(
    st.integers(1, 3), st.integers(-200, 200), st.integers(-(2**62), 2**62), st.sampled_from([2**53, 2**53 + 1])
)
ENTRIES = st.lists(st.tuples(SOMEBODY, SCORES, st.integers(0, 4)), min_size=1, max_size=8)
TRAFFIC = st.one_of(
    st.tuples(st.just("points"), SHARDS, st.sampled_from(BoardMode), ENTRIES),
    st.tuples(st.just("points"), SHARDS, st.sampled_from(BoardMode), ENTRIES),
    st.tuples(st.just("hide"), SHARDS, SOMEBODY, st.booleans()),
    st.tuples(st.just("deliver"), st.integers(0, 9)),
    st.tuples(st.just("deliver"), st.integers(0, 9)),
    st.tuples(st.just("repeat"), st.integers(0, 9)),
)
FAULTS = st.one_of(st.tuples(st.just("lose"), st.integers(0, 9)), st.just(("look",)))


class CopyOfBoards(Ranks):
    """Copies; before each part of a filling, `between` is done."""

    between: Callable[[], Awaitable[None]] | None = None

    async def fill(self, copy: str, places: Sequence[bytes]) -> bool:
        if self.between is not None:
            await self.between()
        return await super().fill(copy, places)


class World:
    """One board of one project: its writers, the copies, and the changes that are on their way."""

    def __init__(self, dsn: str, conn: Any, client: RedisClient) -> None:
        self.dsn = dsn
        self.conn = conn
        self.meters = BoardMeters(CollectorRegistry())
        self.ranks = CopyOfBoards(client, self.meters)
        self.time = 0.0
        self.copies = BoardCopies(dsn, self.ranks, self.meters, lambda: NOW, PACE, lambda: self.time)
        self.project = 0
        self.users: list[int] = []
        self.sent: list[Change] = []
        self.hidden: set[int] = set()

    async def begin(self, users: int = USERS) -> None:
        """Another project, whose users are on no board."""
        self.project = next(_projects)
        self.sent, self.hidden = [], set()
        self.ranks.between = None
        await self.conn.execute("UPDATE board_periods SET copy = NULL, copied_at = NULL")
        rows = await self.conn.fetch(
            "INSERT INTO users (project_id, external_id) SELECT $1, 'user-' || n FROM generate_series(1, $2) AS n RETURNING id",
            self.project,
            users,
        )
        self.users = sorted(row[0] for row in rows)

    async def write(
        self, shard: int, points: Sequence[tuple[int, BoardPoints]] = (), hide: dict[int, bool] | None = None
    ) -> list[Change]:
        """Commit points, or who is hidden, and return what is to be sent of it."""
        rows, standing, touched = BoardRows(), Standing(), Touched()
        for user, change in points:
            rows.add(self.project, self.users[user], [change])
        for user, hidden in (hide or {}).items():
            state = BlockState(hidden, hidden, "", NOW)
            blocked = SimpleNamespace(id=self.users[user], blocked=state.blocked)
            decision = SimpleNamespace(records=[SimpleNamespace(state=state)], board_points=())
            standing.add(self.project, blocked, decision)  # type: ignore[arg-type]
        async with self.conn.transaction():
            await standing.restore(self.conn, shard)
            await boards.add_points(self.conn, shard, rows, touched)
            await standing.remove(self.conn, shard, touched)
            return await touched.changes(self.conn, shard)

    async def play(self, act: tuple[Any, ...]) -> None:
        """Play one act of random traffic."""
        match act:
            case ("points", shard, mode, entries):
                shown = [
                    entry for entry in entries if entry[0] not in self.hidden
                ]  # a blocked user's events are refused
                self.sent += await self.write(
                    shard, [(user, points(mode, amount, minute)) for user, amount, minute in shown]
                )
            case ("hide", shard, user, hidden):
                (self.hidden.add if hidden else self.hidden.discard)(user)
                self.sent += await self.write(shard, hide={user: hidden})
            case ("deliver", index) if self.sent:
                await self.ranks.push(self.sent.pop(index % len(self.sent)))
            case ("repeat", index) if self.sent:
                await self.ranks.push(self.sent[index % len(self.sent)])
            case ("lose", index) if self.sent:
                self.sent.pop(index % len(self.sent))
            case ("look",):
                await self.look()

    async def deliver(self) -> None:
        """Let all that was sent arrive."""
        while self.sent:
            await self.ranks.push(self.sent.pop(0))

    async def look(self, later: float = LONG) -> None:
        """Let the projector look, some time after it looked before."""
        self.time += later
        await self.copies.run_once()

    async def read(self, ranks: Ranks | None, **asked: Any) -> Pages:
        wanted = {"ties": "first", "after": None, "limit": 5, "user": None, "neighbours": 0} | asked
        async with self.conn.transaction():
            return await pages(self.conn, ranks, self.project, [self.project], Wanted("xp", "all-time", **wanted))

    async def compare(self, **asked: Any) -> None:
        """Both ways to read give the same."""
        assert await self.read(self.ranks, **asked) == await self.read(None, **asked)

    async def compare_all(self) -> None:
        """Every page from every place, and everybody's neighbours, under every tie policy."""
        everybody = (await self.read(None, limit=1_000)).entries
        places = [None, *(Place(e.score, e.reached_at, e.user_id) for e in everybody[:: max(len(everybody) // 6, 1)])]
        for ties in TIES:
            for after in places:
                await self.compare(ties=ties, after=after, limit=4)
            for user in range(0, len(self.users) + 1, max(len(self.users) // 6, 1)):
                await self.compare(ties=ties, user=f"user-{user}", neighbours=3)
        beyond = Place(-(2**63) + 1, datetime.max.replace(tzinfo=UTC), 2**63 - 1)
        await self.compare(after=beyond)

    def by_copy(self) -> int:
        """How many answers were a copy's."""
        return int(self.meters.reads.labels("copy")._value.get())

    async def is_by_copy(self, ties: str = "first") -> bool:
        before = self.by_copy()
        await self.compare(ties=ties)
        return self.by_copy() > before

    async def copied(self, dense: bool = True) -> None:
        """Have the board read, and copied."""
        await self.compare(ties="dense" if dense else "first")
        await self.look()
        assert await self.is_by_copy()


def points(mode: BoardMode, amount: int, minute: int) -> BoardPoints:
    return BoardPoints("xp", "all-time", mode, amount, START + timedelta(minutes=minute))


def add(*amounts: int) -> list[tuple[int, BoardPoints]]:
    """Points of the first users."""
    return [(user, points(BoardMode.ADD, amount, user)) for user, amount in enumerate(amounts)]


@pytest.fixture
async def world(database: Any, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(ranks, "BOARD_COPY_DEADLINE_SECONDS", 10.0)
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushall()
    async for found in world_on(database.app_dsn, redis_server, deadline_seconds=10):
        yield found


@pytest.fixture
async def own_redis(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    with running(RedisServer(tmp_path)) as own:
        yield own


@pytest.fixture
async def fragile(database: Any, own_redis: RedisServer) -> AsyncIterator[World]:
    """A world whose Redis may be killed."""
    async for found in world_on(database.app_dsn, own_redis, deadline_seconds=1):
        yield found


async def world_on(dsn: str, server: RedisServer, deadline_seconds: float) -> AsyncIterator[World]:
    """A world whose Redis is given longer than users are, since this machine does other things as well."""
    conn = await connect(dsn)
    client = RedisClient(server.url, CacheMeters(CollectorRegistry()), deadline_seconds=deadline_seconds)
    found = World(dsn, conn, client)
    await found.begin()
    yield found
    await found.copies.close()
    await client.close()
    await conn.close()
