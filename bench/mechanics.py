"""Apply with a whole program: 50 rules, 30 achievements, 10 quests, 5 streaks, a season and a league, over ten event types."""

import random
from collections.abc import Sequence
from typing import Any

import asyncpg

from bench.drain import watch_drain
from bench.frame import Bench, Figure
from bench.program import PROGRAM
from bench.state import use_program
from bench.traffic import Drawn

TYPES = [f"type-{n}" for n in range(10)]
EVENTS = 60_000


def program() -> dict[str, Any]:
    """Return the program: what an event of a type sets off is five rules, two streaks, a metric and what follows of them."""
    metrics = {f"count-{n}": {"on": type_, "count": True} for n, type_ in enumerate(TYPES)}
    rules = {
        f"rule-{n}": {
            "on": TYPES[n % 10],
            "when": {"all": [{"field": "difficulty", "op": "eq", "value": ("easy", "hard")[n % 2]}, _NTH[n // 10]]},
            "award": {"xp": {"field": "minutes", "times": 2}, "coins": 1 + n % 5},
        }
        for n in range(50)
    }
    streaks: dict[str, Any] = {"any": {"on": TYPES, "milestones": {"7": {"award": {"coins": 20}}}}}
    for n in range(4):
        streaks[f"streak-{n}"] = {"on": TYPES[n * 2 : n * 2 + 3], "every": ("day", "week")[n % 2]}
    achievements = {
        f"achievement-{n}": {
            "title": f"Achievement {n}",
            "requirements": [_REQUIREMENTS[n % 3](n)],
            "rewards": [{"currency": "coins", "value": 10}],
        }
        for n in range(30)
    }
    quests = {
        f"quest-{n}": {
            "title": f"Quest {n}",
            "type": "daily",
            "autoStart": True,
            "steps": [
                {"id": "first", "requirements": [{"metric": f"count-{n}", "threshold": 3}]},
                {"id": "then", "requirements": [{"metric": f"count-{(n + 1) % 10}", "threshold": 2}]},
            ],
            "rewards": [{"currency": "coins", "value": 5}],
        }
        for n in range(10)
    }
    return {
        "timezone": "UTC",
        "currencies": PROGRAM["currencies"],
        "metrics": metrics,
        "rules": rules,
        "streaks": streaks,
        "achievements": achievements,
        "quests": quests,
        "boards": PROGRAM["boards"],
        "seasons": {"now": {"start": "2026-01-01", "end": "2099-01-01", "boards": {"season-xp": {"currency": "xp"}}}},
        "leagues": {"weekly": _LEAGUE},
    }


_NTH = [{"field": "minutes", "op": "gt", "value": bound} for bound in (0, 10, 20, 30, 40)]
_REQUIREMENTS = [
    lambda n: {"metric": f"count-{n % 10}", "threshold": 10 + n},
    lambda n: {"level": "xp", "threshold": 2 + n},
    lambda n: {"streak": "any", "threshold": 2 + n},
]
_LEAGUE: dict[str, Any] = {
    "currency": "xp",
    "tiers": [{"title": "Bronze"}, {"title": "Silver"}, {"title": "Gold"}],
    "cohorts": {"size": 30},
    "promote": 5,
    "demote": 5,
}


def any_type() -> Drawn:
    """An event of one of the ten types."""
    payload = {"difficulty": random.choice(("easy", "hard")), "minutes": random.randint(1, 60)}
    return Drawn(random.choice(TYPES), payload)


async def run(bench: Bench) -> Sequence[Figure]:
    """Drain backlogs of events of all ten types."""
    conn = await asyncpg.connect(bench.state.owner_dsn)
    await use_program(conn, program())
    runs = [(await watch_drain(bench, conn, EVENTS, draw=any_type)).per_second for _ in range(bench.repeats + 1)]
    await use_program(conn, PROGRAM)
    await conn.close()
    what = "apply with 50 rules, 30 achievements, 10 quests, 5 streaks, a season and a league, backlog drain"
    return [Figure("mechanics", what, "events/s", runs[1:], reach=4_000)]
