"""Events that Questline itself sends: stored, deduplicated and queued like those of customers."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Connection

from questline.model.decision import FollowUp
from questline.model.event import AcceptedEvent
from questline.model.hashing import command_key_hash, content_hash, user_hash
from questline.store import accept

NewId = Callable[[], UUID]
SOURCE = "questline"

_encode = msgspec.json.Encoder(order="deterministic").encode


def system_event(
    project_id: int, follow_up: FollowUp, new_id: NewId, now: datetime, traceparent: str | None = None
) -> AcceptedEvent:
    """Return the accepted event of a follow-up; under the same key it is stored once, for ever."""
    if follow_up.user is None:
        raise ValueError(f"{follow_up.type} {follow_up.key} is for an earner that nobody has looked up")
    payload = _encode(follow_up.payload)
    return AcceptedEvent(
        id=new_id(),
        project_id=project_id,
        type=follow_up.type,
        user=follow_up.user,
        payload=payload.decode(),
        occurred_at=follow_up.at or now,
        received_at=now,
        key_hash=command_key_hash(follow_up.type, follow_up.key),
        content_hash=content_hash(payload),
        user_hash=user_hash(project_id, follow_up.user),
        idempotency_key=follow_up.key,
        source=SOURCE,
        traceparent=traceparent,
    )


async def send(conn: Connection, events: Sequence[AcceptedEvent]) -> set[UUID]:
    """Store events in the caller's transaction (or in one of their own) and return the ids of those that are new."""
    distinct = {(event.project_id, event.key_hash): event for event in reversed(events)}
    return await accept.accept(conn, sorted(distinct.values(), key=lambda event: event.id)) if distinct else set()
