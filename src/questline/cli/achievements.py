"""`questline achievements`: a new achievement for users who meet it already."""

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from questline.cli.client import Client, ClientError, Key, Url
from questline.cli.output import console, fail

app = typer.Typer(no_args_is_help=True, help="Achievements for users who meet them already.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The achievement.")]

_POLL_SECONDS = 0.5


@app.command()
def preview(name: Name, url: Url = None, key: Key = None) -> None:
    """Show who meets an achievement without having it, and what awarding it would give them. Nothing is changed."""
    try:
        _tell(name, _look(Client.of(url, key), name))
    except ClientError as error:
        raise fail(str(error)) from error


@app.command()
def award(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Award an achievement to all who meet it. The server goes on when this is stopped; run it again to watch."""
    try:
        client = Client.of(url, key)
        seen = _look(client, name)
        _tell(name, seen)
        running = seen["sweep"] is not None and seen["sweep"]["status"] == "running"
        if not running and not seen["found"]:
            return
        if not running and not yes and not typer.confirm("Award it?"):
            raise typer.Exit(1)
        client.request("POST", _path(name))
        sweep = _watch(client, name)
    except ClientError as error:
        raise fail(str(error)) from error
    except KeyboardInterrupt:
        console.print("the server goes on; run this again to watch")
        raise typer.Exit(130) from None
    console.print(f"{sweep['sent']} users were sent {name}", highlight=False)


def _look(client: Client, name: str) -> dict[str, Any]:
    """Return the pages of a preview, added up."""
    seen: dict[str, Any] = {}
    with _bar() as bar:
        task = bar.add_task("looking", total=None)
        cursor: str | None = None
        while True:
            query = {} if cursor is None else {"cursor": cursor}
            page = client.request("GET", _path(name), params=query).json()
            if not seen:
                seen = page
            else:
                seen["examined"] += page["examined"]
                seen["found"] += page["found"]
                seen["sample"] += page["sample"]
                for what, amount in page["cost"].items():
                    seen["cost"][what] = seen["cost"].get(what, 0) + amount
            bar.update(task, completed=seen["examined"], total=max(page["users"], seen["examined"]))
            cursor = page["nextCursor"]
            if cursor is None:
                return seen


def _watch(client: Client, name: str) -> dict[str, Any]:
    """Show how far the award comes, until it is finished."""
    with _bar() as bar:
        task = bar.add_task("awarding", total=None)
        while True:
            sweep: dict[str, Any] = client.request("GET", _path(name), params={"limit": 0}).json()["sweep"]
            bar.update(task, completed=sweep["examined"], total=max(sweep["users"], sweep["examined"]))
            if sweep["status"] == "finished":
                return sweep
            time.sleep(_POLL_SECONDS)


def _tell(name: str, seen: dict[str, Any]) -> None:
    lines = [f"{seen['found']} of {seen['examined']} users meet {name} and do not have it"]
    lines += [f"  {amount} {what}" for what, amount in sorted(seen["cost"].items())]
    if seen["sample"]:
        lines.append(f"  among them: {', '.join(seen['sample'][:5])}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _path(name: str) -> str:
    return f"/v1/achievements/{quote(name, safe='')}/retroactive"


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    )
