"""Visitors: their events wait until somebody says who they are, and count as of their own time then.

Who is named first stays. From then on, events that name the visitor alone are that user's. Nothing is ever moved from one
user to another: what nobody owned yet finds its owner.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from questline.ingest.accept import Acceptance, Status, Unavailable
from questline.ingest.accepting import Accepting
from questline.model.event import AcceptedEvent
from questline.model.hashing import user_hash
from questline.model.limits import ANONYMOUS_EVENTS_AT_ONCE, ANONYMOUS_LINKS_KNOWN
from questline.store import anonymous
from questline.store.accept import Original
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import Connection, Pool

log = structlog.get_logger(__name__)

Visitor = tuple[int, str]  # project id, anonymous id
Settled = tuple[dict[str, str], dict[UUID, Acceptance]]  # users by anonymous id; what became of events that wait, by id


class Visitors:
    """Accepts events that may be of visitors, for one process."""

    def __init__(self, pool: Pool, acceptor: Accepting, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._acceptor = acceptor
        self._now = now
        self._known: dict[Visitor, str] = {}  # who is named stays, so this is true for ever

    async def accept(self, events: Sequence[AcceptedEvent]) -> list[Acceptance]:
        """Store events of one project, or let them wait; return what became of each, in order.

        What waited for a visitor who is named here is stored before. Raises Overloaded or Unavailable; to send all of it
        again is safe.
        """
        if not any(e.anonymous_id for e in events):
            return await self._acceptor.accept(events)
        names, waited = await self._settled(events)
        theirs = [_named(e, names) for e in events]
        found = iter(await self._acceptor.accept(ready) if (ready := [e for e in theirs if not e.is_anonymous]) else [])
        return [waited[e.id] if e.is_anonymous else next(found) for e in theirs]

    async def accept_one(self, event: AcceptedEvent) -> Acceptance:
        """The same for one event; where nothing must wait, it shares a commit with others of this moment."""
        names: dict[str, str] = {}
        if event.anonymous_id is not None:
            names, waited = await self._settled([event])
            if waited:
                return waited[event.id]
        return await self._acceptor.accept_one(_named(event, names))

    async def _settled(self, events: Sequence[AcceptedEvent]) -> Settled:
        try:
            return await self._settle(events)
        except TRANSIENT_FAULTS as fault:
            raise Unavailable(str(fault)) from fault

    async def _settle(self, events: Sequence[AcceptedEvent]) -> Settled:
        """Return who the visitors are, and what became of the events that must wait, by id."""
        project_id = events[0].project_id
        visitors = {e.anonymous_id for e in events if e.anonymous_id is not None}
        names = {v: self._known[project_id, v] for v in visitors if (project_id, v) in self._known}
        if len(names) == len(visitors):
            return names, {}
        new: dict[str, str] = {}
        for event in events:
            if event.anonymous_id is not None and not event.is_anonymous:
                new.setdefault(event.anonymous_id, event.user)
        unheard = sorted(visitors - names.keys())
        async with self._pool.acquire() as conn, conn.transaction():
            await anonymous.hold(conn, project_id, unheard)
            if named_now := {visitor: user for visitor, user in new.items() if visitor not in names}:
                await anonymous.link(conn, project_id, named_now, self._now())
            linked = await anonymous.links(conn, project_id, unheard)
            names |= linked
            waited = await self._wait(conn, [e for e in events if e.is_anonymous and e.user not in names])
        if linked:
            await self._release(project_id, linked)
        return names, waited

    async def _wait(self, conn: Connection, events: Sequence[AcceptedEvent]) -> dict[UUID, Acceptance]:
        first_of: dict[bytes, AcceptedEvent] = {}
        for event in events:
            first_of.setdefault(event.key_hash, event)
        if not first_of:
            return {}
        new = await anonymous.wait(conn, list(first_of.values()))
        lost = [key for key, e in first_of.items() if e.id not in new]
        known = await anonymous.waiting_as(conn, events[0].project_id, lost) if lost else {}
        if len(known) < len(lost):  # it found its owner between the two statements: next time it is a duplicate
            raise Unavailable("an event of the same key has just been released")
        originals = {key: Original(e.id, e.content_hash) if e.id in new else known[key] for key, e in first_of.items()}
        return {e.id: _acceptance(e, originals[e.key_hash]) for e in events}

    async def _release(self, project_id: int, names: dict[str, str]) -> None:
        """Accept what waited for these visitors. Repeated after a fault, it accepts nothing twice: each has its key."""
        while True:
            events = await anonymous.waiting_of(self._pool, project_id, names, ANONYMOUS_EVENTS_AT_ONCE)
            if not events:
                break
            results = await self._acceptor.accept(events)
            stored = [e for e, r in zip(events, results, strict=True) if r.status is not Status.FAILED]
            if stored:
                await anonymous.forget(self._pool, project_id, stored)
            if len(stored) < len(events):
                log.error("anonymous.refused", events=len(events) - len(stored))
                break  # they wait on, for the next time that their visitor is named
        if len(self._known) > ANONYMOUS_LINKS_KNOWN:
            self._known.clear()
        self._known |= {(project_id, visitor): user for visitor, user in names.items()}


def _named(event: AcceptedEvent, names: dict[str, str]) -> AcceptedEvent:
    user = names.get(event.user) if event.is_anonymous else None
    if user is None:
        return event
    return msgspec.structs.replace(event, user=user, user_hash=user_hash(event.project_id, user), is_anonymous=False)


def _acceptance(event: AcceptedEvent, original: Original) -> Acceptance:
    if original.event_id == event.id:
        return Acceptance(Status.ACCEPTED, event.id)
    is_same = original.content_hash == event.content_hash
    return Acceptance(Status.DUPLICATE if is_same else Status.REUSED, original.event_id)
