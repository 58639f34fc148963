"""Users: locked by those who change them, created by their first event."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec
from asyncpg import Connection, Record

from questline.model.decision import ProfileChange
from questline.model.state import UserState
from questline.store.round_trips import Writes
from questline.store.statements import statements

SQL = statements("users")

UserKey = tuple[int, str]  # project id, customer's user id


async def lock(conn: Connection, keys: Collection[UserKey], free: Collection[UserKey] = ()) -> dict[UserKey, UserState]:
    """Lock the users until the transaction ends, creating those that do not exist, and return them without state.

    Locks are taken in the order of ids, so two callers with the same users wait for, and never block, each other. Raises
    LockNotAvailableError, after which all may be tried again at once, where users were created in between and are in use.

    Those of them that are also in `free` are not waited for: who is held by somebody else is left out.
    """
    if free:  # these come last: who waits for nobody may come out of turn
        firm = [key for key in keys if key not in free]
        users = await _lock(conn, SQL["lock"], firm) if firm else {}
        users.update(await _lock(conn, SQL["lock_free"], [key for key in keys if key in free]))
    else:
        users = await _lock(conn, SQL["lock"], keys)
    missing = [key for key in keys if key not in users]
    if missing:
        rows = await conn.fetch(SQL["create"], [key[0] for key in missing], [key[1] for key in missing])
        users.update(_entry(row) for row in rows)
        late = [key for key in missing if key not in users and key not in free]
        if late:  # somebody else created them between our two statements
            users.update(await _lock(conn, SQL["lock_late"], late))
    return users


def update_profiles(writes: Writes, changes: Mapping[tuple[int, int], ProfileChange]) -> None:
    """Add whole profiles of locked users to what is to be written, by (project id, user id)."""
    writes.add(
        SQL["update_profiles"],
        [
            (
                *key,
                msgspec.json.encode(change.attributes).decode(),
                change.display_name,
                change.timezone,
                msgspec.json.encode(change.zone_history).decode() if change.zone_history else None,
            )
            for key, change in changes.items()
        ],
    )


async def _lock(conn: Connection, statement: str, keys: Collection[UserKey]) -> dict[UserKey, UserState]:
    rows = await conn.fetch(statement, [key[0] for key in keys], [key[1] for key in keys])
    return dict(_entry(row) for row in rows)


def _entry(row: Record) -> tuple[UserKey, UserState]:
    state = state_of(row)
    return (row["project_id"], state.user), state


def state_of(row: Record) -> UserState:
    """Return the state of a row of users, as far as that row tells it."""
    id_, _, external_id, attributes, display_name, timezone, zone_history, blocked_at, parked = row
    return UserState(
        id=id_,
        user=external_id,
        attributes=decode_object(attributes),
        display_name=display_name,
        timezone=timezone,
        zone_history=decode_zone_history(zone_history),
        blocked=blocked_at is not None,
        parked=parked,
    )


def decode_object(text: str) -> dict[str, Any]:
    """Decode a json column that holds an object."""
    return {} if text == "{}" else msgspec.json.decode(text, type=dict[str, Any])


def decode_zone_history(text: str | None) -> tuple[tuple[datetime, str | None], ...]:
    """Decode users.zone_history: (until, zone) pairs, oldest first."""
    return msgspec.json.decode(text, type=tuple[tuple[datetime, str | None], ...]) if text else ()
