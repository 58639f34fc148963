"""Why a rule fired or did not: worked out again from the event and the program of the version that decided it."""

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Any

import msgspec

from questline.engine.amounts import by_field
from questline.engine.compile import Program
from questline.engine.conditions import compile_condition, compile_leaf, is_number, operator_of
from questline.engine.fields import MISSING, View, compile_field, payload_field
from questline.engine.numbers import operand
from questline.model.event import Event
from questline.model.limits import DISTINCT_VALUES_MAX
from questline.model.program import Metric, Rule, concerns
from questline.model.quests import Quest


class Verdict(msgspec.Struct, frozen=True, rename="camel"):
    """What was found of one definition of the event's type.

    `failed` is the first leaf that did not hold: field, op, expected and actual (null where missing).
    """

    kind: str
    name: str
    fired: bool
    failed: dict[str, Any] | None = None
    note: str = ""


class NotKept(Exception):
    """A field was not kept with the decision: what its condition came to is not known. The message says why."""


class _StoredReads:
    """State values as the decision kept them: what a condition read then is what it reads now."""

    def __init__(self, reads: Mapping[str, Any], unapplied: str) -> None:
        self._reads = reads
        self._unapplied = unapplied

    def field(self, field: str) -> Any:
        if field in self._reads:
            return self._reads[field]
        what = "attributes were" if field.startswith("user.") else f"{field} was"
        raise NotKept(self._unapplied or f"not known: {what} not kept")

    def balance(self, currency: str) -> Any:
        return self.field(f"balance.{currency}")

    def level(self, track: str) -> Any:
        return self.field(f"level.{track}")

    def streak(self, streak: str) -> Any:
        return self.field(f"streak.{streak}")

    def metric(self, metric: str) -> Any:
        return self.field(f"metric.{metric}")

    def vital(self, vital: str) -> Any:
        return self.field(f"vital.{vital}")

    def segment(self, segment: str) -> Any:
        return self.field(f"segment.{segment}")

    def tier(self, tier: str) -> Any:
        return self.field(f"tier.{tier}")

    def quest(self, quest: str) -> Any:
        return self.field(f"quest.{quest}")


class _StoredView(View):
    """What a condition looked at: the event, and what the decision kept of state and attributes."""

    __slots__ = ("_kept",)

    def __init__(self, event: Event, kept: _StoredReads, zone: tzinfo) -> None:
        super().__init__(event, {}, kept, zone)
        self._kept = kept

    def attribute(self, field: str, steps: list[str]) -> Any:
        value = self._kept.field(field)
        return MISSING if value is None else value


def explain(program: Program, event: Event, trace: Mapping[str, Any], unapplied: str = "") -> list[Verdict]:
    """Return a verdict on every guard, metric, streak, rule and step of a quest of the event's type.

    `program` is the version that decided, `trace` what the decision kept: what fired and counted is taken from there, and
    what conditions read. `unapplied` says why nothing was applied with this decision, where that is so.
    """
    view = _StoredView(event, _StoredReads(trace.get("reads", {}), unapplied), program.zone)
    tripped = {trip[0]: trip[3] for trip in trace.get("guards", ())}
    verdicts = []
    for name, guard in program.guards.items():
        if guard.enabled and concerns(guard.listens, event.type):
            values = ", ".join(f"{key} {value}" for key, value in tripped.get(name, {}).items())
            verdicts.append(_verdict("guards", name, name in tripped, guard.when, view, fired=values))
    for name, metric in program.metrics.items():
        if concerns(metric.on, event.type):
            counted = any(name == found[0] for found in trace.get("metrics", ()))
            idle = unapplied or _uncounted(metric, view)
            verdicts.append(_verdict("metrics", name, counted, metric.when, view, idle=idle))
    for name, streak in program.streaks.items():
        if concerns(streak.on, event.type):
            counted = any(name == found[0] for found in trace.get("streaks", ()))
            idle = unapplied or "its period had counted already"
            verdicts.append(_verdict("streaks", name, counted, streak.when, view, idle=idle))
    for name, rule in program.rules_by_name.items():
        if concerns(rule.on, event.type):
            verdicts.append(_of_rule(name, rule, view, trace, unapplied))
    for name, quest in program.quests.items():
        verdicts.extend(_of_quest(name, quest.definition, event.type, view))
    return verdicts


