"""Coupons: codes uploaded to pools, each drawn once, and free again only while nobody has seen it."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.stocks import CodeMove, CodeUse, pool_stock
from questline.store.statements import statements

SQL = statements("coupons")


class CodesMissing(Exception):
    """A pool had fewer codes than its count of them said."""


class Pool(msgspec.Struct, frozen=True):
    """How many codes a pool ever had, and how many of them are drawn."""

    added: int
    drawn: int


class ShownCode(msgspec.Struct, frozen=True, rename="camel"):
    """A code that an event told the user; the holder is a grant or a fulfilment."""

    pool: str
    holder: str
    code: str


async def add(conn: Connection, project_id: int, pool: str, codes: Sequence[str]) -> tuple[int, Pool]:
    """Upload codes in the caller's transaction; return how many were new, and the pool. The rest are there already."""
    await conn.fetchrow(SQL["grow"], project_id, pool_stock(pool), 0)  # locks the pool, as whoever draws does
    new = len(await conn.fetch(SQL["add"], project_id, pool, list(codes)))
    row = await conn.fetchrow(SQL["grow"], project_id, pool_stock(pool), new)
    return new, Pool(row["added"], row["taken"])


async def counts(conn: Connection, project_id: int, pool: str) -> Pool | None:
    """Return a pool's counts; None when nothing was ever uploaded to it."""
    row = await conn.fetchrow(SQL["counts"], project_id, pool_stock(pool))
    return None if row is None else Pool(row["added"], row["taken"])


async def write(conn: Connection, moves: Sequence[tuple[int, UUID, CodeMove]]) -> None:
    """Put back, draw and show codes as a batch decided: (project id, event id, move) in its order."""
    drawn = {(p, m.holder): m.pool for p, _, m in moves if m.use is CodeUse.DRAW}
    returned = []
    for project_id, _, move in moves:
        if move.use is CodeUse.RETURN and drawn.pop((project_id, move.holder), None) is None:
            returned.append((project_id, move.holder))
    shown = [(p, m.holder, event_id) for p, event_id, m in moves if m.use is CodeUse.SHOW]
    if returned:
        await conn.execute(SQL["return"], *map(list, zip(*returned, strict=True)))
    if drawn:
        rows = await conn.fetch(
            SQL["draw"], [p for p, _ in drawn], list(drawn.values()), [holder for _, holder in drawn]
        )
        if len(rows) != len(drawn):
            raise CodesMissing(f"{len(drawn)} codes were to be drawn and {len(rows)} were free")
    if shown:
        await conn.execute(SQL["show"], *map(list, zip(*shown, strict=True)))


async def shown(conn: Connection, events: Sequence[tuple[int, UUID]]) -> dict[UUID, list[ShownCode]]:
    """Return the codes that events, given as (project id, event id), told their users."""
    found: dict[UUID, list[ShownCode]] = {}
    for event_id, *code in await conn.fetch(SQL["shown"], [e[0] for e in events], [e[1] for e in events]):
        found.setdefault(event_id, []).append(ShownCode(*code))
    return found
