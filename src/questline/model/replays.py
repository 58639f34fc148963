"""A replay: events put back that were never applied, or worked out again under another program version."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec


class ReplayMode(StrEnum):
    REPUBLISH = "republish"  # put events back that were not applied: dead letters, and what the queue has lost
    REPROCESS = "reprocess"  # work applied events out again, and compensate the difference


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, and how far it has come. `program_version` is 0 where events are only put back.

    `examined` of the `total` (events to republish, users to reprocess) were looked at; `events` were to be replayed, and
    `changed` of them put back or compensated.
    """

    project_id: int
    id: UUID
    mode: ReplayMode
    program_version: int
    first_event: UUID
    last_event: UUID
    event_type: str | None
    user_id: int | None
    user_hash: int | None
    status: str | None
    events_max: int
    started_by: str
    reason: str
    started_at: datetime
    finished_at: datetime | None = None
    total: int = 0
    after_event: UUID
    after_user: int = 0
    examined: int = 0
    events: int = 0
    changed: int = 0
