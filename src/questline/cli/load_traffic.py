"""Believable events of one run of `questline load`: the same number, the same event."""

import random
from typing import Any

from questline.cli.demo_traffic import payload_of

_KINDS = {"task_completed": 60, "lesson_finished": 20, "check_in": 12, "purchase": 8}
_KEEN = 1.2  # the shape of how unequally users act: a fifth of them cause most events


def event_of(run: str, number: int, users: int) -> dict[str, Any]:
    """Return an event; its id tells the run and the number."""
    chance = random.Random(f"{run}/{number}")
    kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
    user = int(chance.paretovariate(_KEEN) * users / 20) % users
    return {
        "type": kind,
        "userId": f"{run}-user-{user}",
        "payload": payload_of(chance, kind),
        "eventId": id_of(run, number),
        "source": f"load/{run}",
    }


def id_of(run: str, number: int) -> str:
    """Return the event id that tells the run and the number."""
    return f"{run}-{number}"
