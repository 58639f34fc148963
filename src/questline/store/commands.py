"""Commands: stored, keyed and applied in one transaction, and remembered so that a repeat gets the first answer."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.event import AcceptedEvent
from questline.store.accept import add_aliases, forget_intents, in_turn, said_columns, sent_columns
from questline.store.statements import statements

SQL = statements("commands")

PRUNED = "pruned"


class StoredOutcome(msgspec.Struct, frozen=True):
    """How an event ended, as stored; `status` is None while it has not. `trace` as effects.trace_of wrote it.

    PRUNED: it ended so long ago that retention has taken away how.
    """

    status: str | None
    reason: str
    message: str
    trace: dict[str, Any]
    transfers: list[dict[str, Any]]
    program_version: int | None


async def accept(conn: Connection, events: Sequence[AcceptedEvent]) -> set[UUID]:
    """Store the commands whose keys are new, in the caller's transaction; return their ids. Keys must differ."""
    first, later = in_turn(events)
    if later:
        return await accept(conn, first) | await accept(conn, later)
    await forget_intents(conn, events)
    hashes = [e.key_hash for e in events], [e.content_hash for e in events]
    rows = await conn.fetch(SQL["accept"], *said_columns(events), *hashes, *sent_columns(events))
    new = {row[0] for row in rows}
    await add_aliases(conn, [e for e in events if e.id in new])
    return new


async def outcomes(conn: Connection, events: Sequence[tuple[int, UUID]]) -> dict[UUID, StoredOutcome]:
    """Return how the events, given as (project id, event id), ended."""
    rows = await conn.fetch(SQL["outcomes"], [e[0] for e in events], [e[1] for e in events])
    return {row["event_id"]: _outcome(row) for row in rows}


def _outcome(row: Any) -> StoredOutcome:
    transfers = msgspec.json.decode(row["transfers"]) if row["transfers"] else []
    if row["status"] is not None:
        trace = msgspec.json.decode(row["trace"], type=dict[str, Any])
        return StoredOutcome(
            row["status"], row["reason"], trace.get("message", ""), trace, transfers, row["program_version"]
        )
    if row["dead_reason"] is not None:
        return StoredOutcome("failed", row["dead_reason"], row["dead_message"], {}, [], None)
    if row["pruned"]:
        return StoredOutcome(PRUNED, "", "it was received before what is kept: what it did stands", {}, [], None)
    return StoredOutcome(None, "", "", {}, [], None)
