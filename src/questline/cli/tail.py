"""`questline tail`: events as they come, each with what became of it.

It asks the API, with a key: so it works against any server, sees its own project alone, and needs no way to the database.
It looks again over the last half minute each time, since an event that was received earlier may become visible later.
"""

import time
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer
from rich.text import Text

from questline.cli.client import Client, ClientError, Key, Url
from questline.cli.output import console, errors, fail
from questline.control.events import EventStatus
from questline.model.limits import PAGE_ITEMS_MAX, RESTART_BACKOFF_SECONDS_MAX

_LOOK_SECONDS = 0.5
_OVERLAP = timedelta(seconds=30)
_PAGES_MAX = 10  # of one look; what came beyond is only told to be
_SHOWN_MAX = 20_000  # events remembered as shown, or as waiting for their outcome
_ASKED_AT_ONCE = 20  # of those that wait, and have left the last half minute
_COLOURS = {"processed": "green", "refused": "yellow", "held": "magenta", "failed": "bold red", "pending": "dim"}

Item = dict[str, Any]


class Tail:
    """What was shown, and what waits for its outcome; both bounded."""

    def __init__(self, client: Client, query: dict[str, str], status: str | None) -> None:
        self._client = client
        self._query = query
        self._status = status
        self._horizon: datetime | None = None  # nothing from before is of interest
        self._shown: OrderedDict[str, None] = OrderedDict()
        self._waiting: OrderedDict[str, Item] = OrderedDict()
        self.skipped = False  # whether the last look found more than it can show

    def begin(self, last: int) -> list[Item]:
        """Return the last events that have their outcome, and follow from there."""
        items = self._page({"limit": str(PAGE_ITEMS_MAX)})["items"]
        if items:
            self._horizon = _received(items[0]) - _OVERLAP
        ended = list(self._ended(reversed(items)))
        return ended[-last:] if last else []

    def look(self) -> list[Item]:
        """Return what ended since the last look, in the order of receipt as far as it is known."""
        found: list[Item] = []
        cursor: str | None = None
        self.skipped = True
        for _ in range(_PAGES_MAX):
            page = self._page({"limit": str(PAGE_ITEMS_MAX), **({} if cursor is None else {"cursor": cursor})})
            new = [item for item in page["items"] if self._horizon is None or _received(item) >= self._horizon]
            found += new
            cursor = page["nextCursor"]
            if cursor is None or len(new) < len(page["items"]):
                self.skipped = False
                break
        if found:
            self._horizon = max(self._horizon or _received(found[0]), _received(found[0]) - _OVERLAP)
        return list(self._ended(reversed(found + self._asked({item["id"] for item in found}))))

    def _asked(self, seen: set[str]) -> list[Item]:
        """Ask for events one by one that still wait, though they came before the last half minute."""
        old = [id_ for id_ in self._waiting if id_ not in seen][:_ASKED_AT_ONCE]
        for id_ in old:
            self._waiting.move_to_end(id_)
        answers = []
        for id_ in old:
            view = self._client.request("GET", f"/v1/events/{id_}").json()
            answers.append({**self._waiting[id_], "status": view["status"], "reason": view["reason"]})
        return answers

    def _ended(self, items: Iterator[Item]) -> Iterator[Item]:
        for item in items:
            id_ = item["id"]
            if id_ in self._shown:
                continue
            if item["status"] == EventStatus.PENDING and self._status != EventStatus.PENDING:
                _remember(self._waiting, id_, item)
                continue
            self._waiting.pop(id_, None)
            _remember(self._shown, id_, None)
            if self._status in (None, item["status"]):
                yield item

    def _page(self, more: dict[str, str]) -> dict[str, Any]:
        page: dict[str, Any] = self._client.request("GET", "/v1/events", params={**self._query, **more}).json()
        return page


def tail(
    user: Annotated[str | None, typer.Option(help="Only events of this user.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    status: Annotated[EventStatus | None, typer.Option(help="Only those that ended so, or that wait.")] = None,
    last: Annotated[int, typer.Option(help="Begin with so many that were before.", min=0, max=PAGE_ITEMS_MAX)] = 10,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on until Ctrl-C, or stop there.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show events as they come, each once it has its outcome."""
    query = {name: value for name, value in (("userId", user), ("type", type_)) if value is not None}
    try:
        watched = Tail(Client.of(url, key), query, status)
        _show(watched.begin(last), as_json)
    except ClientError as error:
        raise fail(str(error)) from error
    try:
        while follow:
            time.sleep(_LOOK_SECONDS)
            _show(_look_again(watched), as_json)
            if watched.skipped:
                errors.print("… more came than can be shown; narrow it with --user, --type or --status", style="dim")
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _look_again(watched: Tail) -> list[Item]:
    """Look until the server answers; only a refusal ends it."""
    pause_seconds = _LOOK_SECONDS
    while True:
        try:
            return watched.look()
        except ClientError as error:
            if 400 <= int(error.problem.get("status", 0)) < 500 and error.problem.get("status") != 429:
                raise fail(str(error)) from error
            if pause_seconds == _LOOK_SECONDS:
                errors.print(f"… {error}; trying again", style="dim", highlight=False)
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, RESTART_BACKOFF_SECONDS_MAX)


def _show(items: list[Item], as_json: bool) -> None:
    for item in items:
        if as_json:
            typer.echo(msgspec.json.encode(item).decode())
            continue
        line = Text(_received(item).strftime("%H:%M:%S.%f")[:-3], style="dim")
        line.append(f"  {item['status']:<9}", style=_COLOURS.get(item["status"], ""))
        line.append(f"  {_printable(item['type'])}", style="bold").append(f"  {_printable(item['userId'])}")
        if item["reason"] not in (None, "PROCESSED"):
            line.append(f"  {item['reason']}", style=_COLOURS.get(item["status"], ""))
        console.print(line.append(f"  {item['id']}", style="dim"), soft_wrap=True)


def _printable(text: str) -> str:
    """Return a client's text without what would steer the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _received(item: Item) -> datetime:
    return datetime.fromisoformat(item["receivedAt"])


def _remember(memory: OrderedDict[str, Any], id_: str, value: Any) -> None:
    memory[id_] = value
    if len(memory) > _SHOWN_MAX:
        memory.popitem(last=False)
