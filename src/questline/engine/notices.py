"""The notices that follow from what a decision changed, whichever mechanic changed it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from questline.model.records import SELF, Notice, RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft


def notices_of(draft: "Draft") -> Iterator[Notice]:
    """Yield a notice for each guard that tripped, each level raised and each achievement unlocked."""
    yield from guard_notices(draft)
    for level in draft.levels.values():
        yield Notice("level.up", {"track": level.track, "before": level.before, "after": level.after})
    for unlock in draft.unlocks.values():
        yield Notice(
            "achievement.unlocked",
            {"achievement": unlock.achievement, "tier": unlock.state.tier, "times": unlock.state.times},
        )


_SAID = {"flag": "flagged", "hold": "held", "refuse": "refused", "block": "blocked"}


def guard_notices(draft: "Draft") -> Iterator[Notice]:
    """Yield a notice for each guard that tripped, and one where that blocked the user."""
    for trip in draft.trips:
        data = {"guard": trip.guard, "kind": trip.kind, "values": trip.values, "score": trip.score}
        yield Notice(f"guard.{_SAID[trip.action]}", data)
    if draft.trips and (change := draft.records.get((RecordKind.BLOCK, SELF))) is not None:
        yield Notice("user.blocked", {"reason": getattr(change.state, "reason", "")})
