"""Several statements sent as one: the same rows come back and go in as when each is sent by itself."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from questline.model.limits import PLANS_KEPT_SECONDS
from questline.store import pool, records
from questline.store.pool import Connection, close, connect, open_pool, renew_plans
from questline.store.round_trips import Reads, Writes

ADD_NAMES = "INSERT INTO names (id, name) SELECT * FROM unnest($1::integer[], $2::text[])"
ADD_SUMS = (
    "UPDATE sums s SET amount = s.amount + i.amount FROM unnest($1::integer[], $2::bigint[]) AS i (id, amount) "
    "WHERE s.id = i.id"
)


@pytest.fixture
async def conn(database: Any) -> AsyncIterator[Connection]:
    found = await connect(database.owner_dsn)
    await found.execute("CREATE TEMP TABLE names (id integer PRIMARY KEY, name text)")
    await found.execute(
        "CREATE TEMP TABLE sums (id integer PRIMARY KEY, amount bigint CONSTRAINT not_below CHECK (amount >= 0))"
    )
    await found.execute("INSERT INTO sums VALUES (1, 10), (2, 20)")
    yield found
    await close(found)


async def test_rows_of_any_shape_come_back_from_one_round_trip(conn: Connection) -> None:
    reads, numbers, texts = Reads(), list[object](), list[object]()
    reads.add(
        "-- $1 at most\nSELECT id, amount FROM sums WHERE id <= $1::integer ORDER BY id",
        [2],
        lambda *row: numbers.append(row),
    )
    reads.add(
        "SELECT $1::text, $2::numeric, ARRAY[1, 2]::bigint[], NULL::text",
        ["a", Decimal("1.5")],
        lambda *row: texts.append(row),
    )
    await reads.send(conn)
    assert (numbers, texts) == ([(1, 10), (2, 20)], [("a", Decimal("1.5"), [1, 2], None)])


async def test_nothing_to_read_or_write_asks_nothing() -> None:
    await Reads().send(None)
    await Writes().send(None)


async def test_everything_is_written_and_what_comes_later_sees_it(conn: Connection) -> None:
    writes = Writes()
    writes.add_later("UPDATE names SET name = upper(name) WHERE id = ANY ($1::integer[])", [(1,)])
    writes.add(ADD_NAMES, [(1, "ada"), (2, "bob")])
    writes.add(ADD_SUMS, [(1, 5), (2, -20)])
    writes.add(ADD_NAMES, [])
    await writes.send(conn)
    assert [tuple(row) for row in await conn.fetch("SELECT id, name FROM names ORDER BY id")] == [
        (1, "ADA"),
        (2, "bob"),
    ]
    assert [row[0] for row in await conn.fetch("SELECT amount FROM sums ORDER BY id")] == [15, 0]


async def test_a_violated_constraint_of_one_statement_undoes_all(conn: Connection) -> None:
    writes = Writes()
    writes.add(ADD_NAMES, [(3, "eve")])
    writes.add(ADD_SUMS, [(1, -11)])
    with pytest.raises(asyncpg.CheckViolationError, match="not_below"):
        await writes.send(conn)
    assert await conn.fetchval("SELECT count(*) FROM names") == 0


@pytest.fixture
async def lent(database: Any) -> AsyncIterator[dict[str, Callable[[], AbstractAsyncContextManager[Connection]]]]:
    """How a connection is come by that lives on: one that is kept, and one of a pool."""
    kept = await connect(database.owner_dsn)
    of_pool = await open_pool(database.owner_dsn, max_size=1)

    @asynccontextmanager
    async def once_more() -> AsyncIterator[Connection]:
        await renew_plans(kept)
        yield kept

    yield {"kept": once_more, "of a pool": of_pool.acquire}
    await close(kept)
    await of_pool.close()


@pytest.mark.parametrize("whose", ["kept", "of a pool"])
async def test_a_table_that_was_empty_when_a_statement_was_planned_is_read_by_key_some_seconds_later(
    database: Any, lent: Any, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await connect(database.owner_dsn)
    await owner.execute("VACUUM ANALYZE check_ins")

    async def conditions() -> list[str]:
        async with lent[whose]() as conn:
            plan = await conn.fetch("EXPLAIN EXECUTE days (NULL, NULL, NULL)")
        return [line.strip() for (line,) in plan if "Index Cond" in line]

    async with lent[whose]() as conn:
        await conn.execute(f"PREPARE days (integer[], bigint[], text[]) AS {records.SQL['load_check_ins']}")
    assert await conditions() == []
    await owner.execute("SET session_replication_role = replica")  # users are not needed to tell how a table is read
    await owner.execute("INSERT INTO check_ins SELECT 1, n, 1, now() FROM generate_series(1, 20000) AS n")
    assert await conditions() == []
    later = time.monotonic() + PLANS_KEPT_SECONDS + 1
    monkeypatch.setattr(pool, "time", SimpleNamespace(monotonic=lambda: later))
    found = await conditions()
    assert [line.startswith("Index Cond: ((project_id = i.project_id) AND (user_id = ") for line in found] == [True]
    await owner.execute("TRUNCATE check_ins")
    await close(owner)
