"""Sightings: which users bore a value that guards compare users by, shared by all users of a project."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import msgspec
from asyncpg import Connection

from questline.model.guards import Sighting, SightingChange, SightingKey
from questline.model.limits import SIGHTINGS_SWEPT_ROWS
from questline.store.round_trips import Writes
from questline.store.statements import statements

SQL = statements("sightings")

ProjectKey = tuple[int, str, bytes]  # project id, guard, hash of the value

_decode_users = msgspec.json.Decoder(tuple[tuple[int, int], ...]).decode
_encode = msgspec.json.encode


async def load(conn: Connection, keys: Collection[ProjectKey], now: datetime) -> dict[int, dict[SightingKey, Sighting]]:
    """Lock the values until the transaction ends and return who bore them, by project.

    All writers lock in the order of the keys, after their users: two users who bear a value at once see each other, and
    none waits for one who waits for it.
    """
    ordered = sorted(set(keys))
    found: dict[int, dict[SightingKey, Sighting]] = {}
    rows = await conn.fetch(SQL["load"], *map(list, zip(*ordered, strict=True)), now)
    for project_id, guard, value_hash, users in rows:
        found.setdefault(project_id, {})[guard, value_hash] = Sighting(_decode_users(users))
    return found


def put(writes: Writes, changes: Mapping[ProjectKey, SightingChange], now: datetime) -> None:
    """Add to what is to be written who bore the values now; the transaction has locked them.

    A value is kept as long from now on as from its latest event: events of long ago that are sent in one go are compared.
    """
    writes.add(
        SQL["put"],
        [
            (
                *key,
                _encode(change.state.users).decode(),
                max(change.at, now) + timedelta(seconds=change.seconds),
            )
            for key, change in changes.items()
        ],
    )


async def sweep(conn: Connection, now: datetime) -> int:
    """Forget a bounded number of values that are not needed any more; return how many."""
    return int((await conn.execute(SQL["sweep"], now, SIGHTINGS_SWEPT_ROWS)).rpartition(" ")[2])
