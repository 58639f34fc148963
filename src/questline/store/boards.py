"""Leaderboards as rows: points added by writers, ranks and pages read, crowded ranges split."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Connection

from questline.model.decision import POINT, BoardMode, BoardPoints
from questline.model.limits import AMOUNT_MAX, BOARD_PART_ENTRIES, BOARD_SHARDS
from questline.store.board_copies import Touched
from questline.store.statements import statements

SQL = statements("boards")

# Classes of advisory locks, so that ours meet nobody else's: a shard is a session's, a stripe of projects is a
# transaction's (shared by writers; alone for a split or a rebuild).
_SHARD_LOCKS = 0x716C6201
STRIPE_LOCKS = 0x716C6202
_STRIPES = 64


Change = tuple[BoardMode, int, datetime, int]
"""What is done to one score: mode, points, the time it was reached, and the rest in billionths of a point."""


class NoFreeShard(Exception):
    """All board shards are taken: more writers than BOARD_SHARDS run at once. Stop some, or raise the limit."""


class EntriesMoved(Exception):
    """Board entries changed under a writer whose caller should have locked their users; repeat the transaction."""


def stripes_of(project_ids: Iterable[int]) -> list[int]:
    """Return the stripes whose locks keep splits and rebuilds of these projects' boards out, in the order to lock them."""
    return sorted({project_id % _STRIPES for project_id in project_ids})


class BoardRows:
    """The columns of one `add_points`: each (project, board, period, user) occurs once, whatever was added."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str, str, int], Change] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, project_id: int, user_id: int, points: Iterable[BoardPoints]) -> None:
        """Add one decision's points; decisions of a user are added in the order they were made."""
        rows = self._rows
        for change in points:
            key = (project_id, change.board, change.period, user_id)
            before = rows.get(key)
            new = (change.mode, change.points, change.at, change.rest)
            rows[key] = new if before is None else merged(before, new)

    def sorted_rows(self) -> list[tuple[tuple[int, str, str, int], Change]]:
        """The rows in the order of the index, which is the order all writers lock in."""
        return sorted(self._rows.items())


class Place(msgspec.Struct, frozen=True):
    """A place in rank order; the page after it begins with the next entry."""

    score: int
    reached_at: datetime
    user_id: int


class RankedEntry(msgspec.Struct, frozen=True):
    """A board entry with its rank by the board's tie policy; `user` is the customer's id, "" for an erased user."""

    rank: int
    project_id: int
    user_id: int
    user: str
    display_name: str | None
    score: int
    reached_at: datetime


class Source(msgspec.Struct, frozen=True):
    """A board period of one project: what a page is read from. Several are ranked side by side."""

    project_id: int
    board_period: int


async def claim_shard(conn: Connection) -> int:
    """Return the lowest shard no other session holds, now held by this one until it ends or unlocks; else NoFreeShard.

    A pool that resets a connection on release frees its shard: claim on a connection that is kept.
    """
    shard = await conn.fetchval(SQL["claim_shard"], _SHARD_LOCKS, BOARD_SHARDS)
    if shard is None:
        raise NoFreeShard(f"all {BOARD_SHARDS} board shards are taken; run fewer writers on one database")
    return int(shard)


async def add_points(conn: Connection, shard: int, rows: BoardRows, touched: Touched | None = None) -> None:
    """Fold `rows` into entries and counts, within the caller's transaction, whose users are locked.

    `shard` is the writer's own, from claim_shard. Adding is order-independent: `add` and `max` end the same in any
    order, `set` follows the engine's order. `touched` is told what changed of boards that have a copy.
    """
    if not rows:
        return
    items = rows.sorted_rows()
    keys: dict[tuple[int, str, str], int] = {}
    for (project_id, board, period, _), _row in items:
        keys.setdefault((project_id, board, period), len(keys))
    numbers = await _resolve(conn, list(keys))
    written, copied, *marks = await conn.fetchrow(
        SQL["add_points"],
        [key[0] for key, _ in items],
        [numbers[keys[key[:3]]] for key, _ in items],
        [key[3] for key, _ in items],
        [row[0].value for _, row in items],
        [max(-AMOUNT_MAX, min(AMOUNT_MAX, row[1])) for _, row in items],
        [row[2] for _, row in items],
        shard,
        2 * BOARD_PART_ENTRIES,
        AMOUNT_MAX,
        numbers,
        [row[3] for _, row in items],
    )
    if written != len(items):
        raise EntriesMoved(
            f"{len(items)} board entries were to be written, {written} were found where they had been read"
        )
    if copied and touched is not None:
        for number, *mark in zip(copied, *marks, strict=True):
            touched.mark(number, *mark)
        on_boards = ((key[0], numbers[keys[key[:3]]], key[3]) for key, _ in items)
        touched.add(user for user in on_boards if touched.has(user[1]))


