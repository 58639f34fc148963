"""Referral codes and who brought whom, as they are made and read."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from asyncpg import Connection

from questline.model.event import COMMISSION
from questline.model.hashing import command_key_hash
from questline.store.statements import statements

SQL = statements("referrals")


class Friend(msgspec.Struct, frozen=True):
    """Somebody a user brought; `user` is the customer's id."""

    user_id: int
    user: str
    at: datetime
    status: str


class Summary(msgspec.Struct, frozen=True):
    """Who brought a user (None: nobody), how many they brought, how many of these counted."""

    referrer: str | None
    brought: int
    qualified: int


async def code_of(conn: Connection, project_id: int, user_id: int) -> str | None:
    """Return a user's code; None where they have none yet."""
    found: str | None = await conn.fetchval(SQL["code_of"], project_id, user_id)
    return found


async def add_code(conn: Connection, project_id: int, user_id: int, code: str) -> None:
    """Give a user a code, unless it is taken or they have one: ask code_of which it is."""
    await conn.execute(SQL["add_code"], project_id, user_id, code)


async def friends(conn: Connection, project_id: int, user_id: int, after: int, limit: int) -> list[Friend]:
    """Return up to `limit` whom a user brought, after an internal user id."""
    return [Friend(*row) for row in await conn.fetch(SQL["friends"], project_id, user_id, after, limit)]


async def summary(conn: Connection, project_id: int, user_id: int) -> Summary:
    """Return how a user stands among referrals."""
    return Summary(*await conn.fetchrow(SQL["summary"], project_id, user_id))


async def earners(conn: Connection, commissions: Sequence[tuple[int, str]]) -> dict[tuple[int, str], str]:
    """Return the customer's id of who earned each commission, given as (project id, commission with its order).

    Left out are those that nobody earned, and those taken back already whose event is no longer kept.
    """
    projects, names = [project for project, _ in commissions], [name for _, name in commissions]
    hashes = [command_key_hash(COMMISSION, name) for name in names]
    rows = await conn.fetch(SQL["earners"], projects, names, hashes)
    return {(project_id, name): user for project_id, name, user in rows}


async def paid(conn: Connection, commissions: Sequence[tuple[int, str]]) -> list[tuple[int, set[str]]]:
    """Return, with the internal ids of their users, the currencies of commissions that can be taken back."""
    rows = await conn.fetch(SQL["paid"], [project for project, _ in commissions], [name for _, name in commissions])
    return [(user_id, {currency}) for user_id, currency in rows]
