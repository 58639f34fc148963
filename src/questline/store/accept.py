"""Accepted events: stored with their dedupe keys and their places in the queue, by one statement."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool

from questline.model.event import AcceptedEvent, Nonce
from questline.store.ids import earliest_id, milliseconds
from questline.store.nonces import columns
from questline.store.statements import statements

SQL = statements("accept")

Key = tuple[int, bytes]  # project id, 16-byte hash


class Original(msgspec.Struct, frozen=True, gc=False):
    """The event that holds a dedupe key. `content_hash` None: its content is not known, and any is taken as the same."""

    event_id: UUID
    content_hash: bytes | None


async def accept(pool: Pool | Connection, events: Sequence[AcceptedEvent]) -> set[UUID]:
    """Store the events whose keys are new, queued in the order given, and return their ids. Keys must differ in a call.

    Outside a transaction the statement is its own, and the events are durable when it returns.
    """
    first, later = in_turn(events)
    if later:
        return await accept(pool, first) | await accept(pool, later)
    await forget_intents(pool, events)
    (row,) = await pool.fetch(SQL["accept"], *columns_of(events))
    return {event.id for event in events} if row[0] is None else set(row[0])


async def accept_signed(
    conn: Connection, events: Sequence[AcceptedEvent], claims: Sequence[Nonce]
) -> tuple[set[UUID], set[bytes]]:
    """Do as `accept` does and burn nonces in the same statement; an event is stored if its nonce is burnt by that.

    `claims` are the nonces to burn, each once; an event whose nonce is not among them needs none. Returns the ids of new
    events, and the hashes of nonces that were not burnt before.
    """
    first, later = in_turn(events)
    if later:
        theirs = {event.nonce for event in later}
        new, burnt = await accept_signed(conn, first, [nonce for nonce in claims if nonce not in theirs])
        also_new, also_burnt = await accept_signed(conn, later, [nonce for nonce in claims if nonce in theirs])
        return new | also_new, burnt | also_burnt
    await forget_intents(conn, events)
    claimed = {nonce.hash for nonce in claims}
    needed = [e.nonce.hash if e.nonce is not None and e.nonce.hash in claimed else None for e in events]
    rows = await conn.fetch(SQL["accept_signed"], *columns_of(events), needed, *columns(claims))
    return {id_ for id_, _ in rows if id_ is not None}, {hash_ for _, hash_ in rows if hash_ is not None}


def in_turn(events: Sequence[AcceptedEvent]) -> tuple[Sequence[AcceptedEvent], Sequence[AcceptedEvent]]:
    """Return those that one statement may store, and those whose key an earlier one claims as an alias, for the next.

    Within one statement neither would see the other's key, and one event that was sent under two names would be stored
    twice. Those of the second kind bring no alias themselves, so there is no third. One that turns out to be new is queued
    behind the others: its alias was claimed by an event that reuses another key, which only a client's mistake does.
    """
    aliased = [e for e in events if e.alias_hash is not None]
    if not aliased:  # as it nearly always is
        return events, ()
    claimed: dict[tuple[int, bytes | None], int] = {}
    places = {e.id: place for place, e in enumerate(events)}
    for event in aliased:
        claimed.setdefault((event.project_id, event.alias_hash), places[event.id])
    later = [e for e in events if claimed.get((e.project_id, e.key_hash), len(events)) < places[e.id]]
    if not later:
        return events, ()
    put_off = {e.id for e in later}
    return [e for e in events if e.id not in put_off], later


def columns_of(events: Sequence[AcceptedEvent]) -> list[list[Any]]:
    """Return the arrays that `accept` takes, a column each."""
    return [
        *said_columns(events),
        [e.key_hash for e in events],
        _optional([e.alias_hash for e in events]),
        [e.content_hash for e in events],
        [e.user_hash for e in events],
        *sent_columns(events),
    ]


def said_columns(events: Sequence[AcceptedEvent]) -> list[list[Any]]:
    """Return what events say, as statements take it: arrays from `id` to `correlation_id`, before any hashes."""
    return [
        [e.id for e in events],
        [e.project_id for e in events],
        [e.type for e in events],
        [e.user for e in events],
        [e.payload for e in events],
        [e.occurred_at for e in events],
        [e.received_at for e in events],
        _optional([e.external_id for e in events]),
        _optional([e.source for e in events]),
        _optional([e.schema_version for e in events]),
        _optional([e.spec_version for e in events]),
        _optional([e.partition_key for e in events]),
        _optional([e.correlation_id for e in events]),
    ]


def sent_columns(events: Sequence[AcceptedEvent]) -> list[list[Any]]:
    """Return how events were sent, as statements take it: arrays of `context`, `sent_with` and `traceparent`."""
    return [
        _optional([e.context for e in events]),
        _optional([e.sent_with for e in events]),
        _optional([e.traceparent for e in events]),
    ]


def _optional(column: list[Any]) -> list[Any]:
    """Leave out a column that says nothing: unnest() fills shorter ones up with NULL, for less than it costs to send it."""
    return column if any(column) else []


async def add_aliases(conn: Pool | Connection, events: Sequence[AcceptedEvent]) -> None:
    """Let stored events be found by the customer's event id, where they were keyed by something else.

    The first to claim an alias keeps it. `accept` does this by itself.
    """
    named = [e for e in events if e.alias_hash is not None]
    if named:
        await conn.execute(
            SQL["alias"],
            [e.project_id for e in named],
            [e.alias_hash for e in named],
            [e.id for e in named],
            [e.content_hash for e in named],
        )


async def forget_intents(conn: Pool | Connection, events: Sequence[AcceptedEvent]) -> None:
    """Free the keys that equal intents of earlier windows hold, so that these events can take them."""
    intents = [e for e in events if e.window_seconds]
    if intents:
        intents.sort(key=lambda e: (e.project_id, e.key_hash))
        await conn.execute(
            SQL["forget_intents"],
            [e.project_id for e in intents],
            [e.key_hash for e in intents],
            [earliest_id(milliseconds(e.id) - e.window_seconds * 1000 + 1) for e in intents],
        )


async def originals(conn: Pool | Connection, keys: Sequence[Key]) -> dict[Key, Original]:
    """Return who holds the keys, as far as anybody does."""
    if not keys:
        return {}
    rows = await conn.fetch(SQL["originals"], [k[0] for k in keys], [k[1] for k in keys])
    return {(project_id, key): Original(event_id, content) for project_id, key, event_id, content in rows}
