"""What was stored a moment ago: duplicates and replays that a shared cache knows need no statement.

PostgreSQL stays the truth. What is noted here was committed, is believed under the history it was committed in and for
minutes only, which no retention undercuts; whatever is not found is asked of PostgreSQL as always.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

from questline.cache.entries import Entries
from questline.ingest.acceptance import Acceptance, Status
from questline.ingest.meters import IngestMeters
from questline.model.event import AcceptedEvent, Nonce
from questline.model.limits import SEEN_SECONDS, SEEN_SHARE_MIN, SEEN_SHARE_WEIGHT
from questline.store.history import History
from questline.store.ids import milliseconds
from questline.store.nonces import Replayed

Burnt = TypeVar("Burnt")
Settle = Callable[[Sequence[AcceptedEvent]], Awaitable[list[Acceptance]]]

_BURNT = b"1"
_ID_BYTES = 16


class Seen:
    """What processes have stored lately: dedupe keys with their events, and nonces that were burnt."""

    def __init__(self, entries: Entries, history: History, meters: IngestMeters) -> None:
        self._entries = entries
        self._history = history
        self._meters = meters
        self._share = 1.0  # of events that were sent before, in the latest groups

    def doubt(self) -> None:
        """Be told that the database was lost: another may answer next, and what was noted may not be true of it."""
        self._history.doubt()

    async def settle(self, events: Sequence[AcceptedEvent], settle: Settle) -> list[Acceptance]:
        """Return what became of events, in order; those that are not known here are settled by the function given.

        While hardly any event comes twice nothing is looked up, only noted, so that new ones need not wait for the cache.
        """
        line = self._history.line
        if line is None:
            return await settle(events)
        keys = [_key(line, event) for event in events]
        answers = await self._settle(events, keys, settle)
        again = sum([answer.status is not Status.ACCEPTED for answer in answers])
        self._share += SEEN_SHARE_WEIGHT * (again / len(events) - self._share)
        return answers

    async def _settle(self, events: Sequence[AcceptedEvent], keys: Sequence[bytes], settle: Settle) -> list[Acceptance]:
        found = await self._entries.get(keys) if self._share > SEEN_SHARE_MIN else []
        known = {n: value for n, value in enumerate(found) if value is not None}
        results = {n: result for n, value in known.items() if (result := _known(events[n], value)) is not None}
        self._count(events, results)
        rest = [n for n in range(len(events)) if n not in results] if results else range(len(events))
        if rest:
            settled = await settle([events[n] for n in rest] if results else events)
            self._entries.put(_news([events[n] for n in rest], [keys[n] for n in rest], settled), SEEN_SECONDS)
            if not results:
                return settled
            results.update(zip(rest, settled, strict=True))
        return [results[n] for n in range(len(events))]

    async def once(self, nonce: Nonce, burn: Callable[[], Awaitable[Burnt]]) -> Burnt:
        """Return what a request is answered with that burns its nonce and commits; raises Replayed, as `burn` does."""
        line = self._history.line
        if line is None:
            return await burn()
        key = _nonce_key(line, nonce)
        if (await self._entries.get([key]))[0] is not None:
            raise Replayed
        try:
            answer = await burn()
        except Replayed:
            self._entries.put({key: _BURNT}, SEEN_SECONDS)
            raise
        self._entries.put({key: _BURNT}, SEEN_SECONDS)
        return answer

    def _count(self, events: Sequence[AcceptedEvent], results: dict[int, Acceptance]) -> None:
        if not results:
            return
        self._meters.projects.add("accepted", [events[n].project_id for n in results])
        for result in results.values():
            self._meters.events.labels(result.status).inc()
            if result.status is Status.DUPLICATE:
                self._meters.duplicates.labels("cache").inc()


def _key(line: str, event: AcceptedEvent) -> bytes:
    """Return what an event is looked up by: its nonce where it brings one, which must be burnt whatever its key says."""
    if event.nonce is not None:
        return _nonce_key(line, event.nonce)
    return b"%b:%d:%b" % (line.encode(), event.project_id, event.key_hash)


def _nonce_key(line: str, nonce: Nonce) -> bytes:
    return b"%b:n%d:%b" % (line.encode(), nonce.project_id, nonce.hash)


def _known(event: AcceptedEvent, value: bytes) -> Acceptance | None:
    """Return what became of an event that is known; None where an equal intent is meant anew, since its window is over."""
    if event.nonce is not None:
        return Acceptance(Status.REPLAYED, event.id)
    id_ = UUID(bytes=value[:_ID_BYTES])
    if event.window_seconds and milliseconds(id_) <= milliseconds(event.id) - event.window_seconds * 1000:
        return None
    same = value[_ID_BYTES:] == event.content_hash
    return Acceptance(Status.DUPLICATE if same else Status.REUSED, id_)


def _news(events: Sequence[AcceptedEvent], keys: Sequence[bytes], settled: Sequence[Acceptance]) -> dict[bytes, bytes]:
    """Return what was learnt: the keys of new events, and nonces that are burnt, now or before."""
    news: dict[bytes, bytes] = {}
    for event, key, result in zip(events, keys, settled, strict=True):
        if event.nonce is not None:
            if result.status is not Status.FAILED:
                news[key] = _BURNT
        elif result.status is Status.ACCEPTED:
            news[key] = event.id.bytes + event.content_hash
    return news
