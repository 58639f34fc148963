"""Segments: named conditions on a user's state, read by rules and boosts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from questline.engine.fields import STATE_ROOTS, split_field
from questline.engine.forms import TEXT, map_of, object_of, ref
from questline.engine.program_error import ProgramError

if TYPE_CHECKING:
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

SCHEMA: dict[str, Any] = map_of(object_of({"when": ref("condition"), "title": TEXT}, ("when",)), 200)


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what segments read and may not: only the user's own state makes a segment, and no other segment."""
    for name, segment in program.segments.items():
        path = f"segments.{name}.when"
        yield from names.condition(segment.when, path)
        for field in fields_of(segment.when):
            root = split_field(field)[0]
            if root == "segment":
                yield ProgramError(
                    path, f"reads {field!r}; a segment cannot be made of segments, write the condition out"
                )
            elif root != "user" and root not in STATE_ROOTS:
                yield ProgramError(
                    path, f"reads {field!r}; a segment reads user.* and state such as balance.*, no event"
                )


def fields_of(condition: Any) -> Iterator[str]:
    """Yield every field a condition reads."""
    for part in (*condition.get("all", ()), *condition.get("any", ())):
        yield from fields_of(part)
    if "not" in condition:
        yield from fields_of(condition["not"])
    if "field" in condition:
        yield condition["field"]
