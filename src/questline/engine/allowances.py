"""Allowances: how much of a limited thing one user has taken."""

from typing import TYPE_CHECKING, cast

from questline.model.records import RecordKind
from questline.model.rewards import AllowanceState

if TYPE_CHECKING:
    from questline.engine.draft import Draft


def taken(draft: "Draft", name: str) -> int:
    """Return how many units the user has taken."""
    state = cast(AllowanceState | None, draft.record(RecordKind.ALLOWANCE, name))
    return 0 if state is None else state.units


def take(draft: "Draft", name: str, cause: str) -> None:
    """Count one unit more."""
    draft.put(RecordKind.ALLOWANCE, name, AllowanceState(taken(draft, name) + 1), cause)


def put_back(draft: "Draft", name: str, cause: str) -> None:
    """Count one unit less; nothing where the program counts it no longer."""
    units = taken(draft, name)
    if units:
        draft.put(RecordKind.ALLOWANCE, name, AllowanceState(units - 1), cause)
