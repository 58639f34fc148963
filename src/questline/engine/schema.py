"""The JSON Schema of a program document: what editors use, and the first half of validation."""

from typing import Any

from questline.engine.conditions import OPERATORS, SYNONYMS
from questline.model.limits import AMOUNT_MAX, LEVELS_MAX, RULES_MAX, SHORT_TEXT_CHARS_MAX

_NAME = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[^\\x00-\\x1f]+$"}
_TEXT = {"type": "string", "maxLength": 2_000}
_AMOUNT = {"type": "integer", "minimum": 1, "maximum": AMOUNT_MAX}
_ON = {
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


def _object(properties: dict[str, Any], required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _map(values: Any, limit: int = RULES_MAX, keys: Any = _NAME) -> dict[str, Any]:
    return {"type": "object", "propertyNames": keys, "additionalProperties": values, "maxProperties": limit}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


_FIXED_AWARD = {**_map(_AMOUNT, 100), "minProperties": 1}
_WHOLE_KEY = {"type": "string", "pattern": "^[1-9][0-9]{0,6}$"}

_CONDITION = {
    "type": "object",
    "description": "all, any, not, or a leaf {field, op, value}.",
    "properties": {
        "all": {"type": "array", "items": _ref("condition"), "minItems": 1},
        "any": {"type": "array", "items": _ref("condition"), "minItems": 1},
        "not": _ref("condition"),
        "field": {"type": "string", "minLength": 1, "maxLength": SHORT_TEXT_CHARS_MAX},
        "op": {"enum": [*OPERATORS, *SYNONYMS]},
        "value": {},
    },
    "additionalProperties": False,
}

_FIELD_AMOUNT = _object(
    {
        "field": {"type": "string", "minLength": 1, "maxLength": SHORT_TEXT_CHARS_MAX},
        "times": {"type": "number", "minimum": 0, "maximum": 1_000_000},
        "round": {"enum": ["half_even", "half_up", "floor", "ceil"]},
        "min": {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAX},
        "max": {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAX},
    },
    ("field",),
)

_FACTOR = {"type": "number", "minimum": 0, "maximum": 1_000_000}
_MULTIPLIER = _object(
    {
        "field": {"type": "string", "minLength": 1, "maxLength": SHORT_TEXT_CHARS_MAX},
        "map": {**_map(_FACTOR, 1_000), "minProperties": 1},
        "default": _FACTOR,
        "streak": _NAME,
        "every": {"type": "integer", "minimum": 1},
        "from": {"type": "integer", "minimum": 1},
        "hours": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 24},
            "minItems": 2,
            "maxItems": 2,
        },
        "by": _FACTOR,
    }
)

_LEVELS = _object(
    {
        "curve": {"enum": ["sqrt", "linear", "table"]},
        "base": {"type": "integer", "minimum": 1, "maximum": AMOUNT_MAX},
        "table": {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAX},
            "minItems": 1,
            "maxItems": LEVELS_MAX,
        },
        "max": {"type": "integer", "minimum": 1, "maximum": LEVELS_MAX},
        "rewards": _map(_object({"award": _FIXED_AWARD}, ("award",)), LEVELS_MAX, _WHOLE_KEY),
    },
    ("curve",),
    description="level = floor(sqrt(xp/base)) + 1, floor(xp/base) + 1, or a table of the XP each level needs.",
)

_REWARD = _object({"currency": _NAME, "value": _AMOUNT}, ("currency", "value"))
_REQUIREMENT = _object(
    {
        "metric": _NAME,
        "level": _NAME,
        "streak": _NAME,
        "achievement": _NAME,
        "currency": _NAME,
        "operator": {"enum": ["gte", "gt", "lte", "lt", "eq"]},
        "threshold": {"type": "number", "minimum": -AMOUNT_MAX, "maximum": AMOUNT_MAX},
    }
)

