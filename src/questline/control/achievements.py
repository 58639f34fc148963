"""One achievement of one user: how far they are and were, requirement by requirement, and when it was unlocked."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from questline.engine import achievements
from questline.engine.compile import Program
from questline.engine.draft import Draft
from questline.engine.requirements import meets, number_of, requirement_share, value_of
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


class ProgressPoint(msgspec.Struct, frozen=True, rename="camel"):
    """That an event changed what a requirement looks at: to which `value`, and how far that is, from 0 to 1."""

    event_id: str
    at: datetime
    kind: str
    name: str
    value: float | int
    progress: float


class ProgressHistory(msgspec.Struct, frozen=True, rename="camel"):
    """A page of how a user's progress changed, newest first; it may be short or empty, and still be followed by others."""

    items: list[ProgressPoint]
    next_cursor: str | None


def points_of(achievement: Achievement, event_id: UUID, at: datetime, trace: dict[str, Any]) -> Iterator[ProgressPoint]:
    """Yield what a decision changed of what an achievement looks at, from the decision's trace.

    What a rolling timeframe holds also changes as time goes by, and is no part of a trace: such requirements have no points.
    """
    for requirement in achievement.requirements:
        kind, name = requirement.source
        value = None if requirement.timeframe is not None else _traced(trace, kind, name)
        if value is not None:
            share = requirement_share(_last_tier(achievement, requirement), number_of(value))
            yield ProgressPoint(str(event_id), at, kind, name, value, round(share, 4))


def _traced(trace: dict[str, Any], kind: str, name: str) -> int | float | None:
    """Return the value that a trace tells of after its event; None: it did not change. Forms: store.effects.trace_of()."""
    match kind:
        case "metric":
            found = [row[1] for row in trace.get("metrics", ()) if row[0] == name]
        case "currency":
            found = [amount for currency, amount in trace.get("balances", {}).items() if currency == name]
        case "level":
            found = [row[2] for row in trace.get("levels", ()) if row[0] == name]
        case "streak":
            found = [row[4] for row in trace.get("streaks", ()) if row[0] == name]
        case "achievement":
            found = [row[2] for row in trace.get("unlocks", ()) if row[0] == name]
        case _:
            field = {"progress": "value", "quest": "times"}[kind]
            told = trace.get("records", ())
            found = [(row[3] or {}).get(field, 0) for row in told if row[0] == kind and row[1] == name]
    changed: int | float | None = found[-1] if found else None
    return changed


def visible(program: Program, name: str, state: UserState) -> Achievement | None:
    """Return an achievement; None where the program has none of that name, or the user may not see it."""
    achievement = program.achievements.get(name)
    is_secret = achievement is not None and name not in state.achievements and achievements.is_hidden(achievement)
    return None if is_secret else achievement


def standing_of(
    program: Program, name: str, state: UserState, now: datetime, unlocks: list[UnlockView], cursor: str | None
) -> Standings | None:
    """Return a user's standing as of now; None where the program has no such achievement, or the user may not see it."""
    achievement, found = visible(program, name, state), state.achievements.get(name)
    if achievement is None:
        return None
    reader = Draft(program, state, Event(UUID(int=0), 0, "", state.user, {}, now))  # the engine's own view, as of now
    return Standings(
        name,
        achievement.title,
        achievement.type,
        found is not None,
        achievements.tier_of(achievement, found),
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
    bound = _last_tier(achievement, requirement)
    return RequirementView(
        kind,
        name,
        requirement.operator,
        bound.threshold,
        None if requirement.timeframe is None else msgspec.to_builtins(requirement.timeframe),
        value if isinstance(value, int) else float(value),
        meets(bound, value),
        round(requirement_share(bound, value), 4),
    )


def _last_tier(achievement: Achievement, requirement: Requirement) -> Requirement:
    """Return a requirement with the threshold of the last tier, where there are tiers."""
    if not achievement.tiers:
        return requirement
    return msgspec.structs.replace(requirement, threshold=achievement.tiers[-1].threshold)
