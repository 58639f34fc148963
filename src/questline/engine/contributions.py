"""What events of the past would have counted in a metric that came after them."""

from typing import Any

from questline.engine.compile import Program
from questline.engine.conditions import compile_condition
from questline.engine.draft import Draft
from questline.engine.fields import MISSING, payload_field
from questline.engine.numbers import operand
from questline.model import calendar
from questline.model.event import Event
from questline.model.items import Span
from questline.model.program import concerns
from questline.model.state import UserState


class Contributions:
    """One metric of a program, and what single events would count in it."""

    def __init__(self, program: Program, name: str) -> None:
        """Raise KeyError where the program has no such metric."""
        self._program = program
        self._metric = metric = program.metrics[name]
        self._test = compile_condition(metric.when) if metric.when else None
        self._get = payload_field(metric.field) if metric.field else None
        self.spans: tuple[Span, ...] = program.windows.get(name, ())
        self.kind = metric.kind

    def payload_of(self, state: UserState, event: Event) -> dict[str, Any] | None:
        """Return what a `$backfill` says that an event counts, the user being as `state` tells; None: it counts nothing.

        The condition and the field are the metric's own, and read the event in the form that the program's rules read.
        """
        if not concerns(self._metric.on, event.type):
            return None
        view = Draft(self._program, state, self._program.as_read(event)).view
        if self._test is not None and not self._test(view):
            return None
        if self._get is None:
            return {}
        found = self._get(view)
        counts = found is not MISSING and found is not None if self.kind == "distinct" else operand(found) is not None
        return {"value": found} if counts else None

    def bucket(self, state: UserState, event: Event, span: Span) -> int:
        """Return the number of the bucket in which an event counts, in windows of the timeframe."""
        at = event.occurred_at
        zone = calendar.zone_in_force(state.timezone, state.zone_history, at, self._program.timezone)
        return calendar.bucket_number(span.unit, at, zone)
