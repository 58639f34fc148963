"""What the tests share: one embedded PostgreSQL a session, and a fresh migrated database for each module."""

import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from questline.store.embedded import EmbeddedPostgres
from questline.store.migrate import migrate
from questline.store.roles import ensure_app_role

_numbers = itertools.count()


class Database:
    """A migrated database of its own, with the DSNs of its owner and of the application's role."""

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self.owner_dsn = server.dsn(name)
        self.app_dsn = server.dsn(name, "questline_app")


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """PostgreSQL 18 from the wheel. fsync is off here alone: no test of durability uses it."""
    with tempfile.TemporaryDirectory(prefix="ql-") as directory:
        server = EmbeddedPostgres(Path(directory), settings={"fsync": "off", "shared_buffers": "128MB"})
        server.start()
        try:
            asyncio.run(_make_template(server))
            yield server
        finally:
            server.stop()


async def _make_template(server: EmbeddedPostgres) -> None:
    conn = await asyncpg.connect(server.dsn("postgres"))
    await conn.execute("CREATE DATABASE questline_template")
    await conn.close()
    await migrate(server.dsn("questline_template"), datetime.now(UTC))
    await ensure_app_role(server.dsn("questline_template"))


@pytest.fixture(scope="module")
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A fresh migrated database, shared by the tests of one module."""
    name = f"test_{next(_numbers)}"
    conn = await asyncpg.connect(postgres.dsn("postgres"))
    await conn.execute(f"CREATE DATABASE {name} TEMPLATE questline_template")
    yield Database(postgres, name)
    await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await conn.close()


def missing_part(what: str) -> None:
    """Skip a test whose part is missing on this machine; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing on this machine")
