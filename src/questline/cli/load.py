"""`questline load`: believable events at a rate against any server, and a count of what became of them."""

import asyncio
import secrets
import signal
import time
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from questline.cli.client import Client, ClientError, Key, Url
from questline.cli.load_sender import Plan, Sender, Sent
from questline.cli.output import console, fail
from questline.model.limits import PAGE_ITEMS_MAX

_LOOK_SECONDS = 0.5
_PERCENTILES = (50, 95, 99, 100)


def load(
    rate: Annotated[float, typer.Option(help="Events a second.", min=0.1)] = 50,
    seconds: Annotated[float, typer.Option(help="How long.", min=0.1)] = 10,
    users: Annotated[int, typer.Option(help="Users who cause them, some much more than others.", min=1)] = 200,
    connections: Annotated[int, typer.Option(help="Requests under way at once.", min=1, max=1_000)] = 16,
    stream: Annotated[bool, typer.Option("--stream", help="As NDJSON on /v1/ingest/stream; else one by one.")] = False,
    twice: Annotated[int, typer.Option(help="Percent of requests that are sent a second time.", min=0, max=100)] = 1,
    run: Annotated[
        str | None, typer.Option(help="A name for the run, which its events bear. Default: one of chance.")
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait at the end until all is applied.", min=0)] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="The result as one JSON object.")] = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Send believable events, and count what was acknowledged and what was applied. Exit code 1: not all of it was."""
    try:
        client = Client.of(url, key)
        name = run or f"run-{secrets.token_hex(4)}"
        plan = Plan(name, max(int(rate * seconds), 1), rate, users, connections, stream, twice)
        since = _newest(client)
        began = time.perf_counter()
        sent = _send(plan, client, quiet=as_json)
        took_seconds = time.perf_counter() - began
        applied, applied_seconds = _count_applied(client, plan, sent, since, wait, quiet=as_json)
    except ClientError as error:
        raise fail(str(error)) from error
    result = _result(plan, sent, took_seconds, applied, applied_seconds)
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
    else:
        _show(result)
    if result["lost"] or result["applied"].get("pending") or not sent.acknowledged:
        raise typer.Exit(1)


def _send(plan: Plan, client: Client, *, quiet: bool) -> Sent:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, TextColumn("{task.fields[told]}"), console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task(f"sending {plan.run}", total=plan.events, told="")

        def progress(sent: Sent) -> None:
            told = f"{sent.waits} waits, {sent.errors.total()} errors" if sent.waits or sent.errors else ""
            bar.update(task, completed=len(sent.acknowledged) + sent.refused.total(), told=told)

        async def main() -> Sent:
            sender = Sender(plan, client.url, client.key, progress)
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, sender.stop)
            return await sender.run()

        return asyncio.run(main())


def _count_applied(
    client: Client, plan: Plan, sent: Sent, since: datetime, wait_seconds: float, *, quiet: bool
) -> tuple[Counter[str], float]:
    """Return how the acknowledged events ended, by status, as the server shows them, and how long that took."""
    began = time.perf_counter()
    with console.status("waiting until all is applied …") if not quiet else nullcontext():
        while True:
            pending = _statuses(client, plan, sent, since, "pending")
            if not pending or time.perf_counter() - began > wait_seconds:
                break
            time.sleep(_LOOK_SECONDS)
        took_seconds = time.perf_counter() - began
        return Counter(_statuses(client, plan, sent, since, None).values()), took_seconds


def _newest(client: Client) -> datetime:
    """Return when the newest event was received, a minute less for clocks that differ: what is older is not of the run."""
    items = client.request("GET", "/v1/events", params={"limit": "1"}).json()["items"]
    return (
        datetime.fromisoformat(items[0]["receivedAt"]) - timedelta(minutes=1)
        if items
        else datetime.min.replace(tzinfo=UTC)
    )


def _before(item: dict[str, Any], moment: datetime) -> bool:
    return datetime.fromisoformat(item["receivedAt"]) < moment


def _statuses(client: Client, plan: Plan, sent: Sent, since: datetime, status: str | None) -> dict[int, str]:
    """Return the status of the run's acknowledged events by number: all of them, or those with one status."""
    found: dict[int, str] = {}
    query = {"limit": str(PAGE_ITEMS_MAX), **({} if status is None else {"status": status})}
    prefix = f"{plan.run}-"
    while len(found) < len(sent.acknowledged):
        page = client.request("GET", "/v1/events", params=query).json()
        for item in page["items"]:
            number = (item["eventId"] or "").removeprefix(prefix)
            if number.isdigit() and int(number) in sent.acknowledged and item["userId"].startswith(prefix):
                found[int(number)] = item["status"]
        if page["nextCursor"] is None or _before(page["items"][-1], since):
            break
        query["cursor"] = page["nextCursor"]
    return found


def _result(
    plan: Plan, sent: Sent, took_seconds: float, applied: Counter[str], applied_seconds: float
) -> dict[str, Any]:
    ordered = sorted(sent.latencies_ms)
    return {
        "run": plan.run,
        "events": plan.events,
        "seconds": round(took_seconds, 2),
        "rate": round(len(sent.acknowledged) / took_seconds, 1),
        "requests": sent.requests,
        "acknowledged": len(sent.acknowledged),
        "duplicates": sent.duplicates,
        "refused": dict(sent.refused),
        "waits": sent.waits,
        "errors": dict(sent.errors),
        "latencyMs": {
            f"p{percent}": round(ordered[min(len(ordered) * percent // 100, len(ordered) - 1)], 2)
            for percent in _PERCENTILES
            if ordered
        },
        "applied": dict(applied),
        "appliedAfterSeconds": round(applied_seconds, 2),
        "lost": len(sent.acknowledged) - applied.total(),
    }


def _show(result: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("run", result["run"])
    table.add_row("sent", f"{result['events']:,} events in {result['seconds']} s, {result['requests']:,} requests")
    table.add_row("acknowledged", f"{result['acknowledged']:,} ({result['rate']:,} a second)")
    table.add_row("duplicates", f"{result['duplicates']:,}")
    table.add_row("refused", _counts(result["refused"]))
    table.add_row("told to wait", f"{result['waits']:,}")
    table.add_row("errors", _counts(result["errors"]))
    table.add_row("latency", "  ".join(f"{name} {value} ms" for name, value in result["latencyMs"].items()))
    table.add_row("applied", f"{_counts(result['applied'])}, {result['appliedAfterSeconds']} s after the last was sent")
    lost = result["lost"]
    table.add_row("lost", f"[{'bold red' if lost else 'green'}]{lost}[/]")
    console.print(table, highlight=False)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "0"
