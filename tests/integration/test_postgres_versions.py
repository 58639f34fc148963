"""The schema and its statements on the oldest and the newest PostgreSQL that are supported."""

import asyncio
import re
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import asyncpg
import pytest

from questline.processing.months import Months
from questline.store.migrate import first_id, migrate, missing_partitions, pending
from questline.store.statements import statements

AGGREGATES = sorted(f.name.removesuffix(".sql") for f in files("questline.store").joinpath("sql").iterdir())
NOT_PREPARED = ("CREATE", "DO", "GRANT", "{")  # statements PostgreSQL does not plan


@pytest.mark.parametrize("aggregate", AGGREGATES)
async def test_every_statement_is_understood(any_database: Any, aggregate: str) -> None:
    conn = await asyncpg.connect(any_database.owner_dsn)
    try:
        for name, text in statements(aggregate).items():
            body = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
            if body.startswith(NOT_PREPARED) or "{" in body or ";" in body:
                continue
            try:
                await conn.prepare(text)
            except asyncpg.PostgresError as error:
                if not _is_about_a_temporary_table(error):
                    pytest.fail(f"{aggregate}.{name}: {error}")
    finally:
        await conn.close()


async def test_migrating_again_applies_nothing(any_database: Any) -> None:
    now = datetime.now(UTC)
    assert await migrate(any_database.owner_dsn, now) == []
    conn = await asyncpg.connect(any_database.owner_dsn)
    try:
        assert await pending(conn) == []
        assert await missing_partitions(conn, now) == []
    finally:
        await conn.close()


async def test_an_event_lands_in_the_partition_of_its_month(any_database: Any) -> None:
    now = datetime.now(UTC)
    conn = await asyncpg.connect(any_database.owner_dsn)
    try:
        await conn.execute(
            "INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at) "
            "VALUES ($1, 1, 't', 'u', '{}', now(), now())",
            first_id(now),
        )
        assert await conn.fetchval("SELECT tableoid::regclass::text FROM events") == f"events_{now:%Y_%m}"
    finally:
        await conn.close()


async def test_a_month_that_was_let_slip_does_not_stop_a_migration(any_database: Any) -> None:
    later = datetime(2031, 5, 2, tzinfo=UTC)
    conn = await asyncpg.connect(any_database.owner_dsn)
    try:
        await conn.execute(
            "INSERT INTO events (id, project_id, type, external_user, payload, occurred_at, received_at) "
            "VALUES ($1, 1, 't', 'u', '{}', now(), now())",
            first_id(later),
        )
        await migrate(any_database.owner_dsn, later)
        assert await missing_partitions(conn, later) == ["events_2031_05"]
    finally:
        await conn.close()


def _is_about_a_temporary_table(error: asyncpg.PostgresError) -> bool:
    return isinstance(error, asyncpg.UndefinedTableError) and bool(re.search(r'"board_(gathered|truth)"', str(error)))


async def test_a_worker_makes_the_months_ahead_in_the_applications_role(any_database: Any) -> None:
    later = datetime(2033, 5, 2, tzinfo=UTC)
    months = Months(any_database.app_dsn, lambda: later)
    await asyncio.gather(months.run_once(), months.run_once())  # two workers at once
    conn = await asyncpg.connect(any_database.owner_dsn)
    try:
        assert await missing_partitions(conn, later) == []
    finally:
        await conn.close()
