"""`questline replay`: events put back, worked out again under another program version, or counted in a new metric."""

import time
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from questline.cli.client import Client, ClientError, Key, Token, Url
from questline.cli.output import console, fail

_POLL_SECONDS = 0.5
_DECIMALS = 6
_SHOWN = 20  # users whose difference is shown


def replay(
    mode: Annotated[str, typer.Argument(metavar="MODE", help="republish: put events back that were not applied; "
                                        "reprocess: compensate what applied ones would have given; "
                                        "backfill: count applied ones in a metric that came after them.")],
    metric: Annotated[str | None, typer.Option(help="The metric to backfill.")] = None,
    project: Annotated[str | None, typer.Option(help="The project. Default: the key's.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Received from this time on (RFC 3339).")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Received before this time (RFC 3339).")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    user: Annotated[str | None, typer.Option(help="Only events of this user.")] = None,
    status: Annotated[str | None, typer.Option(help="Only events with this status.")] = None,
    version: Annotated[int | None, typer.Option(help="The program version to reprocess under. Default: in force.")] = None,
    limit: Annotated[int | None, typer.Option(help="Events at most.", min=1)] = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the replay.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    key: Key = None,
    token: Token = None,
) -> None:  # fmt: skip
    """Replay events: look first, then do it. The server goes on when this is stopped."""
    given = {
        "mode": mode, "metric": metric, "project": project, "from": from_, "to": to, "type": type_, "userId": user,
        "status": status, "version": version, "limit": limit, "reason": reason,
    }  # fmt: skip
    body = {name: value for name, value in given.items() if value is not None}
    try:
        client = Client.of(url, key, token)
        seen = _look(client, body)
        _tell(seen)
        if dry_run or not seen["changed"]:
            return
        if not yes and not typer.confirm("Do it?"):
            raise typer.Exit(1)
        done = _watch(client, client.request("POST", "/v1/admin/replay", json=body).json(), project)
    except ClientError as error:
        raise fail(str(error)) from error
    except KeyboardInterrupt:
        console.print("the server goes on; GET /v1/admin/replays tells how far it has come")
        raise typer.Exit(130) from None
    console.print(f"{done['changed']} events were {_what(mode)}", highlight=False)


def signed(amount: float) -> str:
    """Return an amount with its sign, without the digits by which a sum of floats is off."""
    return f"{amount:+}" if isinstance(amount, int) else f"{amount:+.{_DECIMALS}f}".rstrip("0").rstrip(".")


def _look(client: Client, body: dict[str, Any]) -> dict[str, Any]:
    """Return the pages of a dry run, added up."""
    seen: dict[str, Any] = {}
    request = {**body, "dryRun": True}
    with _bar() as bar:
        task = bar.add_task("looking", total=None)
        while True:
            page = client.request("POST", "/v1/admin/replay", json=request).json()
            if not seen:
                seen = page
            else:
                for name in ("examined", "events", "changed", "differences"):
                    seen[name] += page[name]
                for currency, amount in page["totals"].items():
                    seen["totals"][currency] = seen["totals"].get(currency, 0) + amount
            bar.update(task, completed=seen["examined"], total=max(page["total"], seen["examined"]))
            if page["nextCursor"] is None:
                return seen
            request["cursor"] = page["nextCursor"]


def _watch(client: Client, replay: dict[str, Any], project: str | None) -> dict[str, Any]:
    """Show how far the replay comes, until it is finished."""
    query = {} if project is None else {"project": project}
    with _bar() as bar:
        task = bar.add_task("replaying", total=None)
        while True:
            replay = client.request("GET", f"/v1/admin/replays/{replay['id']}", params=query).json()
            bar.update(task, completed=replay["examined"], total=max(replay["total"], replay["examined"]))
            if replay["status"] == "finished":
                return replay
            time.sleep(_POLL_SECONDS)


def _tell(seen: dict[str, Any]) -> None:
    lines = [f"{seen['changed']} of {seen['events']} events would be {_what(seen['mode'])}"]
    if seen["mode"] == "backfill":
        lines.append(f"  of {len(seen['differences'])} users")
    lines += [f"  {signed(amount)} {currency}" for currency, amount in sorted(seen["totals"].items())]
    for one in seen["differences"][:_SHOWN]:
        amounts = ", ".join(f"{signed(amount)} {currency}" for currency, amount in sorted(one["amounts"].items()))
        lines.append(f"  {one['userId']}: {amounts} (of {one['events']} events)")
    if len(seen["differences"]) > _SHOWN:
        lines.append(f"  and {len(seen['differences']) - _SHOWN} more users")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _what(mode: str) -> str:
    return {"republish": "put back", "backfill": "counted"}.get(mode, "compensated")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    )
