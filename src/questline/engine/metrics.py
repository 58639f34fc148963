"""Metrics: count, sum, min, max, last and distinct, over the events of some types."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from questline.engine import windows
from questline.engine.conditions import compile_condition
from questline.engine.draft import Draft
from questline.engine.fields import MISSING, PayloadGet, payload_field
from questline.engine.numbers import add, operand
from questline.model.decision import MetricChange
from questline.model.limits import DISTINCT_VALUES_MAX
from questline.model.program import Metric
from questline.model.state import MetricState, Number

Step = Callable[[Draft], None]

_canonical = msgspec.json.Encoder(order="deterministic").encode


def value_hash(value: Any) -> bytes:
    """Return the 16-byte hash by which a `distinct` metric knows a value."""
    return blake2b(_canonical(value), digest_size=16).digest()


def compile_metric(name: str, metric: Metric) -> Step:
    """Return the closure that folds an event into the metric; an operand that is no number does not count."""
    test = compile_condition(metric.when) if metric.when else None
    fold = _FOLDS[metric.kind]
    get: PayloadGet | None = payload_field(metric.field) if metric.field else None

    def step(draft: Draft) -> None:
        if test is not None and not test(draft.view):
            return
        found = MISSING if get is None else get(draft.view)
        change = fold(name, draft, found)
        if change is not None:
            draft.metrics[name] = change
            if name in draft.program.windows:
                windows.record(draft, name, 1 if get is None else operand(found) or 0)

    return step


def count_late(name: str, draft: Draft, found: Any, units: Sequence[str] | None, cause: str) -> None:
    """Count what was found of an event in a metric that came after it; with `units`, in windows of these units alone."""
    metric = draft.program.metrics[name]
    change = _FOLDS[metric.kind](name, draft, found) if units is None else None
    if change is not None:
        draft.metrics[name] = msgspec.structs.replace(change, cause=cause)
    if name in draft.program.windows and (change is not None or units):
        amount = operand(found) if metric.field else 1
        if amount is not None:
            windows.record(draft, name, amount, units)


def _count(name: str, draft: Draft, _: Any) -> MetricChange | None:
    state = draft.state.metrics.get(name)
    return MetricChange(name, MetricState(state.value + 1 if state is not None else 1))


def _sum(name: str, draft: Draft, found: Any) -> MetricChange | None:
    number = operand(found)
    if number is None:
        return None
    state = draft.state.metrics.get(name)
    return MetricChange(name, MetricState(number if state is None else add(state.value, number)))


def _best(better: Callable[[Number, Number], bool]) -> Callable[[str, Draft, Any], MetricChange | None]:
    def fold(name: str, draft: Draft, found: Any) -> MetricChange | None:
        number = operand(found)
        if number is None:
            return None
        draft.operands[name] = number
        state = draft.state.metrics.get(name)
        if state is not None and not better(number, state.value):
            return None
        return MetricChange(name, MetricState(number))

    return fold


def _last(name: str, draft: Draft, found: Any) -> MetricChange | None:
    """The value of the latest event by its own time; of two at the same instant the larger, whatever came first."""
    number = operand(found)
    if number is None:
        return None
    state, at = draft.state.metrics.get(name), draft.event.occurred_at
    if state is not None and state.last_at is not None and (state.last_at, state.value) >= (at, number):
        return None
    return MetricChange(name, MetricState(number, at))


def _distinct(name: str, draft: Draft, found: Any) -> MetricChange | None:
    if found is MISSING or found is None:
        return None
    seen = value_hash(found)
    if (name, seen) in draft.state.seen_values:
        return None
    state = draft.state.metrics.get(name)
    count = 0 if state is None else state.value
    if count >= DISTINCT_VALUES_MAX:
        return None
    return MetricChange(name, MetricState(count + 1), seen)


_FOLDS: dict[str, Callable[[str, Draft, Any], MetricChange | None]] = {
    "count": _count,
    "sum": _sum,
    "min": _best(lambda new, old: new < old),
    "max": _best(lambda new, old: new > old),
    "last": _last,
    "distinct": _distinct,
}
