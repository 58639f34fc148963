"""`$backfill`: what an event of the past counts in a metric, or in a timeframe over one, that came after it.

It counts as the event would have, at the event's own time: in the metric, its windows and what ranks it. Nothing follows
from it: an achievement that is met by now is awarded when somebody asks for that, or with the next event that moves the
metric.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from questline.engine import metrics
from questline.engine.fields import MISSING, HasPayload, PayloadGet
from questline.engine.refusal import Refusal
from questline.model.reasons import Reason

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.footprints import Touched
    from questline.model.program import ProgramDocument

CAUSE = "event:"


def backfill(draft: "Draft") -> None:
    """`$backfill` {replay, event, metric, value, windows}: count what was found of an event.

    There is no `value` where the metric counts events. `windows` are the units of the only windows to be counted in; without
    them it is the metric with all its windows.
    """
    payload = draft.event.payload
    name = payload.get("metric")
    if name not in draft.program.metrics:
        raise Refusal(Reason.INVALID_COMMAND, f"metric: the program has no metric {name!r} any more")
    found, cause = payload.get("value", MISSING), f"{CAUSE}{payload.get('event')}"
    metrics.count_late(name, draft, found, payload.get("windows"), cause)


def touch(touched: "Touched", document: "ProgramDocument") -> None:
    """Add every metric: an event may name any of them."""
    for name in document.metrics:
        touched.counted(name)


def distinct_values(document: "ProgramDocument") -> Iterator[tuple[str, PayloadGet]]:
    """Yield each `distinct` metric with what reads its value from an event that names it."""
    for name, metric in document.metrics.items():
        if metric.kind == "distinct":
            yield name, _value_for(name)


def _value_for(name: str) -> PayloadGet:
    def get(holder: HasPayload) -> Any:
        payload = holder.payload
        return payload.get("value", MISSING) if payload.get("metric") == name else MISSING

    return get
