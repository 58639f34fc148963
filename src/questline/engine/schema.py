"""The JSON Schema of a program document: what editors use, and the first half of validation."""

from typing import Any

from questline.engine import (
    boosts,
    catalogue,
    commissions,
    guards,
    items,
    leagues,
    named_rewards,
    quest_forms,
    redemptions,
    referrals,
    seasons,
    segments,
    tiers,
    vitals,
)
from questline.engine.conditions import OPERATORS, SYNONYMS
from questline.engine.forms import (
    FIXED_AWARD,
    GAINS,
    NAME,
    ON,
    REQUIREMENT,
    REWARDS,
    ROUND,
    TEXT,
    WHOLE_KEY,
    map_of,
    object_of,
    ref,
)
from questline.model.limits import AMOUNT_MAX, LEVELS_MAX, SHORT_TEXT_CHARS_MAX

_CONDITION = {
    "type": "object",
    "description": "all, any, not, or a leaf {field, op, value}.",
    "properties": {
        "all": {"type": "array", "items": ref("condition"), "minItems": 1},
        "any": {"type": "array", "items": ref("condition"), "minItems": 1},
        "not": ref("condition"),
        "field": {"type": "string", "minLength": 1, "maxLength": SHORT_TEXT_CHARS_MAX},
        "op": {"enum": [*OPERATORS, *SYNONYMS]},
        "value": {},
    },
    "additionalProperties": False,
}

_FIELD_AMOUNT = object_of(
    {
        "value": {"type": "integer", "minimum": 1, "maximum": AMOUNT_MAX},
        "field": {"type": "string", "minLength": 1, "maxLength": SHORT_TEXT_CHARS_MAX},
        "times": {"type": "number", "minimum": 0, "maximum": 1_000_000},
        "round": ROUND,
        "min": {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAX},
        "max": {"type": "integer", "minimum": 0, "maximum": AMOUNT_MAX},
    },
    description="A field times a number, or a fixed `value` with a rounding of its own for when it is multiplied.",
)

