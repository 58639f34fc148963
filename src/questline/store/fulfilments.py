"""Redemptions of the reward store as they are listed."""

import msgspec
from asyncpg import Connection

from questline.model.redemptions import FulfilmentState
from questline.store.records import fulfilment_of
from questline.store.statements import statements

SQL = statements("fulfilments")


class FulfilmentRow(msgspec.Struct, frozen=True):
    """A redemption, the customer's id of its user, and the code it told."""

    id: str
    user: str
    state: FulfilmentState
    code: str | None


async def page(
    conn: Connection, project_id: int, before: str, status: str | None, user: str | None, limit: int
) -> list[FulfilmentRow]:
    """Return redemptions, newest first, before an id."""
    rows = await conn.fetch(SQL["page"], project_id, before, status, user, limit)
    return [FulfilmentRow(id_, owner, fulfilment_of(*columns), code) for owner, code, id_, *columns in rows]


async def owner(conn: Connection, project_id: int, fulfilment: str) -> str | None:
    """Return the customer's id of the user who redeemed; None when there is no such fulfilment."""
    found: str | None = await conn.fetchval(SQL["owner"], project_id, fulfilment)
    return found
