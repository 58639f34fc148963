"""`--demo`: a sample program, and six weeks of a task app's traffic played through the real API."""

import json
import threading
import time
from importlib.resources import files
from pathlib import Path

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from questline.assembly_worker import now
from questline.cli.client import Client, ClientError
from questline.cli.demo_traffic import USERS, ZONES, name_of, traffic, user_id
from questline.cli.dev_file import replace_file
from questline.cli.output import console, errors

_CHUNK_EVENTS = 500
_TRIES_SECONDS = 30.0
_YAML = {"Content-Type": "application/yaml"}


class _Stopped(Exception):
    """The instance stops; the rest of the traffic is sent at the next start with --demo."""


class _Progress(msgspec.Struct):
    """demo.json: when the traffic ends, so that a repeat sends the very same events, and whether it is all in."""

    end: str
    done: bool = False


def play_once(url: str, key: str, place: Path, stop: threading.Event) -> None:
    """Play the demo, or go on with one that was interrupted; say where to look. Meant for a thread of its own."""
    try:
        client = Client(url, key)
        progress = _read(place)
        if progress is None:
            if client.request("GET", "/v1/program").headers["questline-program-version"] != "0":
                raise ClientError("my-app has a program of its own; play the demo in another --data-dir")
            progress = _Progress(now().isoformat(timespec="seconds"))
        if not progress.done:
            client.request("PUT", "/v1/program", content=_program(), headers=_YAML)
            _write(place, progress)
            _play(client, progress, stop)
            progress.done = True
            _write(place, progress)
        _show(client, key)
    except _Stopped:
        return
    except ClientError as error:
        errors.print(f"[bold red]the demo stopped:[/] {error}", highlight=False)


def _program() -> bytes:
    return files("questline.cli").joinpath("demo.yaml").read_bytes()


def _play(client: Client, progress: _Progress, stop: threading.Event) -> None:
    lines = [json.dumps(event) for event in traffic(progress.end)]
    counts: dict[str, int] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        naming = bars.add_task("users", total=USERS)
        sending = bars.add_task("six weeks of events", total=len(lines))
        for number in range(USERS):
            body = {"id": user_id(number), "displayName": name_of(number), "timezone": ZONES[number % len(ZONES)]}
            _patiently(client, stop, "POST", "/v1/users", json=body)
            bars.advance(naming)
        for start in range(0, len(lines), _CHUNK_EVENTS):
            part = lines[start : start + _CHUNK_EVENTS]
            answer = _patiently(client, stop, "POST", "/v1/events/batch", content=f'{{"events":[{",".join(part)}]}}')
            for status in ("accepted", "duplicate", "rejected"):
                counts[status] = counts.get(status, 0) + answer[status]
            bars.advance(sending, len(part))
        applying = bars.add_task("applied to users", total=USERS)
        for number in range(USERS):  # a command comes after all that its user sent before: its answer says all is in
            body = {"id": user_id(number), "displayName": name_of(number)}
            _patiently(client, stop, "POST", "/v1/users", json=body)
            bars.advance(applying)
    told = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    said = f"[bold green]The demo is in:[/] {USERS} users, {len(lines):,} events ({told})"
    console.print(said, highlight=False, soft_wrap=True)


def _patiently(client: Client, stop: threading.Event, method: str, path: str, **more: object) -> dict[str, int]:
    """Send a request that may be repeated, until it is answered: the API may be starting again meanwhile."""
    deadline = time.monotonic() + _TRIES_SECONDS
    while not stop.is_set():
        try:
            answered: dict[str, int] = client.request(method, path, **more).json()
        except ClientError as error:
            if (error.problem and error.code != "unavailable") or time.monotonic() > deadline:
                raise
            stop.wait(0.2)
        else:
            return answered
    raise _Stopped


def _show(client: Client, key: str) -> None:
    board = client.request("GET", "/v1/leaderboards?metric=xp&periodKey=all-time&limit=5").json()
    table = Table("rank", "user", "name", "XP", title=f"board xp, all-time: {board['total']} users")
    for entry in board["entries"]:
        table.add_row(str(entry["rank"]), entry["userId"], entry["displayName"] or "", f"{entry['score']:,}")
    console.print(table)
    user = board["entries"][0]["userId"] if board["entries"] else user_id(0)
    console.print(f"Look around:\n  KEY={key}", highlight=False, soft_wrap=True)
    for path in (f"/v1/users/{user}/profile", f"/v1/users/{user}/history", "/v1/leaderboards?metric=xp", "/v1/program"):
        console.print(
            f"  curl -H \"X-API-Key: $KEY\" '{client.url}{path}'", highlight=False, markup=False, soft_wrap=True
        )


def _read(place: Path) -> _Progress | None:
    try:
        return msgspec.json.decode(place.read_bytes(), type=_Progress)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(place: Path, progress: _Progress) -> None:
    replace_file(place, msgspec.json.encode(progress))
