"""Why a rule fired or did not: worked out again from the event and the program of the version that decided it."""

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Any

import msgspec

from questline.engine.compile import Program
from questline.engine.conditions import compile_condition, compile_leaf, operator_of
from questline.engine.fields import MISSING, View, compile_field
from questline.model.event import Event
from questline.model.program import concerns
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


class _StoredReads:
    """State values as the decision kept them: what a condition read then is what it reads now."""

    def __init__(self, reads: Mapping[str, Any]) -> None:
        self._reads = reads

    def balance(self, currency: str) -> Any:
        return self._reads.get(f"balance.{currency}")

    def level(self, track: str) -> Any:
        return self._reads.get(f"level.{track}")

    def streak(self, streak: str) -> Any:
        return self._reads.get(f"streak.{streak}")

    def metric(self, metric: str) -> Any:
        return self._reads.get(f"metric.{metric}")

    def vital(self, vital: str) -> Any:
        return self._reads.get(f"vital.{vital}")

    def segment(self, segment: str) -> Any:
        return self._reads.get(f"segment.{segment}")

    def tier(self, tier: str) -> Any:
        return self._reads.get(f"tier.{tier}")

    def quest(self, quest: str) -> Any:
        return self._reads.get(f"quest.{quest}")


def explain(
    program: Program,
    event: Event,
    attributes: Mapping[str, Any],
    fired: tuple[str, ...],
    reads: Mapping[str, Any],
    tripped: Mapping[str, Mapping[str, Any]],
) -> list[Verdict]:
    """Return a verdict on every guard, metric, streak, rule and step of a quest of the event's type.

    `program` is the version that decided, `fired`, `reads` and `tripped` (the numbers of each guard) are what
    the decision kept. Attributes of the user are
    those of today: a condition on `user.*` says so in its note.
    """
    view = View(event, attributes, _StoredReads(reads), _zone(program))
    verdicts = [
        Verdict(
            "guards",
            name,
            name in tripped,
            first_failure(guard.when, view) if guard.when else None,
            ", ".join(f"{key} {value}" for key, value in tripped.get(name, {}).items()),
        )
        for name, guard in program.guards.items()
        if guard.enabled and concerns(guard.listens, event.type)
    ]
    for kind in ("metrics", "streaks", "rules"):
        for name, definition in getattr(program, kind if kind != "rules" else "rules_by_name").items():
            if not concerns(definition.on, event.type):
                continue
            failed = first_failure(definition.when, view) if definition.when else None
            note = _note(name, definition, failed, fired, reads) if kind == "rules" else ""
            holds = name in fired if kind == "rules" else failed is None
            verdicts.append(Verdict(kind, name, holds, failed, note))
    for name, quest in program.quests.items():
        verdicts.extend(_of_quest(name, quest.definition, event.type, view))
    return verdicts


def _of_quest(name: str, quest: Quest, event_type: str, view: View) -> Iterator[Verdict]:
    """Yield a verdict on each step that listens to a type, `QUEST.STEP`, and on what fails the quest, `QUEST.fails`."""
    listening = [(step.id, step.on, step.when, "counts where the step is open") for step in quest.steps]
    if quest.fails is not None:
        listening.append(("fails", quest.fails.on, quest.fails.when, "fails a run under way"))
    for part, on, when, note in listening:
        if on is not None and concerns(on, event_type):
            failed = first_failure(when, view) if when else None
            yield Verdict("quests", f"{name}.{part}", failed is None, failed, note if failed is None else "")


def _zone(program: Program) -> tzinfo:
    return program.zone


def _note(name: str, rule: Any, failed: dict[str, Any] | None, fired: tuple[str, ...], reads: Mapping[str, Any]) -> str:
    if name in fired:
        return ""
    if not rule.enabled:
        return "the rule is switched off"
    uses = reads.get(f"uses.{name}")
    if failed is None and rule.limit is not None and uses is not None and uses >= rule.limit.times:
        return f"the limit of {rule.limit.times} per {rule.limit.per} was reached"
    if failed is not None and str(failed.get("field", "")).startswith("user."):
        return "attributes are those of today"
    return "" if failed is not None else "nothing was to be paid"


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
