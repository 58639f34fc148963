"""Forms that the sections of a program share, as JSON Schema: names, amounts, awards, rewards, spans of time."""

from typing import Any

from questline.model.limits import AMOUNT_MAX, LEVELS_MAX, RULES_MAX
from questline.model.requirements import REQUIREMENT_KINDS

NAME = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[^\\x00-\\x1f]+$"}
TEXT = {"type": "string", "maxLength": 2_000}
AMOUNT = {"type": "integer", "minimum": 1, "maximum": AMOUNT_MAX}
ON = {
    "description": 'The event type or types this listens to; "*" is every type.',
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": 128},
        {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 128},
            "minItems": 1,
            "maxItems": 100,
        },
    ],
}


def object_of(properties: dict[str, Any], required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def map_of(values: Any, limit: int = RULES_MAX, keys: Any = NAME) -> dict[str, Any]:
    return {"type": "object", "propertyNames": keys, "additionalProperties": values, "maxProperties": limit}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


FIXED_AWARD = {**map_of(AMOUNT, 100), "minProperties": 1}
WHOLE_KEY = {"type": "string", "pattern": "^[1-9][0-9]{0,6}$"}

CURVE_FACTOR = {"type": "number", "minimum": 0, "maximum": 1_000_000}
ROUND = {"enum": ["half_even", "half_up", "floor", "ceil"]}

REWARD = object_of(
    {
        "currency": NAME,
        "item": NAME,
        "vital": NAME,
        "boost": NAME,
        "reward": NAME,
        "value": {"type": "integer", "minimum": -AMOUNT_MAX, "maximum": AMOUNT_MAX},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
    },
    description="A value of a currency or a vital (below zero: it is taken), units of an item or a named reward, or a boost.",
)
REWARDS = {"type": "array", "items": REWARD, "maxItems": 50}

SPAN = object_of(
    {
        "duration": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
        "unit": {"enum": ["minutes", "hours", "days"]},
    },
    ("duration", "unit"),
)

INSTANT = {
    "type": "string",
    "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$",
    "format": "date-time",
    "description": "RFC 3339, such as 2026-12-01T00:00:00Z.",
}

GAINS = object_of(
    {"level": NAME, "perLevel": CURVE_FACTOR, "max": CURVE_FACTOR, "round": ROUND},
    ("level", "perLevel"),
    description="What is gained is multiplied by min(1 + perLevel * (level - 1), max), and rounded once.",
)

LEVEL = {"type": "integer", "minimum": 1, "maximum": LEVELS_MAX}

REQUIREMENT_PROPERTIES: dict[str, Any] = {
    **dict.fromkeys(REQUIREMENT_KINDS, NAME),
    "operator": {"enum": ["gte", "gt", "lte", "lt", "eq"]},
    "threshold": {"type": "number", "minimum": -AMOUNT_MAX, "maximum": AMOUNT_MAX},
    "timeframe": SPAN,
}
REQUIREMENT = object_of(REQUIREMENT_PROPERTIES)
