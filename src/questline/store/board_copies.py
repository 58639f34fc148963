"""Copies of boards as rows: what writers mark and send, what readers compare, what the projector reads."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.board_copies import Change, Marks
from questline.model.limits import BOARD_COPIES_FORGOTTEN_SECONDS
from questline.store.statements import statements

SQL = statements("board_copies")
_LEAD_LOCK = 0x716C6203
_SIGN = 1 << 63
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECONDS_MAX = 600.0  # of a page of a copy

UserOnBoard = tuple[int, int, int]  # project, board period, user


class Marked(msgspec.Struct):
    """One writer's mark on one copied board."""

    copy: str
    before: int
    stamp: int


class Touched:
    """What one transaction changed of boards that have a copy; empty where none has."""

    def __init__(self) -> None:
        self._marks: dict[int, Marked] = {}
        self._users: dict[UserOnBoard, None] = {}

    def __bool__(self) -> bool:
        return bool(self._marks)

    def mark(self, board_period: int, copy: UUID, before: int, stamp: int) -> None:
        """Add a mark; of several on one board the first has the `before`, the last the stamp."""
        found = self._marks.setdefault(board_period, Marked(str(copy), before, stamp))
        found.stamp = max(found.stamp, stamp)

    def has(self, board_period: int) -> bool:
        """Tell whether a board is copied."""
        return board_period in self._marks

    def add(self, users: Iterable[UserOnBoard]) -> None:
        """Add users whose entries changed."""
        self._users.update(dict.fromkeys(users))

    async def changes(self, conn: Connection, shard: int) -> list[Change]:
        """Return the changes to send once the transaction is committed, with the entries as they are now."""
        if not self._marks:
            return []
        columns = [list(column) for column in zip(*self._users, strict=True)] or [[], [], []]
        entries: dict[int, list[tuple[bytes, bytes]]] = {number: [] for number in self._marks}
        for number, user_id, place in await conn.fetch(SQL["places"], *columns):
            entries[number].append((user_key(user_id), b"" if place is None else place[:16]))
        return [
            Change(mark.copy, shard, mark.before, mark.stamp, tuple(entries[number]))
            for number, mark in self._marks.items()
        ]


class Known(msgspec.Struct, frozen=True):
    """A board period as a reader finds it; `user_id` is the user asked for, None where there is no such user."""

    board_period: int
    copy: str | None
    marks: Marks
    user_id: int | None


class Confirmed(msgspec.Struct, frozen=True):
    """The same a moment later, with the names of users by id: the customer's id ("" for erased ones) and one to show."""

    copy: str | None
    marks: Marks
    names: dict[int, tuple[str, str | None]]


class Copied(msgspec.Struct, frozen=True):
    """A board period that has a copy."""

    project_id: int
    board_period: int
    copy: str
    marks: Marks


def user_key(user_id: int) -> bytes:
    """Return a user as the last 8 bytes of a place: they sort as the numbers do."""
    return (user_id + _SIGN).to_bytes(8, "big")


def user_of(place: bytes) -> int:
    """Return the user of a place."""
    return int.from_bytes(place[16:], "big") - _SIGN


def place_of(score: int, reached_at: datetime, user_id: int) -> bytes:
    """Return an entry as the database's board_place() does."""
    at = (reached_at - _EPOCH) // _MICROSECOND
    return (_SIGN - score).to_bytes(8, "big") + (at + _SIGN).to_bytes(8, "big") + user_key(user_id)


def entry_of(place: bytes) -> tuple[int, datetime]:
    """Return the score of a place, and when it was reached."""
    at = int.from_bytes(place[8:16], "big") - _SIGN
    return _SIGN - int.from_bytes(place[:8], "big"), _EPOCH + timedelta(microseconds=at)


async def mark_users(conn: Connection, shard: int, users: Collection[tuple[int, int]], touched: Touched) -> None:
    """Mark the copied boards on which locked users (project, user) stand or stood, in the caller's transaction."""
    columns = [project_id for project_id, _ in users], [user_id for _, user_id in users]
    for project_id, user_id, number, copy, before, stamp in await conn.fetch(SQL["mark_users"], *columns, shard):
        touched.mark(number, copy, before, stamp)
        touched.add([(project_id, number, user_id)])


async def sight(conn: Connection, project_id: int, board: str, period: str, user: str | None) -> Known | None:
    """Return what a reader has to know before it asks a copy; None: nobody is on the board."""
    row = await conn.fetchrow(SQL["sight"], project_id, board, period, user)
    if row is None:
        return None
    return Known(row["id"], _name(row["copy"]), _marks(row), row["user_id"])


async def confirm(conn: Connection, project_id: int, board_period: int, users: Sequence[int]) -> Confirmed:
    """Return what a reader has to know after it asked a copy."""
    row = await conn.fetchrow(SQL["confirm"], project_id, board_period, users)
    names = zip(row["ids"] or (), row["external_ids"] or (), row["display_names"] or (), strict=True)
    return Confirmed(_name(row["copy"]), _marks(row), {id_: (user or "", shown) for id_, user, shown in names})


async def lead_alone(conn: Connection) -> bool:
    """Be the one who looks after copies until the connection closes; False: another is."""
    return bool(await conn.fetchval(SQL["lead_alone"], _LEAD_LOCK))


async def copies(conn: Connection) -> list[Copied]:
    """Return every copy there is."""
    return [
        Copied(row["project_id"], row["id"], str(row["copy"]), _marks(row)) for row in await conn.fetch(SQL["copies"])
    ]


async def sizes(conn: Connection, boards: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Return how many entries (project, board period) hold, of those that exist."""
    columns = [project_id for project_id, _ in boards], [number for _, number in boards]
    return {(row[0], row[1]): row[2] for row in await conn.fetch(SQL["sizes"], *columns)}


async def begin(conn: Connection, project_id: int, board_period: int, copy: UUID, now: datetime) -> None:
    """Name a new copy, in a transaction that holds the project's stripe alone."""
    await conn.execute(SQL["begin"], project_id, board_period, copy, now)


async def page(conn: Connection, project_id: int, board_period: int, after: int, limit: int) -> list[tuple[int, bytes]]:
    """Return the next (user, place) to copy, by user."""
    rows = await conn.fetch(SQL["page"], project_id, board_period, after, limit, timeout=_SECONDS_MAX)
    return [(user_id, place) for user_id, place in rows]


async def looked_after(conn: Connection, boards: Sequence[tuple[int, int]], now: datetime) -> None:
    """Note that the copies of (project, board period) were looked after."""
    columns = [project_id for project_id, _ in boards], [number for _, number in boards]
    await conn.execute(SQL["looked_after"], *columns, now)


async def end(conn: Connection, project_id: int, board_period: int) -> None:
    """Let a board have no copy."""
    await conn.execute(SQL["end"], project_id, board_period)


async def end_project(conn: Connection, project_id: int) -> None:
    """Let no board of a project have a copy: entries were changed past the marks, in the caller's transaction."""
    await conn.execute(SQL["end_project"], project_id)


async def end_forgotten(conn: Connection, now: datetime) -> int:
    """End copies that nobody looked after for long, since Redis is set no more, and return how many."""
    before = now - timedelta(seconds=BOARD_COPIES_FORGOTTEN_SECONDS)
    return int((await conn.execute(SQL["end_forgotten"], before)).rpartition(" ")[2])


def _name(copy: UUID | None) -> str | None:
    return None if copy is None else str(copy)


def _marks(row: Any) -> Marks:
    return dict(zip(row["shards"] or (), row["stamps"] or (), strict=True))
