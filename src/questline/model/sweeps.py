"""A sweep: one system event for each of many users, sent in bounded batches."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from questline.model.event import EVALUATE, STREAK_MEND


class SweepKind(StrEnum):
    AWARD = "award"  # an achievement, to those who meet it already
    INCIDENT = "incident"  # the mending of streaks after one

    @property
    def event_type(self) -> str:
        """The type of the event that each user is sent."""
        return EVALUATE if self is SweepKind.AWARD else STREAK_MEND


class Sweep(msgspec.Struct, frozen=True):
    """What was asked for, and how far it has come: all users up to `after_user` have been looked at.

    `users` are those of the project when it began. An award is of one program version; that of incidents is 0.
    """

    project_id: int
    id: UUID
    kind: SweepKind
    name: str
    program_version: int
    payload: dict[str, Any]
    at: datetime
    started_by: str
    reason: str
    started_at: datetime
    users: int
    finished_at: datetime | None = None
    after_user: int = 0
    examined: int = 0
    sent: int = 0

    def key(self, user: str) -> str:
        """Return the key under which a user is sent their event: once for ever."""
        return f"{self.kind}/{self.name}/{self.program_version}/{user}"
