"""Achievements: requirements met, tiers climbed, repeats counted; each is paid once."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from questline.engine.requirements import COMPARE, Reader, number_of, requirement_share, share, value_of
from questline.engine.rewards import give
from questline.model.decision import Unlock
from questline.model.program import Achievement
from questline.model.state import AchievementState, Number

if TYPE_CHECKING:
    from questline.engine.draft import Draft

Step = Callable[["Draft"], bool]


def tier_of(achievement: Achievement, state: AchievementState | None) -> int:
    """Return the highest tier reached, from 1; 0 while locked. What has no tiers has one.

    A tier is known by its threshold, wherever it stands now. Where there is none such any more the user keeps as many tiers as
    they had, and those up to that threshold.
    """
    if state is None:
        return 0
    tiers, reached = achievement.tiers, state.threshold
    if reached is None or not tiers or (state.tier <= len(tiers) and tiers[state.tier - 1].threshold == reached):
        return state.tier
    passed = sum(1 for tier in tiers if tier.threshold <= reached)
    return passed if passed and tiers[passed - 1].threshold == reached else max(passed, state.tier)


def progress(achievement: Achievement, reader: Reader, state: AchievementState | None) -> float:
    """Return how far the user is, from 0 to 1: towards the next tier, towards the next repeat, or towards the unlock.

    With several requirements, the mean of theirs for `all` and the best for `any`.
    """
    if achievement.tiers:
        reached = tier_of(achievement, state)
        if reached >= len(achievement.tiers):
            return 1.0
        return share(value_of(achievement.requirements[0], reader), achievement.tiers[reached].threshold)
    if state is not None and not achievement.repeatable:
        return 1.0
    if achievement.repeatable:
        requirement = achievement.requirements[0]
        done = (state.times if state is not None else 0) * number_of(requirement.threshold)
        return share(value_of(requirement, reader) - done, requirement.threshold)
    shares = [requirement_share(r, value_of(r, reader)) for r in achievement.requirements]
    return max(shares) if achievement.match == "any" else sum(shares) / len(shares)


def is_hidden(achievement: Achievement) -> bool:
    """Tell whether nobody sees an achievement before it is unlocked."""
    return achievement.secret or achievement.type == "SECRET"


def compile_achievement(name: str, achievement: Achievement) -> Step:
    """Return the closure that unlocks what the draft has earned, pays for it, and tells whether it did."""
    if achievement.tiers:
        return _tiered(name, achievement)
    if achievement.repeatable:
        return _repeatable(name, achievement)
    return _single(name, achievement)


def _state(draft: "Draft", name: str) -> AchievementState | None:
    unlock = draft.unlocks.get(name)
    return unlock.state if unlock is not None else draft.state.achievements.get(name)


def _unlock(draft: "Draft", name: str, achievement: Achievement, tier: int, times: int) -> None:
    found = draft.state.achievements.get(name)
    threshold = achievement.tiers[tier - 1].threshold if achievement.tiers else None
    new = AchievementState(tier, times, draft.event.id, draft.event.occurred_at, threshold)
    draft.unlocks[name] = Unlock(name, new, tier_of(achievement, found), found.times if found else 0)


def _single(name: str, achievement: Achievement) -> Step:
    tests = [(r, COMPARE[r.operator], number_of(r.threshold)) for r in achievement.requirements]
    want_all = achievement.match == "all"
    cause = f"achievement:{name}"

    def step(draft: "Draft") -> bool:
        if _state(draft, name) is not None:
            return False
        for requirement, compare, threshold in tests:
            if compare(value_of(requirement, draft), threshold) is not want_all:
                if want_all:
                    return False
                break
        else:
            if not want_all:
                return False
        _unlock(draft, name, achievement, 1, 1)
        give(draft, achievement.rewards, 1, cause)
        return True

    return step


def _tiered(name: str, achievement: Achievement) -> Step:
    requirement = achievement.requirements[0]
    compare = COMPARE[requirement.operator]
    thresholds: list[Number] = [number_of(tier.threshold) for tier in achievement.tiers]

    def step(draft: "Draft") -> bool:
        tier = before = tier_of(achievement, _state(draft, name))
        if tier >= len(thresholds):
            return False
        value = value_of(requirement, draft)
        while tier < len(thresholds) and compare(value, thresholds[tier]):
            tier += 1
        if tier == before:
            return False
        _unlock(draft, name, achievement, tier, 1)
        for number in range(before + 1, tier + 1):
            give(draft, achievement.tiers[number - 1].rewards, 1, f"achievement:{name}:{number}")
        return True

    return step


def _repeatable(name: str, achievement: Achievement) -> Step:
    requirement = achievement.requirements[0]
    threshold = Decimal(number_of(requirement.threshold))
    cause = f"achievement:{name}"

    def step(draft: "Draft") -> bool:
        state = _state(draft, name)
        before = state.times if state is not None else 0
        times = int(value_of(requirement, draft) // threshold)
        if times <= before:
            return False
        _unlock(draft, name, achievement, 1, times)
        give(draft, achievement.rewards, times - before, cause)
        return True

    return step
