"""`--demo`: a sample program, and six weeks of a task app's traffic played through the real API."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from questline.assembly import now
from questline.cli.client import Client

USERS = 300
DAYS = 42
_SEED = 20_26
_CHUNK = 1_000
_FIRST = ["Ada", "Alan", "Barbara", "Claude", "Donald", "Edsger", "Frances", "Grace", "Hedy", "John", "Katherine",
          "Ken", "Leslie", "Margaret", "Niklaus", "Radia", "Shafi", "Tim", "Whitfield", "Yukihiro"]  # fmt: skip
_ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Sydney", "America/Sao_Paulo"]


def play(client: Client, console: Console) -> None:
    """Apply the sample program, send the traffic, wait until it is applied, and show a board."""
    program = files("questline.cli").joinpath("demo.yaml").read_bytes()
    client.request("PUT", "/v1/program", content=program, headers={"Content-Type": "application/yaml"})
    sent = list(traffic(now()))
    lines = [json.dumps(event) for event in sent]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    counts: dict[str, int] = {}
    with Progress(*columns, console=console) as progress:
        sending = progress.add_task("sending events", total=len(lines))
        for start in range(0, len(lines), _CHUNK):
            part = lines[start : start + _CHUNK]
            answer = client.request("POST", "/v1/ingest/stream?results=errors", content="\n".join(part))
            summary = json.loads(answer.text.splitlines()[-1])["summary"]
            counts = {name: counts.get(name, 0) + number for name, number in summary.items()}
            progress.update(sending, advance=len(part))
        # A command is applied after all that its user sent before: when everybody's is through, so is the rest.
        naming = progress.add_task("naming users", total=USERS)
        for number in range(USERS):
            body = {"id": user(number), "displayName": name(number), "timezone": _ZONES[number % len(_ZONES)]}
            client.request("POST", "/v1/users", json=body)
            progress.update(naming, advance=1)
    console.print(f"sent {len(lines)} events: " + ", ".join(f"{n} {k}" for k, n in counts.items()), highlight=False)
    _show(client, console)


def user(number: int) -> str:
    return f"user-{number:03d}"


def name(number: int) -> str:
    return f"{_FIRST[number % len(_FIRST)]} {chr(65 + number // len(_FIRST) % 26)}."


def traffic(end: datetime) -> Iterator[dict[str, Any]]:
    """Yield six weeks of events in the order they arrive: some late, some twice, a few that make no sense."""
    chance = random.Random(_SEED)
    begin = end.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    zeal = [chance.betavariate(1.3, 2.2) for _ in range(USERS)]
    late: list[dict[str, Any]] = []
    for day in range(DAYS + 1):
        today = [event for event in _day(chance, begin + timedelta(days=day), zeal) if event["occurredAt"] <= _iso(end)]
        today.sort(key=lambda event: str(event["occurredAt"]))
        kept, held = [], []
        for event in today:
            (held if chance.random() < 0.03 else kept).append(event)
        yield from late
        for event in kept:
            yield event
            if chance.random() < 0.01:
                yield event  # sent twice by an impatient client
        if chance.random() < 0.5:
            yield {"type": "task_completed", "payload": {"difficulty": "hard"}}  # nobody did it
        late = held
    yield from late


def _day(chance: random.Random, date: datetime, zeal: list[float]) -> Iterator[dict[str, Any]]:
    for number, keen in enumerate(zeal):
        if chance.random() > 0.25 + 0.7 * keen:
            continue
        hour = min(max(chance.gauss(15, 4), 0), 23.9)
        at = date + timedelta(hours=hour)
        kinds = ["check_in", *(["task_completed"] * (1 + int(keen * 6 * chance.random())))]
        if chance.random() < 0.3:
            kinds.append("lesson_finished")
        if chance.random() < 0.06:
            kinds.append("purchase")
        for index, kind in enumerate(kinds):
            at += timedelta(minutes=chance.uniform(1, 25))
            yield {
                "type": kind,
                "userId": user(number),
                "payload": _payload(chance, kind),
                "occurredAt": _iso(at),
                "eventId": f"demo-{date:%Y%m%d}-{number}-{index}",
                "source": "demo",
            }


def _payload(chance: random.Random, kind: str) -> dict[str, Any]:
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


def _show(client: Client, console: Console) -> None:
    board = client.request("GET", "/v1/leaderboards?metric=xp&periodKey=all-time&limit=8").json()
    table = Table(
        "rank", "user", "name", "XP", title=f"board xp, all-time ({board['total']} users)", title_justify="left"
    )
    for entry in board["entries"]:
        table.add_row(str(entry["rank"]), entry["userId"], entry["displayName"] or "", f"{entry['score']:,}")
    console.print(table)
    first = board["entries"][0]["userId"]
    console.print(f"a profile: {client.url}/v1/users/{first}/profile", highlight=False)
