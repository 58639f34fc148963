"""A replay: events put back that were never applied, worked out again, or counted in a metric that came after them."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from questline.model.decision import FollowUp
from questline.model.event import BACKFILL, COMPENSATE
from questline.model.state import Number


class ReplayMode(StrEnum):
    REPUBLISH = "republish"  # put events back that were not applied: dead letters, and what the queue has lost
    REPROCESS = "reprocess"  # work applied events out again, and compensate the difference
    BACKFILL = "backfill"  # count applied events in a metric, or in a timeframe over one, that came after them

    @property
    def sends(self) -> str | None:
        """The type of the events by which users are changed; None where events are only put back."""
        return {ReplayMode.REPROCESS: COMPENSATE, ReplayMode.BACKFILL: BACKFILL}.get(self)


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, and how far it has come. `program_version` is 0 where events are only put back.

    `metric` is what is backfilled. `examined` of the `total` (events to republish, else users) were looked at; `events` were
    to be replayed, and `changed` of them put back, compensated or counted.
    """

    project_id: int
    id: UUID
    mode: ReplayMode
    metric: str | None = None
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


class Difference(msgspec.Struct, frozen=True):
    """What a replay makes of an event of a user: by currency what it gives less what it gave, or by metric what it adds."""

    user: str
    event_id: UUID
    occurred_at: datetime
    amounts: dict[str, Number]


class Step(msgspec.Struct, frozen=True):
    """What a batch came to. `after` is where the next begins: an event and a user; `over`: there is no next.

    `follow_ups` are what users are to be sent.
    """

    after: tuple[UUID, int]
    examined: int
    events: int
    changed: int
    over: bool
    differences: list[Difference] = []
    follow_ups: list[FollowUp] = []


def nothing_more(replay: Replay) -> Step:
    """Return the batch that ends a replay where it is."""
    return Step((replay.after_event, replay.after_user), 0, 0, 0, True)
