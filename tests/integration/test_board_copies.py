"""Copies of boards in Redis against PostgreSQL: the same answers whatever happens to them, and by the copy where it can be."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from conftest_api import Instance, until
from conftest_boards import FAULTS, NOW, PACE, TRAFFIC, USERS, World, add, fragile, own_redis, points, world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from questline.assembly import running_api
from questline.cache import ranks as cache_ranks
from questline.control import board_rebuild
from questline.engine.compile import compile_program
from questline.model.decision import BoardMode
from questline.model.limits import BOARD_COPIES_FORGOTTEN_SECONDS, BOARD_COPY_ENTRIES_MIN, BOARD_COPY_WANTED_SECONDS
from questline.model.principal import Project
from questline.outward import board_copies as outward
from questline.outward.board_changes import BoardChanges
from questline.outward.board_copies import BoardCopies, Pace
from questline.settings import Settings
from questline.store import board_copies, boards
from questline.store.board_copies import Touched
from questline.store.boards import BoardRows
from questline.store.pool import connect
from tests.services.redis import RedisServer

__all__ = ["fragile", "own_redis", "world"]


@asynccontextmanager
async def questline_on(settings: Settings, database: Any) -> AsyncIterator[Instance]:
    async with running_api(settings) as app:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60) as http:
            owner = await asyncpg.connect(database.owner_dsn)
            yield Instance(settings, http, owner, app)
            await owner.close()


@given(
    before=st.lists(TRAFFIC, max_size=4),
    during=st.lists(TRAFFIC, max_size=12),
    after=st.lists(st.one_of(TRAFFIC, TRAFFIC, FAULTS), max_size=16),
    dense=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_random_traffic_lost_repeated_and_late_gives_what_postgresql_gives_and_once_quiet_by_the_copy(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    before: list[tuple[Any, ...]],
    during: list[tuple[Any, ...]],
    after: list[tuple[Any, ...]],
    dense: bool,
) -> None:
    monkeypatch.setattr(outward, "BOARD_COPY_PAGE", 2)
    monkeypatch.setattr(cache_ranks, "BOARD_PUSHED_AT_ONCE", 3)
    await world.begin()
    for act in (("points", 0, BoardMode.ADD, [(user, 5, 0) for user in range(6)]), *before):
        await world.play(act)
    await world.compare(ties="dense" if dense else "first")
    left = iter(during)

    async def between() -> None:
        for act in itertools.islice(left, 3):
            await world.play(act)
            await world.compare(user="user-3", neighbours=2)

    world.ranks.between = between
    await world.look()
    world.ranks.between = None
    for act in after:
        await world.play(act)
        await world.compare(ties="competition", user="user-3", neighbours=2)
    await world.deliver()
    await world.look()
    await world.look()
    assert await world.is_by_copy()
    assert await world.is_by_copy("dense") or not dense
    await world.compare_all()


async def test_a_change_that_never_comes_leaves_the_answers_to_postgresql_until_the_copy_is_made_again(
    world: World,
) -> None:
    await world.write(0, add(9, 7, 7, 4))
    await world.copied()
    await world.write(1, add(0, 5))  # its worker dies here, after the commit
    await world.ranks.push((await world.write(1, add(0, 0, 1)))[0])
    assert not await world.is_by_copy()
    await world.look(0.1)
    await world.look(1.0)
    assert not await world.is_by_copy(), "a change may still be on its way"
    await world.look(PACE.behind_seconds)
    assert await world.is_by_copy()
    await world.compare_all()
    assert world.meters.built.labels("behind")._value.get() == 1


async def test_a_change_that_comes_by_halves_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_ranks, "BOARD_PUSHED_AT_ONCE", 2)
    await world.write(0, add(1, 2, 3, 4, 5))
    await world.copied()
    (change,) = await world.write(0, add(9, 8, 7, 6, 5))
    parts = cache_ranks._parts(change.entries)
    half, last = next(parts)
    assert (len(half), last) == (2, False)
    monkeypatch.setattr(cache_ranks, "_parts", lambda _: [(half, False)])
    await world.ranks.push(change)
    assert not await world.is_by_copy()
    monkeypatch.undo()
    await world.ranks.push(change)
    assert await world.is_by_copy()
    monkeypatch.setattr(cache_ranks, "_parts", lambda _: [(half, False)])
    await world.ranks.push(change)  # what was given up arrives after all
    assert await world.is_by_copy()
    await world.compare_all()


@pytest.mark.parametrize("key", ["meta", "marks", "order", "users", "scores"])
async def test_a_key_that_redis_evicted_is_noticed_and_the_copy_made_again(
    world: World, redis_server: RedisServer, key: str
) -> None:
    await world.write(0, add(9, 7, 7, 4))
    await world.copied()
    world.sent += await world.write(0, add(1))
    await world.deliver()
    assert await world.is_by_copy()
    async with Redis.from_url(redis_server.url) as redis:
        (name,) = [name async for name in redis.scan_iter(f"*:{key}") if await redis.exists(name)]
        await redis.delete(name)
    assert not await world.is_by_copy()
    world.sent += await world.write(0, add(1))  # written upon what is left
    await world.deliver()
    assert not await world.is_by_copy()
    await world.look()
    await world.look()
    assert await world.is_by_copy()
    await world.compare_all()


@pytest.mark.parametrize("written", [False, True])
async def test_a_copy_of_a_future_that_postgresql_lost_is_not_read_and_made_again(world: World, written: bool) -> None:
    await world.write(0, add(9, 7, 7, 4))
    await world.copied()
    world.sent += await world.write(0, add(100))
    await world.deliver()
    await world.look(0.1)
    assert await world.is_by_copy()
    await world.write(
        0, [(0, points(BoardMode.SET, 9, 0))]
    )  # as a restore from a backup leaves it: the score, and no mark
    await world.conn.execute("DELETE FROM board_marks WHERE project_id = $1", world.project)
    assert not await world.is_by_copy()
    if written:
        world.sent += await world.write(0, add(0, 3))
        await world.deliver()
        assert not await world.is_by_copy()
        await world.look()
    await world.look()
    assert await world.is_by_copy()
    await world.compare_all()


async def test_a_reader_finds_all_that_was_committed_before_it_asked_and_nothing_that_was_not(world: World) -> None:
    await world.write(0, add(0, 50, 100))
    await world.copied(dense=False)
    changes = BoardChanges(world.meters)
    stop, committed, begun = asyncio.Event(), [0, 0], [0, 0]
    sending = asyncio.create_task(changes.run(world.ranks, stop))
    conns = [await connect(world.dsn) for _ in range(2)]

    async def award(shard: int) -> None:
        for _ in range(150):
            rows, touched = BoardRows(), Touched()
            rows.add(world.project, world.users[shard], [points(BoardMode.ADD, 1, shard)])
            begun[shard] += 1
            async with conns[shard].transaction():
                await boards.add_points(conns[shard], shard, rows, touched)
                told = await touched.changes(conns[shard], shard)
            committed[shard] += 1
            changes.send(told)

    writing = asyncio.gather(*(award(shard) for shard in range(2)))
    reads = 0
    while not writing.done():
        least = list(committed)
        found = await world.read(world.ranks, limit=10)
        most = list(begun)
        scores = {entry.user: entry.score for entry in found.entries}
        assert least[0] <= scores["user-1"] <= most[0]
        assert least[1] <= scores["user-2"] - 50 <= most[1]
        reads += 1
    await writing
    stop.set()
    await sending
    assert (reads > 10, world.by_copy() > 2) == (True, True)
    assert await world.is_by_copy()
    await world.compare_all()
    for conn in conns:
        await conn.close()


@pytest.mark.parametrize("fault", ["killed", "frozen", "emptied"])
async def test_a_redis_that_fails_while_boards_change_costs_no_right_answer_and_is_used_again(
    fragile: World, own_redis: RedisServer, fault: str
) -> None:
    world = fragile
    await world.write(0, add(*range(1, USERS)))
    await world.copied()
    changes, stop = BoardChanges(world.meters, waiting_max=40), asyncio.Event()
    sending = asyncio.create_task(changes.run(world.ranks, stop))
    for round_ in range(30):
        changes.send(await world.write(round_ % 2, add(round_, 1, 2, 3)))
        if round_ == 10:
            {"killed": own_redis.kill, "frozen": own_redis.freeze, "emptied": lambda: None}[fault]()
            if fault == "emptied":
                async with Redis.from_url(own_redis.url) as redis:
                    await redis.flushall()
        await world.compare(user="user-2", neighbours=3)
    if fault == "frozen":
        own_redis.thaw()
    elif fault == "killed":
        own_redis.start()
        own_redis.wait_until_ready()

    async def used_again() -> bool:
        await world.look()
        return await world.is_by_copy("dense")

    await until(used_again)
    changes.send(await world.write(1, add(0, 0, 9)))
    await until(used_again)
    await world.compare_all()
    stop.set()
    await sending


async def test_changes_beyond_what_may_wait_are_dropped_and_counted(fragile: World, own_redis: RedisServer) -> None:
    await fragile.write(0, add(1, 2, 3))
    await fragile.copied()
    own_redis.kill()
    changes = BoardChanges(fragile.meters, waiting_max=9)
    for _ in range(4):
        changes.send(await fragile.write(0, add(1, 2, 3)))
    assert fragile.meters.waiting._value.get() == 8
    assert fragile.meters.dropped._value.get() == 2


async def test_only_one_process_looks_after_copies_and_another_goes_on_when_it_ends(world: World) -> None:
    other = BoardCopies(world.dsn, world.ranks, world.meters, lambda: NOW, PACE, lambda: world.time)
    await world.look()
    await world.write(0, add(1, 2, 3))
    await world.compare()
    await other.run_once()
    assert not await world.is_by_copy()
    await world.copies.close()
    await until_leads(other, world)
    assert await world.is_by_copy()
    await other.close()


async def until_leads(copies: BoardCopies, world: World) -> None:
    async def made() -> bool:
        await copies.run_once()
        return await world.is_by_copy()

    await until(made)


async def test_a_board_that_nobody_reads_any_more_has_no_copy_and_no_marks_are_written_for_it(
    world: World, redis_server: RedisServer
) -> None:
    await world.write(0, add(1, 2, 3))
    await world.copied()
    assert len(await world.write(0, add(1))) == 1
    async with Redis.from_url(redis_server.url) as redis:
        for member in await redis.zrange(world.ranks._wanted_key, 0, -1):
            await redis.zincrby(world.ranks._wanted_key, -BOARD_COPY_WANTED_SECONDS - 1, member)
        await world.look()
        assert [name async for name in redis.scan_iter("*board:*")] == []
    assert await world.write(0, add(1)) == []
    await world.compare_all()


async def test_a_rebuild_goes_past_the_marks_and_so_ends_the_copies(world: World) -> None:
    await world.write(0, add(1, 2, 3))
    await world.copied()
    program = compile_program({"currencies": {"XP": {"kind": "xp"}}, "boards": {"xp": {"currency": "XP"}}}, 1)
    project = Project(world.project, 1, "copied", "Copied", "UTC", 1)
    assert await board_rebuild.rebuild(world.conn, project, program) == 3, "nothing was ever issued"
    assert not await world.is_by_copy()
    assert (await world.read(world.ranks)).total == 0
    await world.write(0, add(4, 5))
    await world.look()
    assert await world.is_by_copy()


async def test_a_small_board_is_left_to_postgresql(world: World) -> None:
    small = BoardCopies(world.dsn, world.ranks, world.meters, lambda: NOW, Pace(entries_min=4))
    await world.write(0, add(1, 2, 3))
    await world.compare()
    await small.run_once()
    assert not await world.is_by_copy()
    await world.write(0, add(1, 2, 3, 4))
    await small.run_once()
    assert await world.is_by_copy()
    await small.close()


async def test_copies_that_nobody_looks_after_end_so_that_writers_need_not_mark(world: World) -> None:
    await world.write(0, add(1, 2, 3))
    await world.copied()
    day = timedelta(seconds=BOARD_COPIES_FORGOTTEN_SECONDS)
    assert await board_copies.end_forgotten(world.conn, NOW + day) == 0
    assert len(await world.write(0, add(1))) == 1
    assert await board_copies.end_forgotten(world.conn, NOW + day + timedelta(seconds=1)) == 1
    assert await world.write(0, add(1)) == []


async def test_over_http_a_large_board_is_read_from_its_copy_with_ones_own_award_at_once(
    database: Any, redis_server: RedisServer
) -> None:
    program = {
        "currencies": {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}},
        "rules": {"run": {"on": "run", "award": {"XP": {"field": "metres"}}}},
        "boards": {"xp": {"currency": "XP", "periods": ["all-time"], "ties": "dense"}},
    }
    async with questline_on(
        Settings(dsn=database.app_dsn, dev=True, redis_url=redis_server.url), database
    ) as questline:
        app = await questline.app(program)
        many = BOARD_COPY_ENTRIES_MIN + 5
        events = [{"type": "run", "userId": f"u{n}", "payload": {"metres": n // 2 + 1}} for n in range(many)]
        for start in range(0, many, 500):
            assert (await app.post("/v1/events/batch", json={"events": events[start : start + 500]})).status_code == 202

        async def board(**asked: Any) -> dict[str, Any]:
            answer = await app.get(
                "/v1/leaderboards", params={"metric": "xp", "userId": "u0", "around": 2, "limit": 3} | asked
            )
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        async def by_copy() -> float:
            page = (await questline.http.get("/metrics")).text
            return sum(
                float(line.split()[-1])
                for line in page.splitlines()
                if line.startswith('questline_board_reads_total{by="copy"}')
            )

        async def answers_by_copy() -> bool:
            before = await by_copy()
            found = await board()
            return (await by_copy()) > before and found["total"] == many

        async with questline.worker():
            await until(answers_by_copy)
            await app.send("run", "u0", {"metres": 10**6}, headers={"Prefer": "wait=10"})
            found = await board()
            assert (found["me"]["rank"], found["me"]["score"], found["entries"][0]["userId"]) == (1, 10**6 + 1, "u0")
            await until(answers_by_copy)
            copied = await board(userId="u7", limit=200)
        async with Redis.from_url(redis_server.url) as redis:
            await redis.flushall()
        assert await board(userId="u7", limit=200) == copied


@given(score=st.integers(-(2**62), 2**62), at=st.datetimes(timezones=st.just(UTC)), user=st.integers(1, 2**63 - 1))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_place_is_the_same_bytes_in_python_and_in_postgresql(
    world: World, score: int, at: datetime, user: int
) -> None:
    place = board_copies.place_of(score, at, user)
    assert await world.conn.fetchval("SELECT board_place($1, $2, $3)", -score, at, user) == place
    assert (board_copies.entry_of(place), board_copies.user_of(place)) == ((score, at), user)
