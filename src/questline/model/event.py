"""An event in its two lives: accepted at the edge, and handed to the engine."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from questline.model.limits import PARTITIONS

SPEND = "$spend"
PROFILE_UPDATE = "$profile_update"
BUY = "$buy"
USE = "$use"
PROGRESS = "$progress"
REFERRAL_QUALIFIED = "$referral_qualified"
COMMISSION = "$commission"
COMMISSION_REVERSED = "$commission_reversal"
SEASON_RESULT = "$season_result"
LEAGUE_RESULT = "$league_result"
APPROVE = "$approve"
DENY = "$deny"
BLOCK = "$block"
UNBLOCK = "$unblock"
EVALUATE = "$evaluate"
COMPENSATE = "$compensate"  # sent by a replay: what an event would have given, less what it gave
BACKFILL = "$backfill"  # sent by a replay: what an event counts in a metric that came after it
STREAK_PAUSE = "$streak_pause"
STREAK_RESTORE = "$streak_restore"
STREAK_TARGET = "$streak_target"
STREAK_DAY_START = "$streak_day_start"
STREAK_MEND = "$streak_mend"
REDEEM = "$redeem"
FULFILMENT_COMPLETE = "$fulfilment_complete"
FULFILMENT_FAIL = "$fulfilment_fail"
REWARD_CLAIM = "$reward_claim"
REWARD_EXPIRE = "$reward_expire"
REWARD_REVOKE = "$reward_revoke"
QUEST_START = "$quest_start"
QUEST_STEP = "$quest_step"
QUEST_COMPLETE = "$quest_complete"
QUEST_EXPIRE = "$quest_expire"  # sent by a worker when a quest's time is over
STREAK_AT_RISK = "$streak_at_risk"
CHECK_IN = "check_in"  # no `$`: programs listen to it, and clients may send it as they send any event
PUBLISHABLE = "publishable"  # how an event was authenticated, where anybody may have the key
BY_USER = "user"  # the same, with a token of the very user whom it is about
SYSTEM_PREFIX = "$"  # types a client cannot send as plain events


class Nonce(msgspec.Struct, frozen=True, gc=False):
    """What a signed request may be used once by: a 16-byte hash, needed until its signature is too old anyway."""

    project_id: int
    hash: bytes
    expires_at: datetime  # aware


class AcceptedEvent(msgspec.Struct, frozen=True, gc=False):
    """A verified, normalised event with its dedupe key, ready to be stored.

    `key_hash` and `content_hash` are 16 bytes; `alias_hash` is set when the event can also be found by the customer's
    eventId under another key. `window_seconds` > 0: the key is the event's intent, and holds for so long from receipt.
    `user_hash` is a signed 64-bit hash of (project, user); the partition is its lowest six bits.
    """

    id: UUID
    project_id: int
    type: str
    user: str
    payload: str  # compact JSON object
    occurred_at: datetime  # aware
    received_at: datetime  # aware
    key_hash: bytes
    content_hash: bytes
    user_hash: int
    idempotency_key: str  # as answered to the client
    alias_hash: bytes | None = None
    window_seconds: int = 0
    external_id: str | None = None
    source: str | None = None
    schema_version: str | None = None
    spec_version: str | None = None
    partition_key: str | None = None
    correlation_id: str | None = None
    context: str | None = None  # compact JSON object
    anonymous_id: str | None = None  # of the visitor who sent it
    is_anonymous: bool = False  # the user is that visitor's id: who it is, nobody has said with this event
    sent_with: str | None = None  # PUBLISHABLE, BY_USER, or None: by a server
    traceparent: str | None = None  # W3C Trace Context of the request that sent it, where that is traced
    nonce: Nonce | None = None  # of a request that brought this event alone, to be burnt with it


class Approval(msgspec.Struct, frozen=True, gc=False):
    """Which held event is approved, and the operator's reason."""

    event_id: UUID
    reason: str = ""


class Event(msgspec.Struct, frozen=True, gc=False):
    """A fact about a user, as the engine sees it. Times are aware and in UTC; `received_at` None: as it happened.

    `approval` is set when this applies a held event, whose type, payload and time it then has, under an id of its own.
    `context` is what the sender said of the circumstances.
    """

    id: UUID
    project_id: int
    type: str
    user: str
    payload: dict[str, Any]
    occurred_at: datetime
    source: str | None = None
    schema_version: str | None = None
    received_at: datetime | None = None
    approval: Approval | None = None
    context: Mapping[str, Any] | None = None
    sent_with: str | None = None


class WaitingEvent(msgspec.Struct, frozen=True, gc=False):
    """An accepted event on its way to the engine, with its place in the queue (`seq` 0: it never stood in it).

    `attempt` is the number of this try at it. `tries` failed since it was last queued.
    """

    id: UUID
    project_id: int
    type: str
    user: str
    payload: str
    occurred_at: datetime
    received_at: datetime
    source: str | None
    schema_version: str | None
    user_hash: int
    partition: int
    seq: int
    context: str | None = None
    sent_with: str | None = None
    traceparent: str | None = None
    attempt: int = 1
    tries: int = 0


def size_of(event: AcceptedEvent | WaitingEvent) -> int:
    """Return about how many bytes an event's payload and context have."""
    context = event.context
    return len(event.payload) if context is None else len(event.payload) + len(context)


def bytes_of(events: Iterable[AcceptedEvent | WaitingEvent]) -> int:
    """Return about how many bytes the events' payloads and contexts have."""
    return sum([size_of(event) for event in events])


def waiting(event: AcceptedEvent) -> WaitingEvent:
    """Return an accepted event that is applied without having stood in the queue."""
    return WaitingEvent(
        event.id,
        event.project_id,
        event.type,
        event.user,
        event.payload,
        event.occurred_at,
        event.received_at,
        event.source,
        event.schema_version,
        event.user_hash,
        event.user_hash % PARTITIONS,
        0,
        event.context,
        event.sent_with,
        event.traceparent,
    )