def merged(before: Change, new: Change) -> Change:
    """Return two changes of one score as one."""
    mode, points, at, rest = new
    if mode is BoardMode.ADD:
        if rest := rest + before[3]:
            carried, rest = divmod(rest, POINT)
            points += carried
        return BoardMode.SET if before[0] is BoardMode.SET else mode, before[1] + points, max(before[2], at), rest
    if mode is BoardMode.MAX and points == before[1]:
        return mode, points, min(before[2], at), rest
    if mode is BoardMode.MAX and points < before[1]:
        return before
    return new


async def lock_alone(conn: Connection, project_id: int) -> None:
    """Keep all writers of the project's boards out until the transaction ends; waits for those under way."""
    await conn.execute(SQL["lock_stripe"], STRIPE_LOCKS, project_id % _STRIPES)


async def split_crowds(conn: Connection, limit: int = 20) -> int:
    """Split up to `limit` ranges that writers reported as crowded, a transaction each; return how many were looked at.

    Ranks stay exact without it, and become slow where very many users share a score.
    """
    crowds = await conn.fetch(SQL["crowds"], limit)
    for crowd in crowds:
        async with conn.transaction():
            await lock_alone(conn, crowd["project_id"])
            await conn.execute(SQL["split_part"], *crowd, BOARD_PART_ENTRIES)
            await conn.execute(SQL["drop_crowd"], *crowd)
    return len(crowds)


async def find_sources(conn: Connection, project_ids: Sequence[int], board: str, period: str) -> list[Source]:
    """Return the board's period in each of the projects that has entries in it."""
    rows = await conn.fetch(SQL["find_periods"], project_ids, board, period)
    return [Source(row["project_id"], row["id"]) for row in rows]


async def global_projects(conn: Connection, organization_id: int, board: str) -> dict[int, str]:
    """Return ids and outside names of the organization's projects whose program opts the board in (GLOBAL)."""
    return dict(await conn.fetch(SQL["global_projects"], organization_id, board))


async def total(conn: Connection, sources: Sequence[Source]) -> int:
    """Return how many entries the sources hold together."""
    return int(await conn.fetchval(SQL["total"], *_columns(sources)))


async def page_after(
    conn: Connection, sources: Sequence[Source], ties: str, after: Place | None, limit: int
) -> list[RankedEntry]:
    """Return up to `limit` entries after a place (None: the top), ranked by `ties`: first, competition or dense."""
    place = (None, None, None) if after is None else (-after.score, after.reached_at, after.user_id)
    return ranked(await conn.fetch(SQL["page_after"], *_columns(sources), ties, *place, limit), ties)


async def page_around(
    conn: Connection, sources: Sequence[Source], ties: str, project_id: int, user: str, neighbours: int
) -> list[RankedEntry]:
    """Return a user's entry amid up to `neighbours` on each side; empty when the user has no entry.

    `user` is the customer's id within `project_id`.
    """
    rows = await conn.fetch(SQL["page_around"], *_columns(sources), ties, project_id, user, neighbours)
    return ranked(rows, ties)


def ranked(rows: Sequence[Any], ties: str) -> list[RankedEntry]:
    """Carry the first row's rank on: `before` entries precede it, `above` is what lies over its score."""
    entries: list[RankedEntry] = []
    rank = 0
    for line, row in enumerate(rows):
        if line == 0:
            before = int(row["before"])
            rank = 1 + (before if ties == "first" else int(row["above"]))
        elif ties == "first":
            rank += 1
        elif row["score"] != entries[-1].score:
            rank = rank + 1 if ties == "dense" else before + line + 1
        entries.append(
            RankedEntry(
                rank=rank,
                project_id=row["project_id"],
                user_id=row["user_id"],
                user=row["external_id"] or "",
                display_name=row["display_name"],
                score=row["score"],
                reached_at=row["reached_at"],
            )
        )
    return entries


async def _resolve(conn: Connection, keys: list[tuple[int, str, str]]) -> list[int]:
    columns = tuple(zip(*keys, strict=True))
    stripes = stripes_of(columns[0])
    numbers = await conn.fetch(SQL["resolve_periods"], STRIPE_LOCKS, stripes, *columns)
    missing = sorted(key for key, number in zip(keys, numbers, strict=True) if number[0] is None)
    if missing:
        await conn.execute(SQL["insert_periods"], *zip(*missing, strict=True))
        numbers = await conn.fetch(SQL["resolve_periods"], STRIPE_LOCKS, stripes, *columns)
    return [number[0] for number in numbers]


def _columns(sources: Sequence[Source]) -> tuple[list[int], list[int]]:
    return [source.project_id for source in sources], [source.board_period for source in sources]
