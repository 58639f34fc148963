"""A JSON Schema inferred from payloads: what all of them have in common, and no more.

It says which types values had and which members were always there. It forbids nothing that was not seen: no member is
closed out, no value is listed, no number is bounded. Where data stands in the names of members, as ids do, it stops.
"""

from collections.abc import Sequence
from typing import Any

from questline.model.limits import EVENT_SCHEMA_NODES_MAX, INFERRED_PROPERTIES_MAX

Schema = dict[str, Any]

_TYPES = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_ORDER = tuple(_TYPES.values())


def infer(payloads: Sequence[dict[str, Any]]) -> Schema:
    """Return a schema that every one of the payloads matches."""
    return _Inference().of(payloads)


class _Inference:
    """Counts the schemas it makes, so that the whole stays one that a program takes."""

    def __init__(self) -> None:
        self._left = EVENT_SCHEMA_NODES_MAX - 1

    def of(self, values: Sequence[Any]) -> Schema:
        types = {_TYPES[type(value)] for value in values}
        if "number" in types:
            types.discard("integer")
        named = [type_ for type_ in _ORDER if type_ in types]
        schema: Schema = {"type": named[0] if len(named) == 1 else named} if named else {}
        if "object" in types:
            schema |= self._members([value for value in values if type(value) is dict])
        if "array" in types:
            elements = [element for value in values if type(value) is list for element in value]
            if elements and self._left > 0:
                self._left -= 1
                schema["items"] = self.of(elements)
        return schema

    def _members(self, objects: Sequence[dict[str, Any]]) -> Schema:
        names = list(dict.fromkeys(name for value in objects for name in value))
        if not names or len(names) > min(INFERRED_PROPERTIES_MAX, self._left):
            return {}
        self._left -= len(names)
        properties = {name: self.of([value[name] for value in objects if name in value]) for name in names}
        required = [name for name in names if all(name in value for value in objects)]
        return {"required": required, "properties": properties} if required else {"properties": properties}
