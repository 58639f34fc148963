"""What became of an event that was to be accepted."""

from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

import msgspec

from questline.ingest.replays import Burning
from questline.model.event import AcceptedEvent
from questline.store.accept import Key, Original


class Overloaded(Exception):
    """More events wait than may, or for longer than they may; nothing of this call was stored. Try again in a second."""


class Unavailable(Exception):
    """The database could not be reached, so whether the event was stored is unknown. Send it again."""


class Status(StrEnum):
    ACCEPTED = "accepted"
    LOGGED = "logged"  # durable in a log that is read later: whether it is a duplicate, nobody knows yet
    DUPLICATE = "duplicate"
    REUSED = "reused"  # the key belongs to an event with other content; nothing was stored
    REPLAYED = "replayed"  # the nonce of its signature was burnt before; nothing was stored
    FAILED = "failed"  # the database refused this event and would again: a defect of ours; nothing was stored


class Acceptance(msgspec.Struct, frozen=True, gc=False):
    """What became of an event; `event_id` is the original's where there is one."""

    status: Status
    event_id: UUID


def first_of(events: Iterable[AcceptedEvent]) -> dict[Key, AcceptedEvent]:
    """Return the first event of each dedupe key."""
    firsts: dict[Key, AcceptedEvent] = {}
    for event in events:
        firsts.setdefault((event.project_id, event.key_hash), event)
    return firsts


def result_of(
    event: AcceptedEvent,
    firsts: dict[Key, AcceptedEvent],
    new: set[UUID],
    known: dict[Key, Original],
    burning: Burning | None,
) -> Acceptance:
    """Return what became of an event, from which ids are new and who held the other keys."""
    key = (event.project_id, event.key_hash)
    if burning is not None and not burning.is_free(event):
        stored = key in known and known[key].event_id == event.id  # by an earlier try of this very request
        return Acceptance(Status.ACCEPTED if stored else Status.REPLAYED, event.id)
    first = firsts[key]
    if first.id in new:
        id_, content = first.id, first.content_hash
    else:
        id_, content = known[key].event_id, known[key].content_hash or event.content_hash
    if id_ == event.id:  # also where an earlier try had stored it
        return Acceptance(Status.ACCEPTED, id_)
    return Acceptance(Status.DUPLICATE if content == event.content_hash else Status.REUSED, id_)
