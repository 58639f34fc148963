"""What applying a document would change, before it is applied."""

from typing import Any

import msgspec

from questline.engine.order import order_dependent
from questline.engine.validate import ProgramError, validate
from questline.model.program import parse, string_keys


class Change(msgspec.Struct, frozen=True, rename="camel"):
    """One definition that is added, changed or removed; `fields` are those that differ."""

    action: str  # add | change | remove
    kind: str
    name: str
    fields: list[str] = []
    note: str = ""


class Plan(msgspec.Struct, frozen=True, rename="camel"):
    """The changes, or the errors that stand in their way; `order_dependent` marks rules by name, with the reason."""

    changes: list[Change]
    errors: list[ProgramError]
    order_dependent: dict[str, str]


_NOTES = {
    ("add", "metrics"): "starts empty: events before this version do not count until they are backfilled",
    ("add", "achievements"): "unlocks from the next event on of each user who meets it; an award reaches all at once",
    ("add", "quests"): "starts with the next event of a user that concerns it, or when it is started",
    ("add", "boards"): "starts empty; a rebuild fills it from the ledger",
    ("add", "seasons"): "its boards start empty; a rebuild fills them from the ledger",
    ("add", "leagues"): "begins with the next event that scores in it",
    ("remove", "seasons"): "its end gives and takes nothing more; results stay",
    ("remove", "leagues"): "weeks under way stay open, dormant; results stay",
    ("remove", "currencies"): "balances stay, dormant",
    ("remove", "metrics"): "values stay, dormant",
    ("remove", "streaks"): "streaks stay, dormant",
    ("remove", "achievements"): "unlocks stay",
    ("remove", "guards"): "what it holds goes on waiting for review",
    ("remove", "quests"): "runs stay, dormant",
}


def plan(old: dict[str, Any], new: Any) -> Plan:
    """Return what would change from a valid document to another; never raises for what the new one holds."""
    errors = validate(new)
    if errors:
        return Plan([], errors, {})
    old, new = string_keys(old), string_keys(new)
    changes = []
    for kind in sorted({*old, *new}):
        before, after = old.get(kind, {}), new.get(kind, {})
        if not isinstance(before, dict) or not isinstance(after, dict):
            if before != after:
                changes.append(Change("change", kind, "", [], f"{_said(old, kind)} → {_said(new, kind)}"))
            continue
        found = (_change(kind, name, before.get(name), after.get(name)) for name in sorted({*before, *after}))
        changes += [change for change in found if change is not None]
    return Plan(changes, [], order_dependent(parse(new)))


def _change(kind: str, name: str, before: Any, after: Any) -> Change | None:
    if before == after:
        return None
    if before is None:
        return Change("add", kind, name, [], _NOTES.get(("add", kind), ""))
    if after is None:
        return Change("remove", kind, name, [], _NOTES.get(("remove", kind), ""))
    fields = sorted(f for f in {*before, *after} if before.get(f) != after.get(f))
    return Change("change", kind, name, fields)


def _said(document: dict[str, Any], name: str) -> str:
    return repr(document[name]) if name in document else "nothing"


def render(result: Plan) -> str:
    """Return the plan as text for a terminal."""
    sign = {"add": "+", "change": "~", "remove": "-"}
    lines = []
    for c in result.changes:
        detail = "; ".join(part for part in (", ".join(c.fields), c.note) if part)
        lines.append(f"{sign[c.action]} {c.kind}{'.' + c.name if c.name else ''}{f'  ({detail})' if detail else ''}")
    lines += [f"! {name}: depends on the order of events: {why}" for name, why in result.order_dependent.items()]
    return "\n".join(lines) if lines else "no changes"
