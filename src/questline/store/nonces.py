"""Nonces of signed requests: each is burnt once, in the transaction of what its request brought."""

from collections.abc import Sequence
from datetime import datetime

from asyncpg import Connection, Pool

from questline.model.event import Nonce
from questline.model.limits import NONCES_SWEPT_ROWS
from questline.store.statements import statements

SQL = statements("nonces")


class Replayed(Exception):
    """The nonce was burnt before: the request is one that was taken already. Nothing was stored."""


async def burn(conn: Connection | Pool, nonces: Sequence[Nonce]) -> set[bytes]:
    """Burn nonces, and return the hashes of those that were not burnt before. Hashes must differ within a call.

    One that another transaction is about to burn is waited for: it is burnt by whichever commits.
    """
    rows = await conn.fetch(SQL["burn"], *columns(nonces))
    return {row[0] for row in rows}


def columns(nonces: Sequence[Nonce]) -> tuple[list[int], list[bytes], list[datetime]]:
    """Return nonces as the columns that statements take."""
    return [n.project_id for n in nonces], [n.hash for n in nonces], [n.expires_at for n in nonces]


async def sweep(conn: Connection, now: datetime) -> int:
    """Forget a bounded number of nonces whose signatures are too old anyway; return how many."""
    return int((await conn.execute(SQL["sweep"], now, NONCES_SWEPT_ROWS)).rpartition(" ")[2])
