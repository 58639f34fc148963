"""Badges: earned by grants of named rewards, shown in the profile, asked for by the reward store."""

from typing import TYPE_CHECKING, cast

from questline.model.records import RecordKind
from questline.model.rewards import BadgeState

if TYPE_CHECKING:
    from questline.engine.draft import Draft


def has(draft: "Draft", badge: str) -> bool:
    """Tell whether the user has a badge."""
    state = _state(draft, badge)
    return state is not None and state.times > 0


def earn(draft: "Draft", badge: str, cause: str) -> None:
    """Give a badge; of several grants, whatever order they come in, the earliest says when it was earned."""
    state = _state(draft, badge)
    if state is None or not state.times:
        draft.put(RecordKind.BADGE, badge, BadgeState(draft.event.occurred_at, 1), cause)
        draft.notice("badge.earned", badge=badge)
    else:
        first = min(state.at, draft.event.occurred_at)
        draft.put(RecordKind.BADGE, badge, BadgeState(first, state.times + 1), cause)


def lose(draft: "Draft", badge: str, cause: str) -> None:
    """Take back one grant of a badge; it is gone when no other stands."""
    state = _state(draft, badge)
    if state is not None and state.times:
        draft.put(RecordKind.BADGE, badge, BadgeState(state.at, state.times - 1), cause)


def _state(draft: "Draft", badge: str) -> BadgeState | None:
    return cast(BadgeState | None, draft.record(RecordKind.BADGE, badge))
