"""Visitors: their events wait until somebody says who they are, and count as of their own time then.

Who is named first stays. From then on, events that name the visitor alone are that user's. Nothing is ever moved from one
user to another: what nobody owned yet finds its owner. What a page says decides about what pages sent alone, because anybody
could have said it: what a server sent waits for a server's word, or for the user's own.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from questline.ingest.accept import Acceptance, Overloaded, Status, Unavailable
from questline.ingest.accepting import Accepting
from questline.model.event import AcceptedEvent, Nonce
from questline.model.hashing import user_hash
from questline.model.limits import ANONYMOUS_EVENTS_AT_ONCE, ANONYMOUS_LINKS_KNOWN
from questline.store import anonymous
from questline.store.accept import Original
from questline.store.anonymous import Link
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import Connection, Pool

log = structlog.get_logger(__name__)

Visitor = tuple[int, str]  # project id, anonymous id
Settled = tuple[dict[str, Link], dict[UUID, Acceptance]]  # by anonymous id; by id, what became of events that wait


class Visitors:
    """Accepts events that may be of visitors, for one process."""

    def __init__(self, pool: Pool, acceptor: Accepting, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._acceptor = acceptor
        self._now = now
        self._known: dict[Visitor, Link] = {}  # each name stays, so what a link says is true for ever

    async def accept(
        self, events: Sequence[AcceptedEvent], *, believed: bool, nonce: Nonce | None = None
    ) -> list[Acceptance]:
        """Store events of one project, or let them wait; return what became of each, in order.

        What waited for a visitor who is named here is stored before. `believed`: a server sends them, or the user whom they
        name. Raises Overloaded or Unavailable; to send all of it again is safe. The nonce of a signed request is burnt with
        its events; where they may be of visitors, who are settled in transactions of their own, before them. Raises Replayed.
        """
        if not any(e.anonymous_id for e in events):
            return await self._acceptor.accept(events, nonce)
        await self._burn(nonce)
        links, waited = await self._settled(events, believed)
        theirs = [_named(e, links) for e in events]
        found = iter(await self._acceptor.accept(ready) if (ready := [e for e in theirs if not e.is_anonymous]) else [])
        return [waited[e.id] if e.is_anonymous else next(found) for e in theirs]

    async def accept_one(self, event: AcceptedEvent, *, believed: bool) -> Acceptance:
        """The same for one event; where nothing must wait, it shares a commit with others of this moment."""
        links: dict[str, Link] = {}
        if event.anonymous_id is not None:
            if event.nonce is not None:
                await self._burn(event.nonce)
                event = msgspec.structs.replace(event, nonce=None)
            links, waited = await self._settled([event], believed)
            if waited:
                return waited[event.id]
        return await self._acceptor.accept_one(_named(event, links))

    async def _burn(self, nonce: Nonce | None) -> None:
        """Burn a nonce where there is room for what the request brings."""
        if nonce is not None:
            if not self._acceptor.takes_many:
                raise Overloaded
            await self._acceptor.burn(nonce)

    async def _settled(self, events: Sequence[AcceptedEvent], believed: bool) -> Settled:
        try:
            return await self._settle(events, believed)
        except TRANSIENT_FAULTS as fault:
            raise Unavailable(str(fault)) from fault

    async def _settle(self, events: Sequence[AcceptedEvent], believed: bool) -> Settled:
        """Return who the visitors are, and what became of the events that must wait, by id."""
        project_id = events[0].project_id
        visitors = {e.anonymous_id for e in events if e.anonymous_id is not None}
        links = {v: self._known[project_id, v] for v in visitors if (project_id, v) in self._known}
        new: dict[str, str] = {}
        unheard: set[str] = set()
        for event in events:
            visitor = event.anonymous_id
            if visitor is None or _is_settled(event, links.get(visitor), believed):
                continue
            unheard.add(visitor)
            if not event.is_anonymous:
                new.setdefault(visitor, event.user)
        if not unheard:
            return links, {}
        asked = sorted(unheard)
        async with self._pool.acquire() as conn, conn.transaction():
            await anonymous.hold(conn, project_id, asked)
            if new:
                name = anonymous.link if believed else anonymous.claim
                await name(conn, project_id, new, self._now())
            linked = await anonymous.links(conn, project_id, asked)
            links |= linked
            waited = await self._wait(conn, [e for e in events if e.is_anonymous and _owner(e, links) is None])
        if linked:
            await self._release(project_id, linked)
        return links, waited

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

    async def _release(self, project_id: int, links: dict[str, Link]) -> None:
        """Accept what waited for these visitors and is somebody's now.

        Repeated after a fault, it accepts nothing twice: each has its key.
        """
        while True:
            events = await anonymous.waiting_of(self._pool, project_id, links, ANONYMOUS_EVENTS_AT_ONCE)
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
        self._known |= {(project_id, visitor): link for visitor, link in links.items()}


def _is_settled(event: AcceptedEvent, link: Link | None, believed: bool) -> bool:
    """Tell whether an event is somebody's, and says nothing new of who its visitor is."""
    if link is None:
        return False
    return link.owner(event.sent_with) is not None if event.is_anonymous else link.user is not None or not believed


def _owner(event: AcceptedEvent, links: dict[str, Link]) -> str | None:
    link = links.get(event.user)
    return None if link is None else link.owner(event.sent_with)


def _named(event: AcceptedEvent, links: dict[str, Link]) -> AcceptedEvent:
    user = _owner(event, links) if event.is_anonymous else None
    if user is None:
        return event
    return msgspec.structs.replace(event, user=user, user_hash=user_hash(event.project_id, user), is_anonymous=False)


def _acceptance(event: AcceptedEvent, original: Original) -> Acceptance:
    if original.event_id == event.id:
        return Acceptance(Status.ACCEPTED, event.id)
    is_same = original.content_hash == event.content_hash
    return Acceptance(Status.DUPLICATE if is_same else Status.REUSED, original.event_id)
