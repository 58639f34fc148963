"""Marks beside places: a place in a list says little once the list has changed, so what stood there is stored beside it.

A mark names the place it belongs to. Workers of a release without marks move the place alone, and the mark then holds no more.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from questline.model.state import AchievementState
from questline.model.tiers import StepMark, TierState

Step = tuple[int, str, int]  # place, name, at

_steps_of = msgspec.json.Decoder(tuple[Step, Step]).decode
_tier_of = msgspec.json.Decoder(tuple[int, float | int | None]).decode
_encode = msgspec.json.encode


def tier_of(step: int, best: int, earned: int, marks: str | None) -> TierState:
    """Return where a user stands, of its row's columns."""
    if marks is None:
        return TierState(step, best, earned)
    stood, reached = _steps_of(marks)
    return TierState(step, best, earned, _held(stood, step), _held(reached, best))


def of_tier(state: TierState) -> str | None:
    """Return the marks of a step and of the best one as they are stored."""
    if state.stood is None or state.reached is None:
        return None
    stood, reached = state.stood, state.reached
    return _encode(((state.step, stood.name, stood.at), (state.best, reached.name, reached.at))).decode()


def achievement_of(tier: int, times: int, event_id: UUID, unlocked_at: datetime, mark: str | None) -> AchievementState:
    """Return an unlock, of its row's columns."""
    place, threshold = _tier_of(mark) if mark is not None else (0, None)
    return AchievementState(tier, times, event_id, unlocked_at, threshold if place == tier else None)


def of_achievement(state: AchievementState) -> str | None:
    """Return the mark of an unlock as it is stored; None where it is of no tier."""
    return None if state.threshold is None else _encode((state.tier, state.threshold)).decode()


def _held(mark: Step, place: int) -> StepMark | None:
    return StepMark(mark[1], mark[2]) if mark[0] == place else None
