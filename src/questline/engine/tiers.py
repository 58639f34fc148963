"""Tiers: the step a user stands on, moved by what they hold or have earned."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from questline.engine.forms import NAME, REWARDS, TEXT, map_of, object_of
from questline.engine.program_error import ProgramError
from questline.engine.rewards import give
from questline.model.limits import AMOUNT_MAX
from questline.model.records import RecordKind
from questline.model.tiers import StepMark, Tiers, TierState

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "steps": {
                "type": "array",
                "items": object_of(
                    {"name": NAME, "at": {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAX}, "rewards": REWARDS},
                    ("name", "at"),
                ),
                "minItems": 1,
                "maxItems": 100,
            },
            "balance": NAME,
            "earned": NAME,
            "demote": {"type": "boolean"},
            "title": TEXT,
        },
        ("steps",),
    ),
    50,
)

_UNKNOWN = TierState(0, 0, 0)


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what does not fit among the tiers."""
    for name, tiers in program.tiers.items():
        path = f"tiers.{name}"
        if (tiers.balance is None) == (tiers.earned is None):
            yield ProgramError(path, "must go by exactly one of balance and earned")
        else:
            kind = "balance" if tiers.balance is not None else "earned"
            yield from names.check("currency", tiers.currency, f"{path}.{kind}")
        if tiers.demote and tiers.earned is not None:
            yield ProgramError(f"{path}.demote", "what was earned in all never falls; demote belongs to balance")
        amounts = [step.at for step in tiers.steps]
        if amounts[0] != 0 or amounts != sorted(set(amounts)):
            yield ProgramError(f"{path}.steps", "must begin at 0 and rise from each step to the next")
        if tiers.steps[0].rewards:
            yield ProgramError(f"{path}.steps[0].rewards", "the first step is where users begin; it gives nothing")
        if len({step.name for step in tiers.steps}) != len(tiers.steps):
            yield ProgramError(f"{path}.steps", "two steps have one name")
        for index, step in enumerate(tiers.steps):
            yield from names.rewards(step.rewards, f"{path}.steps[{index}].rewards")


def step_name(tiers: Tiers, state: TierState | None) -> str:
    """Return the name of the step a user stands on."""
    return tiers.steps[_place(tiers, state.step, state.stood) if state is not None else 0].name


def climb(draft: "Draft", name: str) -> None:
    """Put the user on the step that this event has led to so far, and reward steps reached for the first time."""
    tiers = draft.program.tiers[name]
    steps = tiers.steps
    before = cast(TierState | None, draft.state.records.get((RecordKind.TIER, name))) or _start(draft, tiers)
    known = cast(TierState, draft.record(RecordKind.TIER, name) or _UNKNOWN)
    earned = before.earned + max(draft.earned.get(tiers.earned or "", 0), 0)  # a compensation takes no step back
    amount = earned if tiers.earned is not None else draft.balance(tiers.currency)
    stood, best = _place(tiers, known.step, known.stood), _place(tiers, known.best, known.reached)
    step = _reached(tiers, amount)
    if not tiers.demote:
        step = max(step, stood)
    first = range(best + 1, step + 1)
    new = TierState(
        step,
        max(step, best),
        earned,
        _mark(tiers, step, known.stood if step == stood else None),
        _mark(tiers, max(step, best), known.reached if not first else None),
    )
    if new == known or (known is _UNKNOWN and not step and not earned):
        return
    draft.put(RecordKind.TIER, name, new, f"tier:{name}")
    if step != stood:
        moved = "tier.up" if step > stood else "tier.down"
        draft.notice(moved, tier=name, before=steps[stood].name, after=steps[step].name)
    for place in first:
        give(draft, steps[place].rewards, 1, f"tier:{name}:{steps[place].name}")


def _reached(tiers: Tiers, amount: int) -> int:
    """Return the place of the highest step that an amount reaches."""
    return max(place for place, step in enumerate(tiers.steps) if step.at <= amount)


def _place(tiers: Tiers, place: int, mark: StepMark | None) -> int:
    """Return where a step stands in the program's list now that stood at a place when it was written.

    It is known by its name. Of one that the program no longer has, its amount tells which step takes its place.
    """
    steps = tiers.steps
    if mark is None:
        return min(place, len(steps) - 1)
    if place < len(steps) and steps[place].name == mark.name:
        return place
    named = next((place for place, step in enumerate(steps) if step.name == mark.name), None)
    return _reached(tiers, mark.at) if named is None else named


def _mark(tiers: Tiers, place: int, known: StepMark | None) -> StepMark:
    """Return what the step at a place is found by later: what is `known` of it, where that was taken out and may come back.

    A step of another name and the same amount was renamed.
    """
    step = tiers.steps[place]
    if known is None or step.at == known.at or any(one.name == known.name for one in tiers.steps):
        return StepMark(step.name, step.at)
    return known


def _start(draft: "Draft", tiers: Tiers) -> TierState:
    """Where a user begins whom the tiers do not know: what they hold was earned, before there were tiers.

    What they earned and spent before that is not counted: the ledger is not kept by user, and to find it an event would pay for
    the user's whole history.
    """
    return TierState(0, 0, draft.state.balances.get(tiers.earned, 0) if tiers.earned is not None else 0)
