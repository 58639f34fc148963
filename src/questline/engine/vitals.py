"""Vitals: changed within their bounds, recovered with time, rewarded at the top."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from questline.engine.forms import GAINS, REWARDS, TEXT, map_of, object_of
from questline.engine.program_error import ProgramError
from questline.model.definition import Reward
from questline.model.limits import AMOUNT_MAX
from questline.model.records import RecordKind
from questline.model.vitals import Vital, VitalState

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

_VALUE = {"type": "integer", "minimum": -AMOUNT_MAX, "maximum": AMOUNT_MAX}
SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "title": TEXT,
            "min": _VALUE,
            "max": _VALUE,
            "start": _VALUE,
            "regenerate": object_of(
                {
                    "amount": _VALUE,
                    "every": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
                    "unit": {"enum": ["minutes", "hours", "days"]},
                },
                ("amount", "every"),
            ),
            "atTop": object_of({"rewards": REWARDS, "then": _VALUE}),
            "gains": GAINS,
        }
    ),
    100,
)


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what does not fit among the vitals."""
    for name, vital in program.vitals.items():
        path = f"vitals.{name}"
        if not vital.min <= vital.start <= vital.max or vital.min == vital.max:
            yield ProgramError(path, f"start ({vital.start}) must lie from min ({vital.min}) to max ({vital.max})")
        if vital.gains is not None:
            yield from names.check("level", vital.gains.level, f"{path}.gains.level")
        if vital.at_top is not None:
            then = vital.at_top.then
            if then is not None and not vital.min <= then < vital.max:
                yield ProgramError(f"{path}.atTop.then", f"must lie from min ({vital.min}) to below max ({vital.max})")
            yield from names.rewards(vital.at_top.rewards, f"{path}.atTop.rewards")
            for index, reward in enumerate(vital.at_top.rewards):
                if reward.vital is not None:
                    yield ProgramError(
                        f"{path}.atTop.rewards[{index}].vital", "a vital at its top may not move a vital"
                    )


def value_at(vital: Vital, state: VitalState | None, at: datetime) -> tuple[int, datetime]:
    """Return (value, as of when) at an instant: whole spans since the last change have regenerated.

    Before the last change nothing regenerates; the rest of a span under way is kept. At a bound no rest is kept.
    """
    if state is None:
        return vital.start, at
    rule = vital.regenerate
    if rule is None or at <= state.at:
        return state.value, max(at, state.at)
    spans = int((at - state.at).total_seconds() // rule.seconds)
    value = min(max(state.value + spans * rule.amount, vital.min), vital.max)
    stopped = value == (vital.max if rule.amount > 0 else vital.min)
    return value, at if stopped else state.at + timedelta(seconds=spans * rule.seconds)


def value_of(draft: "Draft", name: str) -> int:
    """Return a vital's value at the event's time."""
    state = cast(VitalState | None, draft.record(RecordKind.VITAL, name))
    return value_at(draft.program.vitals[name], state, draft.event.occurred_at)[0]


def change(draft: "Draft", name: str, delta: int, cause: str) -> tuple[Reward, ...]:
    """Move a vital by `delta`, within its bounds; return what reaching the top gives, where it was reached.

    Mechanics do not call this: engine/rewards.py does, and gives what is returned.
    """
    vital = draft.program.vitals[name]
    state = cast(VitalState | None, draft.record(RecordKind.VITAL, name))
    before, as_of = value_at(vital, state, draft.event.occurred_at)
    if delta > 0 and (gain := draft.program.vital_gains.get(name)) is not None:
        delta = gain(draft, delta)
    after = min(max(before + delta, vital.min), vital.max)
    reached = after == vital.max and before < vital.max
    if reached and vital.at_top is not None and vital.at_top.then is not None:
        after = vital.at_top.then
    draft.put(RecordKind.VITAL, name, VitalState(after, as_of), cause)
    if not reached:
        return ()
    draft.notice("vital.full", vital=name, value=vital.max)
    return vital.at_top.rewards if vital.at_top is not None else ()
