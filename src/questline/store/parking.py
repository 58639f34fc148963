"""Parked users: an event of theirs failed and is tried again later, and their other events wait for it, outside the queue.

Nobody else waits. A user's row of `users` says that they are parked, so those who lock it know without asking further.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
from asyncpg import Connection

from questline.model.event import WaitingEvent
from questline.model.limits import RETRY_USER_EVENTS, RETRY_USERS_AT_ONCE, RETRY_USERS_SHARED
from questline.model.reasons import Reason
from questline.model.state import UserState
from questline.store.outbox import waiting_event
from questline.store.statements import statements
from questline.store.users import UserKey

SQL = statements("parking")

_MESSAGE_CHARS_MAX = 1_000

UserHash = tuple[int, int]  # project id, hash of the user


class FailedTry(msgspec.Struct, frozen=True):
    """A try that failed and is not the last; the next one is at `due_at`."""

    event: WaitingEvent
    reason: Reason
    message: str
    duration_us: int
    at: datetime
    due_at: datetime


async def set_aside(conn: Connection, events: Sequence[WaitingEvent]) -> None:
    """Take events of parked users out of the queue; the users are locked by this transaction."""
    await conn.execute(
        SQL["set_aside"], [e.partition for e in events], [e.project_id for e in events], [e.seq for e in events]
    )


async def park(conn: Connection, user_id: int, tried: FailedTry) -> None:
    """Note a failed try and park its user, who is locked, in the transaction that took the event."""
    event = tried.event
    await conn.execute(
        SQL["park"],
        event.project_id,
        event.id,
        event.user_hash,
        event.seq,
        user_id,
        event.partition,
        event.tries + 1,
        tried.reason.value,
        detail(tried.message),
        tried.due_at,
        tried.at,
        event.attempt,
        tried.duration_us,
    )


def detail(message: str) -> str:
    """Return a message as it is stored: bounded, and without what PostgreSQL holds in no text."""
    return message[:_MESSAGE_CHARS_MAX].replace("\0", "�")


async def due(conn: Connection, partitions: Sequence[int], now: datetime, bytes_max: int) -> list[WaitingEvent]:
    """Return events that are due to be tried, of some users of each project, each user's in order.

    Their payloads have `bytes_max` bytes at most, or one event alone has more.
    """
    users_max = RETRY_USERS_AT_ONCE, RETRY_USERS_SHARED
    rows = await conn.fetch(SQL["due"], partitions, now, *users_max, RETRY_USER_EVENTS, bytes_max)
    return [waiting_event(row) for row in rows]


async def take(
    conn: Connection, events: Sequence[WaitingEvent], users: Mapping[UserKey, UserState], now: datetime
) -> list[WaitingEvent]:
    """Remove events in this transaction, which holds their users; return those that were still there.

    Users of whom nothing else waits are parked no longer; what else waits of the others is due at once.
    """
    hashes = sorted({(e.project_id, e.user_hash) for e in events})
    await conn.fetch(SQL["hold"], *_columns(hashes))
    rows = await conn.fetch(SQL["take"], [e.project_id for e in events], [e.id for e in events])
    had = {row[0] for row in rows}
    taken = [e for e in events if e.id in had]
    left = {(e.project_id, e.user_hash): users[e.project_id, e.user] for e in taken}
    if left:
        await conn.execute(SQL["go_on"], *_columns(left), now)
        released = {tuple(row) for row in await conn.fetch(SQL["release"], *_columns(left))}
        unparked = [(key[0], user.id) for key, user in left.items() if key in released and user.parked]
        if unparked:
            await conn.execute(SQL["unpark"], [u[0] for u in unparked], [u[1] for u in unparked])
    return taken


async def due_at(conn: Connection, users: Collection[UserHash]) -> dict[UserHash, datetime]:
    """Return when the next try for each of these users is; those who are not parked are left out."""
    rows = await conn.fetch(SQL["due_at"], *_columns(users))
    return {(project_id, user_hash): at for project_id, user_hash, at in rows}


def _columns(hashes: Collection[UserHash]) -> tuple[list[int], list[int]]:
    return [key[0] for key in hashes], [key[1] for key in hashes]