_FACTOR = {"type": "number", "minimum": 0, "maximum": 1_000_000}
_MULTIPLIER = object_of(
    {
        "field": {"type": "string", "minLength": 1, "maxLength": SHORT_TEXT_CHARS_MAX},
        "map": {**map_of(_FACTOR, 1_000), "minProperties": 1},
        "default": _FACTOR,
        "streak": NAME,
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

_LEVELS = object_of(
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
        "rewards": map_of(object_of({"award": FIXED_AWARD, "rewards": REWARDS}), LEVELS_MAX, WHOLE_KEY),
    },
    ("curve",),
    description="level = floor(sqrt(xp/base)) + 1, floor(xp/base) + 1, or a table of the XP each level needs.",
)

_ACHIEVEMENT = object_of(
    {
        "title": {**TEXT, "minLength": 1},
        "description": TEXT,
        "type": {
            "enum": [
                "MILESTONE", "COLLECTION", "PROGRESSION", "DISCOVERY", "SKILL", "SOCIAL", "CHALLENGE", "SECRET",
            ]
        },
        "category": TEXT,
        "points": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "secret": {"type": "boolean"},
        "match": {"enum": ["all", "any"]},
        "requirements": {"type": "array", "items": REQUIREMENT, "minItems": 1, "maxItems": 50},
        "tiers": {
            "type": "array",
            "items": object_of(
                {
                    "threshold": {"type": "number", "minimum": -AMOUNT_MAX, "maximum": AMOUNT_MAX},
                    "title": TEXT,
                    "rewards": REWARDS,
                },
                ("threshold",),
            ),
            "minItems": 1,
            "maxItems": 100,
        },
        "repeatable": {"type": "boolean"},
        "rewards": REWARDS,
    },
    ("title", "requirements"),
)  # fmt: skip

PROGRAM_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:questline:program",
    "title": "Questline program",
    "description": "A project's rules as one versioned document.",
    "$defs": {"condition": _CONDITION},
    **object_of(
        {
            "timezone": {"type": "string", "description": "IANA zone of the project's days, boards and hours."},
            "currencies": map_of(
                object_of(
                    {
                        "kind": {"enum": ["xp", "currency"]},
                        "title": TEXT,
                        "decimals": {"type": "integer", "minimum": 0, "maximum": 9},
                        "levels": _LEVELS,
                        "spendable": {"type": "boolean"},
                        "gains": GAINS,
                    },
                    ("kind",),
                ),
                200,
            ),
            "metrics": map_of(
                object_of(
                    {
                        "on": ON,
                        "when": ref("condition"),
                        "count": {"const": True},
                        **{k: {"type": "string", "minLength": 1} for k in ("sum", "min", "max", "last", "distinct")},
                    },
                    ("on",),
                )
            ),
            "rules": map_of(
                object_of(
                    {
                        "on": ON,
                        "when": ref("condition"),
                        "award": {
                            **map_of(
                                {"anyOf": [{"type": "integer", "minimum": 1, "maximum": AMOUNT_MAX}, _FIELD_AMOUNT]},
                                100,
                            ),
                            "minProperties": 1,
                        },
                        "rewards": REWARDS,
                        "multiply": {"type": "array", "items": _MULTIPLIER, "maxItems": 20},
                        "limit": object_of(
                            {
                                "times": {"type": "integer", "minimum": 1, "maximum": 2_000_000_000},
                                "per": {"enum": ["hour", "day", "week", "month", "ever"]},
                            },
                            ("times", "per"),
                        ),
                        "title": TEXT,
                        "enabled": {"type": "boolean"},
                    },
                    ("on",),
                )
            ),
            "streaks": map_of(
                object_of(
                    {
                        "on": ON,
                        "when": ref("condition"),
                        "every": {"enum": ["day", "week", "month"]},
                        "freezes": object_of(
                            {
                                "max": {"type": "integer", "minimum": 1, "maximum": 1_000},
                                "earnEvery": {"type": "integer", "minimum": 1, "maximum": 1_000},
                            },
                            ("max", "earnEvery"),
                        ),
                        "graceHours": {"type": "integer", "minimum": 0, "maximum": 23},
                        "dayStartHours": {"type": "integer", "minimum": 0, "maximum": 23},
                        "days": {"type": "integer", "minimum": 1, "maximum": 31},
                        "personal": {"type": "boolean"},
                        "remind": object_of(
                            {
                                "hour": {"type": "integer", "minimum": 0, "maximum": 23},
                                "from": {"type": "integer", "minimum": 1, "maximum": 100_000},
                            },
                            ("hour",),
                        ),
                        "milestones": map_of(object_of({"award": FIXED_AWARD, "rewards": REWARDS}), 1_000, WHOLE_KEY),
                        "title": TEXT,
                    },
                    ("on",),
                ),
                200,
            ),
            "achievements": map_of(_ACHIEVEMENT),
            "boards": map_of(
                object_of(
                    {
                        "currency": NAME,
                        "metric": NAME,
                        "periods": {
                            "type": "array",
                            "items": {"enum": ["daily", "weekly", "monthly", "yearly", "all-time"]},
                            "minItems": 1,
                            "uniqueItems": True,
                        },
                        "ties": {"enum": ["first", "dense", "competition"]},
                        "scope": {"enum": ["APP", "GLOBAL"]},
                        "decimals": {"type": "integer", "minimum": 0, "maximum": 9},
                        "title": TEXT,
                    }
                ),
                200,
            ),
            "vitals": vitals.SCHEMA,
            "items": items.SCHEMA,
            "inventory": items.INVENTORY_SCHEMA,
            "segments": segments.SCHEMA,
            "boosts": boosts.SCHEMA,
            "boosting": boosts.BOOSTING_SCHEMA,
            "tiers": tiers.SCHEMA,
            "referrals": referrals.SCHEMA,
            "commissions": commissions.SCHEMA,
            "seasons": seasons.SCHEMA,
            "leagues": leagues.SCHEMA,
            "guards": guards.SCHEMA,
            "suspicion": guards.SUSPICION_SCHEMA,
            "rewards": named_rewards.SCHEMA,
            "quests": quest_forms.SCHEMA,
            "store": redemptions.SCHEMA,
            "eventTypes": catalogue.SCHEMA,
            "unknownEventTypes": catalogue.UNKNOWN_SCHEMA,
        }
    ),
}
