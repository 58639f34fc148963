"""Rows of partitions as an archive keeps them: which columns, and read page by page."""

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.limits import ARCHIVE_ROWS_AT_ONCE
from questline.store.migrate import PARTITIONED
from questline.store.retention import checked
from questline.store.statements import statements

SQL = statements("archive")


class Kind(StrEnum):
    """What a column of an archive holds; ids and JSON are text, so that everything can read them."""

    TEXT = "text"
    ID = "id"
    JSON = "json"
    TIME = "time"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"


class Column(msgspec.Struct, frozen=True):
    """One column of a file; `nullable` where it may say nothing."""

    name: str
    kind: Kind
    nullable: bool = False


def _columns(*given: tuple[str, Kind] | tuple[str, Kind, bool]) -> tuple[Column, ...]:
    return tuple(Column(*column) for column in (("project", Kind.TEXT), ("project_id", Kind.INT32), *given))


COLUMNS: dict[str, tuple[Column, ...]] = {
    "events": _columns(
        ("id", Kind.ID), ("type", Kind.TEXT), ("external_user", Kind.TEXT), ("payload", Kind.JSON),
        ("occurred_at", Kind.TIME), ("received_at", Kind.TIME), ("external_id", Kind.TEXT, True),
        ("source", Kind.TEXT, True), ("schema_version", Kind.TEXT, True), ("spec_version", Kind.TEXT, True),
        ("partition_key", Kind.TEXT, True), ("correlation_id", Kind.TEXT, True), ("context", Kind.JSON, True),
        ("sent_with", Kind.TEXT, True), ("traceparent", Kind.TEXT, True),
    ),
    "attempts": _columns(
        ("event_id", Kind.ID), ("number", Kind.INT16), ("status", Kind.TEXT), ("reason", Kind.TEXT),
        ("message", Kind.TEXT, True), ("duration_us", Kind.INT32), ("attempted_at", Kind.TIME),
    ),
    "decisions": _columns(
        ("event_id", Kind.ID), ("user_id", Kind.INT64), ("status", Kind.TEXT), ("reason", Kind.TEXT),
        ("program_version", Kind.INT32), ("trace", Kind.JSON),
    ),
    "notices": _columns(
        ("event_id", Kind.ID), ("ordinal", Kind.INT16), ("user_id", Kind.INT64), ("type", Kind.TEXT),
        ("data", Kind.JSON), ("occurred_at", Kind.TIME),
    ),
}  # fmt: skip
"""What the files of each table have, in order: its columns, with the project's id outside before them.

`at` is a word of DuckDB's own, so times are called by what they are.
"""

assert set(COLUMNS) == set(PARTITIONED)

_KEY_COLUMNS = {"events": 2, "decisions": 2, "attempts": 3, "notices": 3}
_BEGINNING = (0, UUID(int=0), -1)


async def project_names(conn: Connection) -> dict[int, str]:
    """Return the projects' ids outside by ours."""
    return {row[0]: row[1] for row in await conn.fetch(SQL["projects"])}


async def rows(conn: Connection, table: str, partition: str, below: UUID) -> AsyncIterator[list[tuple[Any, ...]]]:
    """Yield the rows of a partition that are of events below an id, a bounded number at once, in the order of their keys.

    Each is as COLUMNS says, without the first column. What is added meanwhile may be left out; nothing comes twice.
    """
    width = _KEY_COLUMNS[table]
    text = SQL[table].format(partition=checked(partition))
    key: tuple[Any, ...] = _BEGINNING[:width]
    while True:
        page = await conn.fetch(text, *key, below, ARCHIVE_ROWS_AT_ONCE)
        if page:
            yield [tuple(row) for row in page]
        if len(page) < ARCHIVE_ROWS_AT_ONCE:
            return
        key = tuple(page[-1][:width])
