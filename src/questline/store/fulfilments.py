"""Redemptions of the reward store as they are listed."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from asyncpg import Connection

from questline.model.deliveries import DeliveryStatus
from questline.model.redemptions import FulfilmentState
from questline.store.records import fulfilment_of, price_of
from questline.store.statements import statements

SQL = statements("fulfilments")


class DeliveryState(msgspec.Struct, frozen=True):
    """How far the message about a redemption is; `due_at` is when it is sent next, or while it is sent, when that ends."""

    status: DeliveryStatus
    tries: int
    answer: str | None
    due_at: datetime
    under_way: bool


class FulfilmentRow(msgspec.Struct, frozen=True):
    """A redemption, the customer's id of its user, the code it told, and the message to the one who fulfils it."""

    id: str
    user: str
    state: FulfilmentState
    code: str | None
    delivery: DeliveryState | None


async def page(
    conn: Connection, project_id: int, before: str, status: str | None, user: str | None, limit: int
) -> list[FulfilmentRow]:
    """Return redemptions, newest first, before an id."""
    rows = await conn.fetch(SQL["page"], project_id, before, status, user, limit)
    return [
        FulfilmentRow(id_, owner, fulfilment_of(*columns), code, _delivery(sent, tries, answer, due_at, under_way))
        for owner, code, sent, tries, answer, due_at, under_way, id_, *columns in rows
    ]


async def owner(conn: Connection, project_id: int, fulfilment: str) -> str | None:
    """Return the customer's id of the user who redeemed; None when there is no such fulfilment."""
    found: str | None = await conn.fetchval(SQL["owner"], project_id, fulfilment)
    return found


async def priced_in(conn: Connection, fulfilments: Sequence[tuple[int, str]]) -> list[tuple[int, set[str]]]:
    """Return, with the internal ids of their users, the currencies of what redemptions cost."""
    rows = await conn.fetch(SQL["prices"], [project for project, _ in fulfilments], [id_ for _, id_ in fulfilments])
    return [(user_id, set(price_of(text))) for user_id, text in rows]


async def delivery(conn: Connection, project_id: int, fulfilment: str) -> DeliveryState | None:
    """Return how far the message about a redemption is, held until the transaction ends; None: there is none."""
    row = await conn.fetchrow(SQL["delivery"], project_id, fulfilment)
    return None if row is None else _delivery(*row)


def _delivery(
    status: str | None, tries: int, answer: str | None, due_at: datetime, under_way: bool
) -> DeliveryState | None:
    return None if status is None else DeliveryState(DeliveryStatus(status), tries, answer, due_at, under_way)
