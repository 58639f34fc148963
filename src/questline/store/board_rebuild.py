"""The rows behind a rebuild of a project's boards; see control/board_rebuild.py for what it does."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Connection

from questline.model.event import Event
from questline.model.limits import BOARD_PART_ENTRIES
from questline.store import board_copies
from questline.store.boards import BoardRows
from questline.store.statements import statements

SQL = statements("board_rebuild")
_FETCHED = 5_000  # rows of a cursor held at a time
_SECONDS_MAX = 3_600.0  # of one statement: they go over whole boards, and a request's limit is not meant for them
_decode_payload = msgspec.json.Decoder(dict[str, Any]).decode


class WrongEntry(msgspec.Struct, frozen=True):
    """An entry that differs from the ledger or the events; None: there is (or there should be) none.

    A rest is what the score leaves out, in billionths of a point; None: nothing.
    """

    board: str
    period: str
    user_id: int
    score: int | None
    reached_at: datetime | None
    rest: int | None
    found_score: int | None
    found_reached_at: datetime | None
    found_rest: int | None
    user: str | None

    def __str__(self) -> str:
        due, found = _said(self.score, self.reached_at), _said(self.found_score, self.found_reached_at)
        return f"board {self.board}, {self.period}, user {self.user}: has {found}, should have {due}"


class WrongCount(msgspec.Struct, frozen=True):
    """A range of scores whose count is not the number of its entries."""

    board: str
    period: str
    bucket: int
    part: int
    entries: int
    counted: int

    def __str__(self) -> str:
        where = f"board {self.board}, {self.period}, range {self.bucket}.{self.part}"
        return f"{where}: {self.entries} entries are counted as {self.counted}"


def _said(score: int | None, reached_at: datetime | None) -> str:
    return "no entry" if score is None or reached_at is None else f"{score} since {reached_at:%Y-%m-%dT%H:%M:%SZ}"


async def open_gathering(conn: Connection) -> None:
    """Make the temporary table that `gather` fills; it goes with the transaction."""
    await conn.execute(SQL["open"])


async def gather(conn: Connection, rows: BoardRows) -> None:
    """Add rows to what is gathered. Of one entry several may come if their points add up, else only one."""
    records = [
        (board, period, user_id, points, at, rest)
        for (_, board, period, user_id), (_, points, at, rest) in rows.sorted_rows()
    ]
    await conn.copy_records_to_table(
        "board_gathered", records=records, columns=["board", "period", "user_id", "points", "reached_at", "rest"]
    )


async def earned(
    conn: Connection, project_id: int, currencies: Sequence[str]
) -> AsyncIterator[tuple[int, str, int, datetime]]:
    """Yield (user id, currency, amount, at) of all that was issued to the project's users."""
    async for row in conn.cursor(SQL["earned"], project_id, currencies, prefetch=_FETCHED, timeout=_SECONDS_MAX):
        yield tuple(row)


async def users_after(conn: Connection, project_id: int, user: str, limit: int) -> dict[int, str]:
    """Return the next users by the customer's id, as ids to customer's ids; "" begins."""
    return dict(await conn.fetch(SQL["users_after"], project_id, user, limit))


async def applied_events(
    conn: Connection, project_id: int, user_ids: Sequence[int]
) -> AsyncIterator[tuple[int, Event]]:
    """Yield (user id, event) of the events applied to the users, each user's in the order of receipt."""
    async for row in conn.cursor(SQL["applied_events"], project_id, user_ids, prefetch=_FETCHED, timeout=_SECONDS_MAX):
        user_id, event_id, type_, user, payload, occurred_at, source, schema_version, context, sent_with = row
        yield (
            user_id,
            Event(
                event_id,
                project_id,
                type_,
                user,
                _decode_payload(payload),
                occurred_at,
                source,
                schema_version,
                context=None if context is None else _decode_payload(context),
                sent_with=sent_with,
            ),
        )


async def settle(conn: Connection) -> None:
    """Sum up what was gathered: one row an entry, as it should be."""
    await conn.execute(SQL["settle"], timeout=_SECONDS_MAX)
    await conn.execute(SQL["analyze"], timeout=_SECONDS_MAX)


async def replace(conn: Connection, project_id: int, boards: Sequence[str]) -> int:
    """Put what was settled in the place of the boards' entries, and count anew; return how many entries changed."""
    await show_hidden(conn, project_id)
    await conn.execute(SQL["insert_periods"], project_id, timeout=_SECONDS_MAX)
    changed = 0
    for name in ("delete_surplus", "update_wrong", "insert_missing"):
        arguments = (project_id, boards) if name == "delete_surplus" else (project_id,)
        changed += int((await conn.execute(SQL[name], *arguments, timeout=_SECONDS_MAX)).rpartition(" ")[2])
    await conn.execute(SQL["hide_again"], project_id, timeout=_SECONDS_MAX)
    for name in ("delete_parts", "delete_crowds", "delete_counts"):
        await conn.execute(SQL[name], project_id, boards, timeout=_SECONDS_MAX)
    await board_copies.end_project(conn, project_id)
    await conn.execute(SQL["insert_counts"], project_id, boards, 2 * BOARD_PART_ENTRIES, timeout=_SECONDS_MAX)
    return changed


async def show_hidden(conn: Connection, project_id: int) -> None:
    """Put entries whose users are hidden beside the others: they are to be right as well. Counts are as before."""
    await conn.execute(SQL["show_hidden"], project_id, timeout=_SECONDS_MAX)


async def periods(conn: Connection, project_id: int, boards: Sequence[str]) -> list[tuple[int, str, str]]:
    """Return the periods that boards have entries of: number, board and key."""
    return [tuple(row) for row in await conn.fetch(SQL["periods"], project_id, boards)]


async def wrong_entries(
    conn: Connection, project_id: int, boards: Sequence[str], limit: int, dormant: Sequence[int]
) -> list[WrongEntry]:
    """Return up to `limit` entries that differ from what was settled, but for those of `dormant` periods."""
    arguments = project_id, boards, limit, dormant
    return [WrongEntry(*row) for row in await conn.fetch(SQL["wrong_entries"], *arguments, timeout=_SECONDS_MAX)]


async def wrong_counts(
    conn: Connection, project_id: int, boards: Sequence[str], limit: int, dormant: Sequence[int]
) -> list[WrongCount]:
    """Return up to `limit` ranges whose count is wrong, likewise."""
    arguments = project_id, boards, limit, dormant
    return [WrongCount(*row) for row in await conn.fetch(SQL["wrong_counts"], *arguments, timeout=_SECONDS_MAX)]