_ACHIEVEMENT = _object(
    {
        "title": {**_TEXT, "minLength": 1},
        "description": _TEXT,
        "type": {
            "enum": [
                "MILESTONE", "COLLECTION", "PROGRESSION", "DISCOVERY", "SKILL", "SOCIAL", "CHALLENGE", "SECRET",
            ]
        },
        "category": _TEXT,
        "points": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "secret": {"type": "boolean"},
        "match": {"enum": ["all", "any"]},
        "requirements": {"type": "array", "items": _REQUIREMENT, "minItems": 1, "maxItems": 50},
        "tiers": {
            "type": "array",
            "items": _object(
                {
                    "threshold": {"type": "number", "minimum": -AMOUNT_MAX, "maximum": AMOUNT_MAX},
                    "title": _TEXT,
                    "rewards": {"type": "array", "items": _REWARD, "maxItems": 50},
                },
                ("threshold",),
            ),
            "minItems": 1,
            "maxItems": 100,
        },
        "repeatable": {"type": "boolean"},
        "rewards": {"type": "array", "items": _REWARD, "maxItems": 50},
    },
    ("title", "requirements"),
)  # fmt: skip

PROGRAM_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:questline:program",
    "title": "Questline program",
    "description": "A project's rules as one versioned document.",
    "$defs": {"condition": _CONDITION},
    **_object(
        {
            "timezone": {"type": "string", "description": "IANA zone of the project's days, boards and hours."},
            "currencies": _map(
                _object(
                    {
                        "kind": {"enum": ["xp", "currency"]},
                        "title": _TEXT,
                        "decimals": {"type": "integer", "minimum": 0, "maximum": 9},
                        "levels": _LEVELS,
                        "spendable": {"type": "boolean"},
                    },
                    ("kind",),
                ),
                200,
            ),
            "metrics": _map(
                _object(
                    {
                        "on": _ON,
                        "when": _ref("condition"),
                        "count": {"const": True},
                        **{k: {"type": "string", "minLength": 1} for k in ("sum", "min", "max", "last", "distinct")},
                    },
                    ("on",),
                )
            ),
            "rules": _map(
                _object(
                    {
                        "on": _ON,
                        "when": _ref("condition"),
                        "award": {
                            **_map(
                                {"anyOf": [{"type": "integer", "minimum": 1, "maximum": AMOUNT_MAX}, _FIELD_AMOUNT]},
                                100,
                            ),
                            "minProperties": 1,
                        },
                        "multiply": {"type": "array", "items": _MULTIPLIER, "maxItems": 20},
                        "limit": _object(
                            {
                                "times": {"type": "integer", "minimum": 1, "maximum": 2_000_000_000},
                                "per": {"enum": ["hour", "day", "week", "month", "ever"]},
                            },
                            ("times", "per"),
                        ),
                        "title": _TEXT,
                        "enabled": {"type": "boolean"},
                    },
                    ("on", "award"),
                )
            ),
            "streaks": _map(
                _object(
                    {
                        "on": _ON,
                        "when": _ref("condition"),
                        "every": {"enum": ["day", "week", "month"]},
                        "freezes": _object(
                            {
                                "max": {"type": "integer", "minimum": 1, "maximum": 1_000},
                                "earnEvery": {"type": "integer", "minimum": 1, "maximum": 1_000},
                            },
                            ("max", "earnEvery"),
                        ),
                        "graceHours": {"type": "integer", "minimum": 0, "maximum": 23},
                        "milestones": _map(_object({"award": _FIXED_AWARD}, ("award",)), 1_000, _WHOLE_KEY),
                        "title": _TEXT,
                    },
                    ("on",),
                ),
                200,
            ),
            "achievements": _map(_ACHIEVEMENT),
            "boards": _map(
                _object(
                    {
                        "currency": _NAME,
                        "metric": _NAME,
                        "periods": {
                            "type": "array",
                            "items": {"enum": ["daily", "weekly", "monthly", "yearly", "all-time"]},
                            "minItems": 1,
                            "uniqueItems": True,
                        },
                        "ties": {"enum": ["first", "dense", "competition"]},
                        "scope": {"enum": ["APP", "GLOBAL"]},
                        "decimals": {"type": "integer", "minimum": 0, "maximum": 9},
                        "title": _TEXT,
                    }
                ),
                200,
            ),
            "eventTypes": _map(_object({"trusted": {"type": "boolean"}})),
        }
    ),
}
