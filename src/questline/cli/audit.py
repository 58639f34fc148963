"""`questline audit`: what was done to the project, by whom and from where."""

import sys
from typing import Annotated, Any

import typer

from questline.cli.client import Client, ClientError, Key, Url
from questline.cli.output import fail, show

app = typer.Typer(no_args_is_help=True, help="What was done to the project, by whom and from where.")

Actor = Annotated[str | None, typer.Option(help="Only of this actor: key:ID, member:ID, operator or user.")]
Action = Annotated[str | None, typer.Option(help="Only this, such as key.create.")]
Since = Annotated[str | None, typer.Option(help="From this moment on, such as 2026-11-21T00:00:00Z.")]


@app.command("list")
def list_acts(
    actor: Actor = None,
    action: Action = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=200)] = 50,
    url: Url = None,
    key: Key = None,
) -> None:
    """List acts, newest first."""
    given = _given(actor, action, since) | {"limit": limit}
    try:
        items = Client.of(url, key).request("GET", "/v1/audit", params=given).json()["items"]
    except ClientError as error:
        raise fail(str(error)) from error
    rows = [{**act, "at": act["at"][:19], "target": f"{act['target']['kind']} {act['target']['id']}"} for act in items]
    show({name: name for name in ("at", "actor", "action", "target", "address")}, rows)


@app.command()
def export(actor: Actor = None, action: Action = None, since: Since = None, url: Url = None, key: Key = None) -> None:
    """Write every act to standard output, one JSON object a line, newest first."""
    try:
        with Client.of(url, key).lines("/v1/audit/export", _given(actor, action, since)) as lines:
            for line in lines:
                sys.stdout.write(line + "\n")
    except ClientError as error:
        raise fail(str(error)) from error


def _given(actor: str | None, action: str | None, since: str | None) -> dict[str, Any]:
    asked = {"actor": actor, "action": action, "since": since}
    return {name: value for name, value in asked.items() if value is not None}
