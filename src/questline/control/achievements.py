"""One achievement of one user: how far they are, requirement by requirement, and when it was unlocked."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from questline.engine import achievements
from questline.engine.compile import Program
from questline.engine.draft import Draft
from questline.engine.requirements import meets, requirement_share, value_of
from questline.model.event import Event
from questline.model.program import Achievement
from questline.model.requirements import Requirement
from questline.model.state import UserState


class RequirementView(msgspec.Struct, frozen=True, rename="camel"):
    """What is looked at (`kind`, `name`), its value now, and whether that meets the threshold; `progress` from 0 to 1."""

    kind: str
    name: str
    operator: str
    threshold: float | int
    timeframe: dict[str, Any] | None
    value: float | int
    met: bool
    progress: float


class UnlockView(msgspec.Struct, frozen=True, rename="camel"):
    """One unlock, tier or repeat: the event that earned it, and when that happened."""

    event_id: str
    at: datetime
    tier: int
    times: int


class Standings(msgspec.Struct, frozen=True, rename="camel"):
    """Where a user stands with an achievement; `progress` from 0 to 1 is towards the unlock, the next tier or repeat."""

    achievement: str
    title: str
    type: str
    unlocked: bool
    tier: int
    tiers: int
    times: int
    unlocked_at: datetime | None
    progress: float
    requirements: list[RequirementView]
    history: list[UnlockView]
    next_cursor: str | None


def standing_of(
    program: Program, name: str, state: UserState, now: datetime, unlocks: list[UnlockView], cursor: str | None
) -> Standings | None:
    """Return a user's standing as of now; None where the program has no such achievement, or the user may not see it."""
    achievement, found = program.achievements.get(name), state.achievements.get(name)
    if achievement is None or (found is None and achievements.is_hidden(achievement)):
        return None
    reader = Draft(program, state, Event(UUID(int=0), 0, "", state.user, {}, now))  # the engine's own view, as of now
    return Standings(
        name,
        achievement.title,
        achievement.type,
        found is not None,
        found.tier if found is not None else 0,
        len(achievement.tiers) or 1,
        found.times if found is not None else 0,
        found.unlocked_at if found is not None else None,
        round(achievements.progress(achievement, reader, found), 4),
        [_requirement(achievement, requirement, reader) for requirement in achievement.requirements],
        unlocks,
        cursor,
    )


def _requirement(achievement: Achievement, requirement: Requirement, reader: Draft) -> RequirementView:
    kind, name = requirement.source
    value = value_of(requirement, reader)
    threshold = achievement.tiers[-1].threshold if achievement.tiers else requirement.threshold
    bound = msgspec.structs.replace(requirement, threshold=threshold)
    return RequirementView(
        kind,
        name,
        requirement.operator,
        threshold,
        None if requirement.timeframe is None else msgspec.to_builtins(requirement.timeframe),
        value if isinstance(value, int) else float(value),
        meets(bound, value),
        round(requirement_share(bound, value), 4),
    )
