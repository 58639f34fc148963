"""`questline dlq`: dead letters, looked at, put back and given up."""

from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from questline.cli.client import Client, ClientError, Key, Token, Url
from questline.cli.output import Json, console, fail, show

app = typer.Typer(no_args_is_help=True, help="Dead letters: events that gave up.")

Project = Annotated[str | None, typer.Option(help="The project. Default: the key's, or all of the operator's.")]
Event = Annotated[list[str] | None, typer.Option(help="Our id of an event; may be given several times.")]
ReasonCode = Annotated[str | None, typer.Option(help="Only those with this reason code.")]
Type = Annotated[str | None, typer.Option("--type", help="Only events of this type.")]
User = Annotated[str | None, typer.Option(help="Only events of this user.")]
From = Annotated[str | None, typer.Option("--from", help="Received from this time on (RFC 3339).")]
To = Annotated[str | None, typer.Option("--to", help="Received before this time (RFC 3339).")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command("list")
def list_letters(
    project: Project = None,
    reason_code: ReasonCode = None,
    type_: Type = None,
    user: User = None,
    discarded: Annotated[bool, typer.Option("--discarded", help="Those that were given up for good.")] = False,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1, max=200)] = 50,
    as_json: Json = False,
    url: Url = None,
    key: Key = None,
    token: Token = None,
) -> None:
    """Show the newest dead letters. A narrow terminal shows the first columns; a pipe gets all, with tabs between them."""
    wanted = {"project": project, "reasonCode": reason_code, "type": type_, "userId": user}
    query = {name: value for name, value in wanted.items() if value is not None}
    query |= {"discarded": str(discarded).lower(), "limit": str(limit)}
    items = _ask(url, key, token, "GET", "/v1/admin/dlq", params=query)["items"]
    columns = {"event": "eventId", "reason": "reason", "user": "userId", "type": "type", "project": "project",
               "attempts": "attempts", "failed": "failedAt", "message": "message"}  # fmt: skip
    show(columns, items, as_json)


@app.command()
def reasons(project: Project = None, url: Url = None, key: Key = None, token: Token = None) -> None:
    """Count dead letters by project and reason code."""
    query = {} if project is None else {"project": project}
    items = _ask(url, key, token, "GET", "/v1/admin/dlq/reasons", params=query)["items"]
    show({name: name for name in ("project", "reason", "events", "discarded", "oldest", "newest")}, items)


@app.command()
def retry(
    project: Project = None,
    event: Event = None,
    reason_code: ReasonCode = None,
    type_: Type = None,
    user: User = None,
    from_: From = None,
    to: To = None,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    token: Token = None,
) -> None:
    """Put dead letters back, to be tried at once: all, or those that are named."""
    body = _choice(project, event, reason_code, type_, user, from_, to)
    if len(body) == (project is not None) and not yes and not typer.confirm("Put all of them back?"):
        raise typer.Exit(1)
    console.print(f"{_go_over(url, key, token, 'retry', body)} put back", highlight=False)


@app.command()
def discard(
    reason: Annotated[str, typer.Option(help="Why; it is kept with each of them.")],
    project: Project = None,
    event: Event = None,
    reason_code: ReasonCode = None,
    type_: Type = None,
    user: User = None,
    from_: From = None,
    to: To = None,
    yes: Yes = False,
    url: Url = None,
    key: Key = None,
    token: Token = None,
) -> None:
    """Give dead letters up for good: all, or those that are named. They stay, and are retried no more."""
    body = _choice(project, event, reason_code, type_, user, from_, to)
    if not yes and not typer.confirm("Give them up for good?"):
        raise typer.Exit(1)
    done = _go_over(url, key, token, "discard", {**body, "reason": reason})
    console.print(f"{done} discarded", highlight=False)


def _choice(
    project: str | None, events: list[str] | None, reason_code: str | None, type_: str | None, user: str | None,
    from_: str | None, to: str | None,
) -> dict[str, Any]:  # fmt: skip
    given = {
        "project": project,
        "eventIds": events or None,
        "reasonCode": reason_code,
        "type": type_,
        "userId": user,
        "from": from_,
        "to": to,
    }
    return {name: value for name, value in given.items() if value is not None}


def _go_over(url: str | None, key: str | None, token: str | None, act: str, body: dict[str, Any]) -> int:
    """Do it request by request, until nothing is left that had failed when it began; show how far it has come."""
    done: int = 0
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(act, total=None)
        while True:
            answer = _ask(url, key, token, "POST", f"/v1/admin/dlq/{act}", json=body)
            done += int(answer["done"])
            bar.update(task, completed=done, total=done + answer["left"])
            if not answer["left"] or not answer["done"]:
                return done
            body["failedBefore"] = answer["failedBefore"]


def _ask(url: str | None, key: str | None, token: str | None, method: str, path: str, **more: Any) -> Any:
    try:
        return Client.of(url, key, token).request(method, path, **more).json()
    except ClientError as error:
        raise fail(str(error)) from error
