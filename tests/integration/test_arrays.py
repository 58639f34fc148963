"""Columns encoded as wholes reach PostgreSQL as the driver's own would, and come back as they went."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from questline.store.arrays import ARRAYS
from questline.store.ids import EventIds
from questline.store.pool import Connection, connect

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(timedelta(hours=-9, minutes=-30))])
INSTANTS = st.tuples(st.timedeltas(timedelta(days=-700_000), timedelta(days=2_900_000)), ZONES).map(
    lambda pair: (datetime(2000, 1, 1, tzinfo=UTC) + pair[0]).astimezone(pair[1])
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int2": st.integers(-(2**15), 2**15 - 1),
    "int4": st.integers(-(2**31), 2**31 - 1),
    "int8": st.integers(-(2**63), 2**63 - 1),
    "uuid": st.uuids(),
    "timestamptz": INSTANTS,
    "text": TEXTS,
    "bytea": st.binary(max_size=40),
}


@pytest.fixture(scope="module")
async def conn(database: Any) -> Any:
    opened = await connect(database.app_dsn)
    yield opened
    await opened.close()


@pytest.mark.parametrize("type_", VALUES)
async def test_a_column_comes_back_as_it_went_and_reads_the_same_in_sql(
    conn: Connection, database: Any, type_: str
) -> None:
    plain = await asyncpg.connect(database.app_dsn)
    columns: list[list[Any]] = []

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.none() | VALUES[type_], max_size=9) | st.lists(VALUES[type_], max_size=9))
    def gather(column: list[Any]) -> None:
        columns.append(column)

    gather()
    for column in columns:
        assert list(await conn.fetchval(f"SELECT $1::{type_}[]", column)) == column
        as_text = f"SELECT $1::{type_}[]::text"
        assert await conn.fetchval(as_text, column) == await plain.fetchval(as_text, column)
    await plain.close()


async def test_ids_of_ours_and_long_texts_are_encoded_too(conn: Connection) -> None:
    ids = [EventIds().new() for _ in range(3)]
    assert await conn.fetchval("SELECT $1::uuid[]", ids) == [UUID(str(id_)) for id_ in ids]
    texts = ["x" * length for length in (0, 4_095, 4_096, 100_000)]
    assert await conn.fetchval("SELECT $1::text[]", texts) == texts
    assert await conn.fetchval("SELECT array_length($1::json[], 1)", ['{"a":1}', None]) == 2


@pytest.mark.parametrize(
    ("type_", "value"), [("int2", 2**15), ("int4", 2**31), ("int8", "7"), ("text", 7), ("uuid", "x")]
)
async def test_what_does_not_fit_is_refused_and_the_connection_stays_usable(
    conn: Connection, type_: str, value: Any
) -> None:
    with pytest.raises(asyncpg.DataError):
        await conn.fetchval(f"SELECT $1::{type_}[]", [value])
    assert await conn.fetchval("SELECT 1") == 1


async def test_the_numbers_of_the_types_are_those_of_the_server(conn: Connection) -> None:
    rows = await conn.fetch(
        "SELECT oid::bigint, typname FROM pg_type WHERE typname LIKE '\\_%' AND typnamespace = 'pg_catalog'::regnamespace"
    )
    known = {row["oid"]: row["typname"] for row in rows}
    assert {oid: known[oid] for oid in ARRAYS} == {oid: name for oid, (name, _, _) in ARRAYS.items()}
