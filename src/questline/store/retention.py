"""Old rows taken away: whole months by dropping their partitions, the rest in small bounded steps. All as the owner."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

import asyncpg
import msgspec
from asyncpg import Connection

from questline.model.limits import NEEDED_COUNTED_MAX, PRUNE_LOCK_MS
from questline.model.retention import Class, beginning
from questline.store.ids import earliest_id, milliseconds
from questline.store.migrate import PARTITIONED, first_id
from questline.store.statements import statements

SQL = statements("retention")

_PAGES = {
    "keys": SQL["pages_of_keys"],
    "visitors": SQL["pages_of_visitors"],
    "deliveries": SQL["pages_of_deliveries"],
}
_FORGET = {"keys": SQL["forget_keys"], "visitors": SQL["forget_visitors"], "deliveries": SQL["forget_deliveries"]}
_MONTH = re.compile(rf"({'|'.join(PARTITIONED)})_(\d{{4}})_(\d{{2}})")
_TURN = 0x716C7072  # whoever prunes holds this lock
_LONG_SECONDS = 3_600.0  # counting a month, which nobody waits for


class Busy(Exception):
    """A table could not be locked in the short while that others may be kept waiting."""


class Month(msgspec.Struct, frozen=True):
    """A partition, or a table that was one; `rows` is the planner's guess, -1 where it has none."""

    table: str
    name: str
    first: date
    rows: int
    bytes: int
    attached: bool


class Needed(msgspec.Struct, frozen=True):
    """What still needs events of some time, counted up to a bound."""

    waiting: int = 0
    tried_again: int = 0
    dead_letters: int = 0
    held: int = 0
    replays: int = 0

    def __bool__(self) -> bool:
        return any(msgspec.structs.astuple(self))

    def __str__(self) -> str:
        """Say what it is, and what an operator does about it."""
        said = (
            (self.waiting, "wait to be applied: start workers"),
            (self.tried_again, "wait to be tried again"),
            (self.dead_letters, "are dead letters: questline dlq retry, or discard"),
            (self.held, "are held for review: approve or deny them"),
            (self.replays, "replays under way read them"),
        )
        return "; ".join(f"{count:,} {what}" for count, what in said if count)


async def is_owner(conn: Connection) -> bool:
    """Tell whether the connection may drop partitions."""
    owns: bool = await conn.fetchval(SQL["owns"])
    return owns


async def take_turn(conn: Connection) -> bool:
    """Become the one who prunes, until the connection ends; False: somebody else does."""
    taken: bool = await conn.fetchval(SQL["take_turn"], _TURN)
    return taken


async def months(conn: Connection, tables: Sequence[str]) -> list[Month]:
    """Return the partitions of these tables, and what was detached and not dropped, in order of name."""
    found = []
    for row in await conn.fetch(SQL["partitions"], tables):
        table, year, month = _parts(row["name"])
        first = date(int(year), int(month), 1)
        found.append(Month(table, row["name"], first, row["rows"], row["bytes"], row["attached"]))
    return found


async def needed(conn: Connection, low: UUID, high: UUID) -> Needed:
    """Return what still needs events from one id on and below another."""
    return Needed(*await conn.fetchrow(SQL["needed"], low, high, NEEDED_COUNTED_MAX))


async def oldest_needed(conn: Connection) -> UUID | None:
    """Return the first event that anything still needs."""
    found: UUID | None = await conn.fetchval(SQL["oldest_needed"])
    return found


async def detach(conn: Connection, month: Month, class_: Class, end: datetime, now: datetime) -> Needed:
    """Make a month a table of its own, unless something needs its events; that is returned then. Raises Busy.

    Others wait behind us for the locks, so they are had at once or not at all. Notices are needed by nothing.
    """
    names = {"table": month.table, "partition": month.name}
    try:
        async with conn.transaction():
            await conn.execute(SQL["be_brief"], f"{PRUNE_LOCK_MS}ms")
            await conn.execute(SQL["lock"].format(**names))
            await conn.execute(SQL["lock_partition"].format(**names))
            if month.table != "notices":
                low, high = first_id(beginning(month.first)), first_id(end)
                if by := await needed(conn, low, high):
                    return by
            await conn.execute(SQL["detach"].format(**names))
            await conn.execute(SQL["note"], class_.value, end, now)
    except asyncpg.LockNotAvailableError as error:
        raise Busy(month.name) from error
    return Needed()


async def drop(conn: Connection, month: Month) -> None:
    """Drop what was detached."""
    await conn.execute(SQL["drop"].format(partition=checked(month.name)))


