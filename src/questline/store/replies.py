"""Replies kept under idempotency keys: found by the key, stored in the transaction of what the request changed."""

from datetime import datetime, timedelta

import msgspec
from asyncpg import Connection

from questline.model.limits import REPLIES_KEPT_SECONDS, REPLIES_SWEPT_ROWS
from questline.store.statements import statements

SQL = statements("replies")

Header = tuple[str, str]


class Place(msgspec.Struct, frozen=True):
    """Where a request's reply belongs: its project (0: none), the 16-byte hashes of its key and of what it asks."""

    project_id: int
    key_hash: bytes
    request_hash: bytes


class Reply(msgspec.Struct, frozen=True):
    """An answer; `body` None: it was not kept."""

    status: int
    headers: tuple[Header, ...]
    body: bytes | None


class OtherRequest(Exception):
    """The key belongs to a request that asked for something else."""


async def hold(conn: Connection, place: Place) -> bool:
    """Take a key until the transaction ends; False: another request has it. What is lost with its process frees its keys."""
    held: bool = await conn.fetchval(
        SQL["hold"], place.project_id, int.from_bytes(place.key_hash[:4], "big", signed=True)
    )
    return held


async def find(conn: Connection, place: Place) -> Reply | None:
    """Return what a request was answered before; raises OtherRequest. The key is held, so nothing comes between."""
    row = await conn.fetchrow(SQL["find"], place.project_id, place.key_hash)
    if row is None:
        return None
    if row["request_hash"] != place.request_hash:
        raise OtherRequest
    return Reply(row["status"], msgspec.json.decode(row["headers"], type=tuple[Header, ...]), row["body"])


async def keep(conn: Connection, place: Place, reply: Reply, now: datetime) -> None:
    """Keep a reply, in the transaction of what it tells of."""
    headers = msgspec.json.encode(reply.headers).decode()
    await conn.execute(
        SQL["keep"], place.project_id, place.key_hash, place.request_hash, reply.status, headers, reply.body, now
    )


async def sweep(conn: Connection, now: datetime) -> int:
    """Forget a bounded number of replies that have been kept long enough; return how many."""
    before = now - timedelta(seconds=REPLIES_KEPT_SECONDS)
    return int((await conn.execute(SQL["sweep"], before, REPLIES_SWEPT_ROWS)).rpartition(" ")[2])
