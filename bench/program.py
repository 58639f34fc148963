"""The program that benchmarks run: a rule, XP, coins, a streak, a metric, an achievement and two boards a task."""

from typing import Any

EVENT_TYPE = "task_completed"

PROGRAM: dict[str, Any] = {
    "timezone": "UTC",
    "currencies": {
        "xp": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}},
        "coins": {"kind": "currency"},
    },
    "metrics": {"tasks": {"on": EVENT_TYPE, "count": True}},
    "rules": {
        "task": {
            "on": EVENT_TYPE,
            "when": {"all": [{"field": "difficulty", "op": "in", "value": ["easy", "hard"]}]},
            "award": {"xp": {"field": "minutes", "times": 2}, "coins": 5},
        }
    },
    "streaks": {"daily": {"on": EVENT_TYPE, "every": "day"}},
    "achievements": {
        "fifty-tasks": {
            "title": "Fifty tasks",
            "requirements": [{"metric": "tasks", "operator": "gte", "threshold": 50}],
            "rewards": [{"currency": "coins", "value": 100}],
        }
    },
    "boards": {"xp-week": {"currency": "xp", "periods": ["weekly"]}, "xp-all": {"currency": "xp"}},
}


def with_other_rules(count: int) -> dict[str, Any]:
    """The program with `count` rules more, each of an event type of its own."""
    others = {f"other-{n}": {"on": f"other_{n}", "award": {"coins": 1}} for n in range(count)}
    return PROGRAM | {"rules": PROGRAM["rules"] | others}
