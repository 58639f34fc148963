"""Bring a database to the schema of this release: numbered SQL files, each applied once, each in a transaction."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from uuid import UUID

import asyncpg
import msgspec
from asyncpg import Connection

from questline.model.limits import PARTITION_MONTHS_AHEAD
from questline.store.statements import statements

SQL = statements("migrate")
PARTITIONED = ("events", "attempts", "decisions", "notices")
_LOCK = 0x716C6D69  # one migration at a time, whoever starts it


class MigrationChanged(Exception):
    """An applied migration is not the one in this release; restore the file, and put the change in a new one."""


class Migration(msgspec.Struct, frozen=True):
    """One numbered file."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Return the release's migrations in order."""
    folder = files("questline.store").joinpath("migrations")
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f.name.removesuffix(".sql"), f.read_text(encoding="utf-8")) for f in found]


async def migrate(dsn: str, now: datetime) -> list[str]:
    """Apply what is missing, as the owner, and return the names applied; repeated calls apply nothing.

    Raises MigrationChanged when an applied file differs from the release's.
    """
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute(SQL["lock"], _LOCK)
        await conn.execute(SQL["create_table"])
        done = {row["name"]: row["checksum"] for row in await conn.fetch(SQL["applied"])}
        applied = []
        for migration in migrations():
            if migration.name in done:
                if done[migration.name] != migration.checksum:
                    raise MigrationChanged(f"migration {migration.name} was changed after it had been applied")
                continue
            async with conn.transaction():
                await conn.execute(migration.sql)
                await conn.execute(SQL["record"], migration.name, migration.checksum)
            applied.append(migration.name)
        await ensure_partitions(conn, now)
        return applied
    finally:
        await conn.close()


async def pending(conn: Connection) -> list[str]:
    """Return the names of migrations not yet applied; all of them for an empty database."""
    if not await conn.fetchval(SQL["has_table"]):
        return [m.name for m in migrations()]
    done = {row["name"] for row in await conn.fetch(SQL["applied"])}
    return [m.name for m in migrations() if m.name not in done]


async def ensure_partitions(conn: Connection, now: datetime) -> None:
    """Create the monthly partitions of this month and the next few, where they are missing; any of our roles may.

    A month that was let slip has rows in the default partition; they stay there, and so does what follows in that month.
    """
    for month, _ in _months(now):
        await conn.execute(SQL["make_partitions"], month.date())


async def missing_partitions(conn: Connection, now: datetime) -> list[str]:
    """Return the partitions of this month and the next that do not exist; `questline migrate` makes them."""
    wanted = [f"{table}_{month:%Y_%m}" for month, _ in list(_months(now))[:2] for table in PARTITIONED]
    found = {row["name"] for row in await conn.fetch(SQL["tables_among"], wanted)}
    return [name for name in wanted if name not in found]


def first_id(at: datetime) -> UUID:
    """Return the lowest UUIDv7 of an instant (RFC 9562): its milliseconds, then zeros."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


def _months(now: datetime) -> Iterator[tuple[datetime, datetime]]:
    index = now.year * 12 + now.month - 1
    for number in range(index, index + 1 + PARTITION_MONTHS_AHEAD):
        yield _month(number), _month(number + 1)


def _month(number: int) -> datetime:
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
