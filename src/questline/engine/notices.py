"""The notices that follow from what a decision changed, whichever mechanic changed it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from questline.model.records import Notice

if TYPE_CHECKING:
    from questline.engine.draft import Draft


def notices_of(draft: "Draft") -> Iterator[Notice]:
    """Yield a notice for each level raised and each achievement unlocked."""
    for level in draft.levels.values():
        yield Notice("level.up", {"track": level.track, "before": level.before, "after": level.after})
    for unlock in draft.unlocks.values():
        yield Notice(
            "achievement.unlocked",
            {"achievement": unlock.achievement, "tier": unlock.state.tier, "times": unlock.state.times},
        )
