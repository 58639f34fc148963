"""Visitors who are not known yet: who they turned out to be, and the events that wait until then."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool, Record

from questline.model.event import PUBLISHABLE, AcceptedEvent
from questline.model.hashing import user_hash, visitor_hash
from questline.store.accept import Original
from questline.store.statements import statements

SQL = statements("anonymous")


class Link(msgspec.Struct, frozen=True, gc=False):
    """Who a visitor is; each name stays once it is there, and one of them is.

    `user` is who a server named first, or who said so themselves. `claimed` is whom a page named before that: nobody
    knows whether it is true, so what pages sent is theirs, and nothing that a server sent.
    """

    user: str | None
    claimed: str | None

    def owner(self, sent_with: str | None) -> str | None:
        """Return whose an event of the visitor is; None: nobody has said so whom that can be taken from."""
        return self.user if sent_with is None else self.claimed or self.user


async def hold(conn: Connection, project_id: int, visitors: Sequence[str]) -> None:
    """Take the visitors until the transaction ends: nobody names them, or lets events of theirs wait, meanwhile."""
    await conn.execute(SQL["hold"], sorted({visitor_hash(project_id, visitor) for visitor in visitors}))


async def link(conn: Connection, project_id: int, names: Mapping[str, str], at: datetime) -> None:
    """Note who visitors are, by anonymous id; the first who was named stays."""
    await conn.execute(SQL["link"], project_id, list(names), list(names.values()), at)


async def claim(conn: Connection, project_id: int, names: Mapping[str, str], at: datetime) -> None:
    """Note whom a page says that visitors are; it counts where nobody was named before."""
    await conn.execute(SQL["claim"], project_id, list(names), list(names.values()), at)


async def links(conn: Connection, project_id: int, visitors: Sequence[str]) -> dict[str, Link]:
    """Return who visitors are, as far as anybody has said."""
    rows = await conn.fetch(SQL["links"], project_id, visitors)
    return {visitor: Link(user, claimed) for visitor, user, claimed in rows}


async def wait(conn: Connection, events: Sequence[AcceptedEvent]) -> set[UUID]:
    """Let events of one project, whose keys differ, wait for their visitors' names; return the ids that are new."""
    rows = await conn.fetch(
        SQL["wait"],
        events[0].project_id,
        [e.user for e in events],
        [e.id for e in events],
        [e.key_hash for e in events],
        [e.content_hash for e in events],
        [e.type for e in events],
        [e.payload for e in events],
        [e.occurred_at for e in events],
        [e.received_at for e in events],
        [e.idempotency_key for e in events],
        [e.correlation_id for e in events],
        [e.context for e in events],
        [e.sent_with for e in events],
    )
    return {row[0] for row in rows}


async def waiting_as(conn: Connection, project_id: int, key_hashes: Sequence[bytes]) -> dict[bytes, Original]:
    """Return the events that wait under these keys."""
    rows = await conn.fetch(SQL["waiting_as"], project_id, key_hashes)
    return {key: Original(event_id, content) for key, event_id, content in rows}


async def waiting_of(pool: Pool, project_id: int, links: Mapping[str, Link], limit: int) -> list[AcceptedEvent]:
    """Return the first events that wait for these visitors and find an owner by their links, in the order of receipt."""
    named = [visitor for visitor, link in links.items() if link.user is not None]
    rows = await pool.fetch(SQL["waiting_of"], project_id, list(links), named, limit)
    return [_released(project_id, links[row["anonymous_id"]], row) for row in rows]


async def forget(pool: Pool, project_id: int, events: Sequence[AcceptedEvent]) -> None:
    """Let events wait no longer: they have been accepted."""
    await pool.execute(SQL["forget"], project_id, [e.anonymous_id for e in events], [e.id for e in events])


def _released(project_id: int, link: Link, row: Record) -> AcceptedEvent:
    user = link.owner(row["sent_with"])
    assert user is not None  # the statement leaves out the others
    return AcceptedEvent(
        row["event_id"], project_id, row["type"], user, row["payload"], row["occurred_at"], row["received_at"],
        row["key_hash"], row["content_hash"], user_hash(project_id, user), row["idempotency_key"],
        correlation_id=row["correlation_id"], context=row["context"], anonymous_id=row["anonymous_id"],
        sent_with=PUBLISHABLE if row["sent_with"] == PUBLISHABLE else None,
    )  # fmt: skip