async def count(conn: Connection, partition: str) -> int:
    """Return how many rows a partition has, or what was one."""
    rows: int = await conn.fetchval(SQL["count"].format(partition=checked(partition)), timeout=_LONG_SECONDS)
    return rows


async def count_default(conn: Connection, table: str, below: UUID) -> int:
    """Return how many rows of a table's default partition are of events below an id."""
    rows: int = await conn.fetchval(SQL["count_below"].format(**_default(table)), below, timeout=_LONG_SECONDS)
    return rows


async def default_keys(
    conn: Connection, table: str, after: tuple[int, UUID], below: UUID, limit: int
) -> list[tuple[int, UUID]]:
    """Return (project, event) of the next rows of a default partition that are of events below an id."""
    rows = await conn.fetch(SQL["keys_below"].format(**_default(table)), *after, below, limit)
    return [(row[0], row[1]) for row in rows]


async def delete_default(conn: Connection, table: str, keys: Sequence[tuple[int, UUID]]) -> int:
    """Take the rows of these (project, event) out of a default partition, in a transaction of their own."""
    async with conn.transaction():
        await conn.fetchrow(SQL["allow_pruning"])
        done = await conn.execute(SQL["delete"].format(**_default(table)), [k[0] for k in keys], [k[1] for k in keys])
    return int(done.rpartition(" ")[2])


async def sizes(conn: Connection) -> tuple[int, int, int]:
    """Return the bytes of dedupe keys, of visitors' events and of deliveries."""
    keys, visitors, deliveries = await conn.fetchrow(SQL["sizes"])
    return keys, visitors, deliveries


async def count_keys(conn: Connection, below: UUID) -> int:
    """Return how many dedupe keys are of events below an id."""
    rows: int = await conn.fetchval(SQL["count_keys"], below, timeout=_LONG_SECONDS)
    return rows


async def count_visitors(conn: Connection, below: UUID) -> int:
    """Return how many events below an id wait for a visitor's name."""
    rows: int = await conn.fetchval(SQL["count_visitors"], below, timeout=_LONG_SECONDS)
    return rows


async def count_deliveries(conn: Connection, below: UUID) -> int:
    """Return how many settled deliveries are of events below an id."""
    rows: int = await conn.fetchval(SQL["count_deliveries"], below, timeout=_LONG_SECONDS)
    return rows


async def pages(conn: Connection, of: str) -> int:
    """Return how many pages there are to go over, of `keys`, `visitors` or `deliveries`."""
    found: int = await conn.fetchval(_PAGES[of])
    return found


async def forget(conn: Connection, of: str, page: int, pages: int, below: UUID) -> int:
    """Forget what is of events below an id on some pages, in a transaction of its own; `of` as above."""
    async with conn.transaction():
        await conn.fetchrow(SQL["allow_pruning"])
        done = await conn.execute(_FORGET[of], (page, 0), (page + pages, 0), below)
    return int(done.rpartition(" ")[2])


async def note(conn: Connection, class_: Class, before: datetime | None, now: datetime) -> None:
    """Remember before when what was received may be gone; without that, that a class was gone over to its end."""
    await conn.execute(SQL["note"], class_.value, before, now)


async def pruned_before(conn: Connection, class_: Class) -> datetime | None:
    """Return before when what was received may be gone; None: nothing is."""
    found: datetime | None = await conn.fetchval(SQL["pruned"], class_.value)
    return found


async def may_be_gone(conn: Connection, event_id: UUID) -> bool:
    """Tell whether an event of this id, if there was one, may have been pruned."""
    before = await pruned_before(conn, Class.EVENTS)
    return before is not None and milliseconds(event_id) < int(before.timestamp() * 1000)


async def last_run(conn: Connection, classes: Sequence[Class]) -> datetime | None:
    """Return when all of these were gone over; None: one never was."""
    found: datetime | None = await conn.fetchval(SQL["last_run"], [c.value for c in classes])
    return found


async def organizations(conn: Connection) -> list[int]:
    """Return the ids of all organizations."""
    return [row[0] for row in await conn.fetch(SQL["organizations"])]


def below(at: datetime) -> UUID:
    """Return what the ids of all events received before an instant lie below."""
    return earliest_id(int(at.timestamp() * 1000))


def _default(table: str) -> dict[str, str]:
    return {"partition": checked(f"{table}_default"), "id": "id" if table == "events" else "event_id"}


def _parts(name: str) -> tuple[str, str, str]:
    found = _MONTH.fullmatch(name)
    if found is None:
        raise ValueError(f"{name} is no partition of ours")
    return found[1], found[2], found[3]


def checked(name: str) -> str:
    """Return a name that may be put into a statement."""
    if name.removesuffix("_default") not in PARTITIONED:
        _parts(name)
    return name
