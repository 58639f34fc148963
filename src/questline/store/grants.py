"""Grants as they are listed and swept."""

from collections.abc import Collection, Sequence
from datetime import datetime

import msgspec
from asyncpg import Connection

from questline.model.rewards import GrantState
from questline.store.records import given_of, grant_of
from questline.store.statements import statements

SQL = statements("grants")


class GrantRow(msgspec.Struct, frozen=True):
    """A grant and, once it was shown, its coupon code."""

    id: str
    state: GrantState
    code: str | None


class DueGrant(msgspec.Struct, frozen=True):
    """A grant whose time is over; `user` is the customer's id."""

    project_id: int
    id: str
    user: str


async def of_user(
    conn: Connection, project_id: int, user_id: int, before: str, status: str | None, now: datetime, limit: int
) -> list[GrantRow]:
    """Return a user's grants, newest first, before an id; `status` is compared as of `now`."""
    rows = await conn.fetch(SQL["of_user"], project_id, user_id, before, status, now, limit)
    return [GrantRow(id_, grant_of(*columns), code) for id_, *columns, code in rows]


async def owner(conn: Connection, project_id: int, grant: str) -> str | None:
    """Return the customer's id of the user who has a grant; None when there is no such grant."""
    found: str | None = await conn.fetchval(SQL["owner"], project_id, grant)
    return found


async def given(conn: Connection, grants: Sequence[tuple[int, str]]) -> list[tuple[int, set[str]]]:
    """Return, with the internal ids of their users, the currencies that grants gave."""
    rows = await conn.fetch(SQL["given"], [project for project, _ in grants], [grant for _, grant in grants])
    return [(user_id, {one.name for one in given_of(text) if one.kind == "currency"}) for user_id, text in rows]


async def due_of(conn: Connection, now: datetime, limit: int, but: Collection[int]) -> list[int]:
    """Return whose the next `limit` grants are whose time is over; the projects in `but` are passed by."""
    return [row[0] for row in await conn.fetch(SQL["due_of"], now, limit, list(but))]


async def take_due(conn: Connection, now: datetime, limit: int, but: Collection[int] = ()) -> list[DueGrant]:
    """Mark up to `limit` grants whose time is over, in the caller's transaction, and return them: each is taken once.

    The projects in `but` are passed by.
    """
    return [DueGrant(*row) for row in await conn.fetch(SQL["take_due"], now, limit, list(but))]
