"""`$progress`: how far the customer says a user is with an achievement."""

from typing import TYPE_CHECKING

from questline.engine.numbers import add, operand
from questline.engine.refusal import Refusal
from questline.engine.requirements import requirements_of
from questline.model.limits import AMOUNT_MAX
from questline.model.program import ProgramDocument
from questline.model.reasons import Reason
from questline.model.records import RecordKind
from questline.model.windows import ProgressState

if TYPE_CHECKING:
    from questline.engine.draft import Draft


def reported(program: ProgramDocument) -> frozenset[str]:
    """Return the achievements whose progress a requirement looks at: those that customers report."""
    return frozenset(found.progress for found in requirements_of(program) if found.progress is not None)


def report(draft: "Draft") -> None:
    """`$progress` {achievement, amount | value}: add to what was reported, or replace it. An unlock stays."""
    payload = draft.event.payload
    name = payload.get("achievement")
    if not isinstance(name, str) or name not in draft.program.achievements:
        raise Refusal(Reason.UNKNOWN_ACHIEVEMENT, f"the program has no achievement {name!r}")
    if name not in draft.program.reported:
        raise Refusal(Reason.INVALID_COMMAND, f"achievement: no requirement looks at the progress of {name!r}")
    given = [key for key in ("amount", "value") if payload.get(key) is not None]
    if len(given) != 1:
        raise Refusal(Reason.INVALID_COMMAND, "must have exactly one of amount (to add) and value (to set)")
    number = operand(payload[given[0]])
    if number is None or number < 0:
        raise Refusal(Reason.INVALID_COMMAND, f"{given[0]}: must be a number from 0 to {AMOUNT_MAX}")
    value = number if given[0] == "value" else add(draft.progress(name), number)
    if value > AMOUNT_MAX:
        raise Refusal(Reason.OVERFLOW, f"the progress of {name!r} would pass {AMOUNT_MAX}")
    draft.put(RecordKind.PROGRESS, name, ProgressState(value, draft.event.occurred_at), "command:progress")
