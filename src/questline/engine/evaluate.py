"""`$evaluate`: look at one achievement of a user now, without anything having happened; how a new one is awarded."""

from typing import TYPE_CHECKING

from questline.engine.refusal import Refusal
from questline.model.reasons import Reason

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.footprints import Touched
    from questline.model.program import ProgramDocument


def evaluate(draft: "Draft") -> None:
    """`$evaluate` {achievement, version}: unlock and pay what the user meets; what they have stays as it is."""
    name = draft.event.payload.get("achievement")
    step = draft.program.unlock_steps.get(name) if isinstance(name, str) else None
    if step is None:
        raise Refusal(Reason.UNKNOWN_ACHIEVEMENT, f"the program has no achievement {name!r}")
    draft.looks_back = True  # what was met is met: no event of today must lie in the timeframe
    step(draft)
    draft.looks_back = False


def touch(touched: "Touched", document: "ProgramDocument") -> None:
    """Add every achievement: an event may name any of them."""
    for name in document.achievements:
        touched.achievement(name)
