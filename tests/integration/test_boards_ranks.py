"""Ranks, pages and counts of boards against a naive sort, on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from questline.model import limits
from questline.model.decision import BoardMode, BoardPoints
from questline.store import boards
from questline.store.boards import BoardRows, Place, RankedEntry, Source
from questline.store.pool import connect

START = datetime(2026, 11, 1, tzinfo=UTC)
TIES = ("first", "competition", "dense")
Change = tuple[int, int, int]  # user, points, minute


@pytest.fixture
def migrated_dsn(database: Any) -> str:
    return database.app_dsn


@pytest.fixture
async def conn(migrated_dsn: str) -> AsyncIterator[Any]:
    connection = await connect(migrated_dsn)
    yield connection
    await connection.close()


def points(mode: BoardMode, amount: int, minute: int, period: str = "all-time") -> BoardPoints:
    return BoardPoints("xp", period, mode, amount, START + timedelta(minutes=minute))


async def play(conn: Any, changes: list[Change], mode: BoardMode, batch: int, shard: int = 0) -> None:
    for start in range(0, len(changes), batch):
        rows = BoardRows()
        for user, amount, minute in changes[start : start + batch]:
            rows.add(1, user, [points(mode, amount, minute)])
        await boards.add_points(conn, shard, rows)


def naive(changes: list[Change], mode: BoardMode) -> list[tuple[int, int, datetime]]:
    """(user, score, reached at) in rank order, by a count that shares nothing with the store."""
    entries: dict[int, tuple[int, int]] = {}
    for user, amount, minute in changes:
        if user not in entries:
            entries[user] = (amount, minute)
            continue
        score, reached = entries[user]
        if mode is BoardMode.ADD:
            entries[user] = (score + amount, max(reached, minute))
        elif mode is BoardMode.MAX and amount == score:
            entries[user] = (score, min(reached, minute))
        elif mode is BoardMode.SET or amount > score:
            entries[user] = (amount, minute)
    rows = [(user, score, START + timedelta(minutes=minute)) for user, (score, minute) in entries.items()]
    return sorted(rows, key=lambda row: (-row[1], row[2], row[0]))


def naive_ranks(rows: list[tuple[int, int, datetime]], ties: str) -> list[int]:
    scores = [row[1] for row in rows]
    match ties:
        case "first":
            return list(range(1, len(rows) + 1))
        case "competition":
            return [1 + sum(other > score for other in scores) for score in scores]
        case _:
            return [1 + len({other for other in scores if other > score}) for score in scores]


def seen(entries: list[RankedEntry]) -> list[tuple[int, int, int, datetime]]:
    return [(e.rank, e.user_id, e.score, e.reached_at) for e in entries]


async def sources(conn: Any) -> list[Source]:
    return await boards.find_sources(conn, [1], "xp", "all-time")


async def counted(conn: Any) -> list[tuple[int, int]]:
    rows = await conn.fetch(
        "SELECT bucket, sum(entries)::bigint FROM board_counts GROUP BY 1 HAVING sum(entries) <> 0 ORDER BY 1"
    )
    return [tuple(row) for row in rows]


async def really_there(conn: Any) -> list[tuple[int, int]]:
    rows = await conn.fetch("SELECT board_bucket(-lead), count(*) FROM board_entries GROUP BY 1 ORDER BY 1")
    return [tuple(row) for row in rows]


SCORES = st.one_of(
    st.integers(1, 3),
    st.integers(-200, 200),
    st.integers(-100_000, 100_000),
    st.integers(-(2**62), 2**62),
    st.sampled_from([127, 128, 129, 255, 256, -127, -128, -129, 2**40, 2**40 + 1]),
)


@given(
    changes=st.lists(st.tuples(st.integers(1, 12), SCORES, st.integers(0, 5)), min_size=1, max_size=60),
    mode=st.sampled_from(BoardMode),
    batch=st.integers(1, 20),
    split=st.booleans(),
    page=st.integers(1, 7),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_ranks_pages_and_counts_are_those_of_a_naive_sort(
    conn: Any,
    monkeypatch: pytest.MonkeyPatch,
    changes: list[Change],
    mode: BoardMode,
    batch: int,
    split: bool,
    page: int,
) -> None:
    if mode is BoardMode.ADD:  # keep sums inside what a score holds
        changes = [(user, amount // 64, minute) for user, amount, minute in changes]
    transaction = conn.transaction()
    await transaction.start()
    try:
        if split:
            monkeypatch.setattr(boards, "BOARD_PART_ENTRIES", 1)
        for half in (changes[: len(changes) // 2], changes[len(changes) // 2 :]):
            await play(conn, half, mode, batch)
            if split:
                await boards.split_crowds(conn, 1_000)
        rows = naive(changes, mode)
        source = await sources(conn)
        assert await counted(conn) == await really_there(conn)
        assert await boards.total(conn, source) == len(rows)
        for ties in TIES:
            expected = [(rank, *row) for rank, row in zip(naive_ranks(rows, ties), rows, strict=True)]
            assert seen(await boards.page_after(conn, source, ties, None, 200)) == expected
            paged: list[RankedEntry] = []
            after = None
            while entries := await boards.page_after(conn, source, ties, after, page):
                paged += entries
                after = Place(entries[-1].score, entries[-1].reached_at, entries[-1].user_id)
            assert seen(paged) == expected
    finally:
        await transaction.rollback()
        monkeypatch.setattr(boards, "BOARD_PART_ENTRIES", limits.BOARD_PART_ENTRIES)


@given(
    changes=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=60),
    neighbours=st.integers(0, 4),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_user_stands_amid_their_neighbours(conn: Any, changes: list[Change], neighbours: int) -> None:
    transaction = conn.transaction()
    await transaction.start()
    try:
        ids = await conn.fetch(
            "INSERT INTO users (project_id, external_id)"
            " SELECT 1, 'u' || n FROM generate_series(1, 30) AS n RETURNING id"
        )
        changes = [(ids[user - 1][0], amount, minute) for user, amount, minute in changes]
        await play(conn, changes, BoardMode.ADD, 10)
        rows = naive(changes, BoardMode.ADD)
        source = await sources(conn)
        for ties in TIES:
            expected = [(rank, *row) for rank, row in zip(naive_ranks(rows, ties), rows, strict=True)]
            for position, row in enumerate(rows):
                name = f"u{row[0] - ids[0][0] + 1}"
                around = await boards.page_around(conn, source, ties, 1, name, neighbours)
                assert seen(around) == expected[max(0, position - neighbours) : position + neighbours + 1]
        assert await boards.page_around(conn, source, "first", 1, "nobody", 3) == []
    finally:
        await transaction.rollback()


@given(
    changes=st.lists(st.tuples(st.integers(1, 4), st.integers(-5, 5), st.integers(0, 9)), min_size=1, max_size=30),
    mode=st.sampled_from([BoardMode.ADD, BoardMode.MAX]),
    data=st.data(),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_adding_and_maximum_end_the_same_in_any_order(
    conn: Any, changes: list[Change], mode: BoardMode, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(changes))
    ends = []
    for order, batch in ((changes, 30), (shuffled, 3)):
        transaction = conn.transaction()
        await transaction.start()
        await play(conn, order, mode, batch)
        ends.append(seen(await boards.page_after(conn, await sources(conn), "first", None, 200)))
        await transaction.rollback()
    assert ends[0] == ends[1]


async def test_a_crowd_of_equals_is_split_and_ranked_exactly(conn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "BOARD_PART_ENTRIES", 4)
    transaction = conn.transaction()
    await transaction.start()
    for start in range(0, 100, 10):  # the crowd grows at its end and in its midst
        await play(conn, [(user, 1000, (user * 7) % 50) for user in range(start, start + 10)], BoardMode.ADD, 10)
        await boards.split_crowds(conn)
    assert await conn.fetchval("SELECT count(*) FROM board_parts") > 10
    assert await conn.fetchval("SELECT max(entries) FROM board_counts") <= 8
    rows = naive([(user, 1000, (user * 7) % 50) for user in range(100)], BoardMode.ADD)
    after = Place(rows[59][1], rows[59][2], rows[59][0])
    page = await boards.page_after(conn, await sources(conn), "first", after, 5)
    assert seen(page) == [(60 + n, *rows[59 + n]) for n in range(1, 6)]
    await transaction.rollback()


async def test_writers_side_by_side_keep_counts_exact(
    migrated_dsn: str, conn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "BOARD_PART_ENTRIES", 2)

    async def write(writer: int) -> int:
        own = await connect(migrated_dsn)
        shard = await boards.claim_shard(own)
        for turn in range(15):
            async with own.transaction():
                changes = [(writer * 100 + n, 1 + (n * turn) % 90, turn) for n in range(40)]
                await play(own, changes, BoardMode.ADD, 40, shard)
        await own.close()
        return shard

    async def split() -> None:
        own = await connect(migrated_dsn)
        while await boards.split_crowds(own) or not done.is_set():
            pass
        await own.close()

    done = asyncio.Event()
    try:
        splitting = asyncio.create_task(split())
        shards = await asyncio.gather(*(write(writer) for writer in range(4)))
        done.set()
        await splitting
        assert len(set(shards)) == 4
        assert await conn.fetchval("SELECT count(*) FROM board_parts") > 0
        assert await counted(conn) == await really_there(conn)
        assert sum(entries for _, entries in await counted(conn)) == 160
    finally:
        await conn.execute("DELETE FROM board_entries; DELETE FROM board_counts; DELETE FROM board_periods")
        await conn.execute("DELETE FROM board_parts; DELETE FROM board_crowds")


async def test_the_next_writer_gets_the_lowest_shard_that_is_free(migrated_dsn: str) -> None:
    first, second = await connect(migrated_dsn), await connect(migrated_dsn)
    a, b = await boards.claim_shard(first), await boards.claim_shard(second)
    await first.close()
    third = await connect(migrated_dsn)
    assert a < b
    while await boards.claim_shard(third) != a:  # the server may take a moment to see that the first has left
        pass
    await second.close()
    await third.close()


async def test_a_writer_without_a_shard_is_told_so(migrated_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "BOARD_SHARDS", 0)
    connection = await connect(migrated_dsn)
    with pytest.raises(boards.NoFreeShard, match="run fewer writers"):
        await boards.claim_shard(connection)
    await connection.close()