def _verdict(
    kind: str, name: str, has_fired: bool, when: Mapping[str, Any] | None, view: View, fired: str = "", idle: str = ""
) -> Verdict:
    """Return a verdict with the note `fired` where it has, and `idle` where it has not although the condition held."""
    if has_fired:
        return Verdict(kind, name, True, None, fired)
    try:
        failed = first_failure(when, view) if when else None
    except NotKept as unknown:
        return Verdict(kind, name, False, None, str(unknown))
    return Verdict(kind, name, False, failed, "" if failed is not None else idle)


def _of_rule(name: str, rule: Rule, view: View, trace: Mapping[str, Any], unapplied: str) -> Verdict:
    if name in trace.get("fired", ()):
        return Verdict("rules", name, True, None, _factors(rule, view))
    if not rule.enabled:
        return Verdict("rules", name, False, None, "the rule is switched off")
    uses = trace.get("reads", {}).get(f"uses.{name}")
    idle = unapplied or "nothing was to be paid"
    if rule.limit is not None and uses is not None and uses >= rule.limit.times:
        idle = f"the limit of {rule.limit.times} per {rule.limit.per} was reached"
    return _verdict("rules", name, False, rule.when, view, idle=idle)


def _factors(rule: Rule, view: View) -> str:
    """Say by what a field multiplied the award; how often a streak and an hour do is in the program and the reads."""
    said = []
    for multiplier in rule.multiply:
        if multiplier.field is None:
            continue
        try:
            value = compile_field(multiplier.field)(view)
        except NotKept as unknown:
            said.append(str(unknown))
        else:
            shown = "missing" if value is MISSING else value
            said.append(f"times {by_field(multiplier, value):g} by {multiplier.field} {shown}")
    return ", ".join(said)


def _uncounted(metric: Metric, view: View) -> str:
    """Say why a metric whose condition held did not count."""
    if metric.field is None:
        return ""
    found = payload_field(metric.field)(view)
    if found is MISSING or (found is None and metric.kind == "distinct"):
        return f"{metric.field} is missing"
    if metric.kind == "distinct":
        return f"this {metric.field} had counted already, or there were {DISTINCT_VALUES_MAX}"
    if not is_number(found):
        return f"{metric.field} is no number"
    if operand(found) is None:
        return f"{metric.field} is beyond what a metric holds"
    return (
        "the value that was known is later"
        if metric.kind == "last"
        else "the value that was known is as good or better"
    )


def _of_quest(name: str, quest: Quest, event_type: str, view: View) -> Iterator[Verdict]:
    """Yield a verdict on each step that listens to a type, `QUEST.STEP`, and on what fails the quest, `QUEST.fails`."""
    listening = [(step.id, step.on, step.when, "counts where the step is open") for step in quest.steps]
    if quest.fails is not None:
        listening.append(("fails", quest.fails.on, quest.fails.when, "fails a run under way"))
    for part, on, when, note in listening:
        if on is not None and concerns(on, event_type):
            verdict = _verdict("quests", f"{name}.{part}", False, when, view, idle=note)
            holds = verdict.note == note
            yield Verdict("quests", verdict.name, holds, verdict.failed, verdict.note)


def first_failure(raw: Mapping[str, Any], view: View) -> dict[str, Any] | None:
    """Return the leaf for which a condition does not hold, or None when it holds."""
    if compile_condition(raw)(view):
        return None
    if "all" in raw:
        return next(found for part in raw["all"] if (found := first_failure(part, view)) is not None)
    if "any" in raw:
        return {"any": [first_failure(part, view) for part in raw["any"]]}
    if "not" in raw:
        return {"not": raw["not"], "holds": True}
    found = compile_field(raw["field"])(view)
    assert not compile_leaf(raw["op"], raw.get("value"))(found)
    return {
        "field": raw["field"],
        "op": operator_of(raw["op"]),
        "expected": raw.get("value"),
        "actual": None if found is MISSING else found,
        "missing": found is MISSING,
    }
