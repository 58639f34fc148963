"""The traffic of the demo: what some hundred users of a task app did in six weeks, from a fixed seed."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

USERS = 300
DAYS = 42
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Sydney", "America/Sao_Paulo")

_SEED = 2026
_FIRST_NAMES = ("Ada", "Alan", "Barbara", "Claude", "Donald", "Edsger", "Frances", "Grace", "Hedy", "John", "Katherine",
                "Ken", "Leslie", "Margaret", "Niklaus", "Radia", "Shafi", "Tim", "Whitfield", "Yukihiro")  # fmt: skip
_LATE, _TWICE, _NONSENSE = 0.03, 0.01, 0.002  # shares of events

Event = dict[str, Any]


def user_id(number: int) -> str:
    """Return the app's own id of a user."""
    return f"user-{number:03d}"


def name_of(number: int) -> str:
    """Return a name to show."""
    return f"{_FIRST_NAMES[number % len(_FIRST_NAMES)]} {chr(65 + number // len(_FIRST_NAMES) % 26)}."


def traffic(end: str) -> Iterator[Event]:
    """Yield six weeks of events up to `end` (ISO 8601) in the order they arrive; the same `end`, the same events.

    Some are a day late, some come twice, and a few make no sense.
    """
    chance = random.Random(_SEED)
    last = datetime.fromisoformat(end).astimezone(UTC)
    midnight = last.replace(hour=0, minute=0, second=0, microsecond=0)
    zeal = [chance.betavariate(1.3, 2.2) for _ in range(USERS)]
    late: list[Event] = []
    for day in range(-DAYS, 1):
        today = sorted(_day(chance, midnight + timedelta(days=day), zeal), key=lambda event: str(event["occurredAt"]))
        yield from late
        late = []
        for event in today:
            lot = chance.random()
            if event["occurredAt"] > _iso(last):
                continue
            if lot < _LATE:
                late.append(event)
                continue
            yield event
            if lot > 1 - _TWICE:
                yield event  # sent twice by an impatient client
            elif lot > 1 - _TWICE - _NONSENSE:
                yield {"type": "task_completed", "payload": event["payload"]}  # nobody did it
    yield from late


def _day(chance: random.Random, date: datetime, zeal: list[float]) -> Iterator[Event]:
    """Yield what happened on one day; keen users come on most days and do more."""
    weekend = 0.8 if date.weekday() >= 5 else 1.0
    for number, keen in enumerate(zeal):
        if chance.random() > (0.2 + 0.75 * keen) * weekend:
            continue
        at = date + timedelta(hours=min(max(chance.gauss(14, 4), 0), 22))
        kinds = ["check_in", *(["task_completed"] * (1 + int(keen * 6 * chance.random())))]
        if chance.random() < 0.3:
            kinds.append("lesson_finished")
        if chance.random() < 0.06:
            kinds.append("purchase")
        for index, kind in enumerate(kinds):
            at += timedelta(minutes=chance.uniform(1, 12))
            yield {
                "type": kind,
                "userId": user_id(number),
                "payload": payload_of(chance, kind),
                "occurredAt": _iso(at),
                "eventId": f"demo-{date:%Y%m%d}-{number}-{index}",
                "source": "demo",
            }


def payload_of(chance: random.Random, kind: str) -> dict[str, Any]:
    """Return a payload as the app would send it with an event of this type."""
    if kind == "task_completed":
        difficulty = chance.choices(["easy", "medium", "hard"], [5, 3, 2])[0]
        return {"difficulty": difficulty, "tag": chance.choice(["home", "work", "study", "sport", "friends"])}
    if kind == "lesson_finished":
        return {"score": chance.randint(40, 100), "course": chance.choice(["piano", "chess", "spanish"])}
    if kind == "purchase":
        return {"amount": round(chance.lognormvariate(3, 0.6), 2), "tier": chance.choice(["basic", "gold"])}
    return {}


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
