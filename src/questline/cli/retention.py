"""`questline prune` and `questline archive`: what is too old, taken away or written down; for operators."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from questline.cli.database import NoDatabase, not_reached, owner_dsn
from questline.cli.output import console, fail
from questline.model.retention import Retention
from questline.settings import SettingError, Settings, load, retention_of
from questline.store.faults import OUTSIDE_FAULTS


def prune(
    events: Annotated[
        int | None, typer.Option(min=0, help="Days that events and decisions are kept; 0: for ever.")
    ] = None,
    attempts: Annotated[
        int | None, typer.Option(min=0, help="Days that attempts are kept; 0: as long as events.")
    ] = None,
    notices: Annotated[int | None, typer.Option(min=0, help="Days that notices are kept; 0: for ever.")] = None,
    keys: Annotated[int | None, typer.Option(min=0, help="Days that dedupe keys are kept; 0: for ever.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and change nothing.")] = False,
    archive_to: Annotated[
        Path | None, typer.Option(help="Write what goes to Parquet files in this directory first.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take away what is older than its retention: whole months are dropped. What is not given is as the settings say."""
    settings = _settings()
    given = {"events": events, "attempts": attempts, "notices": notices, "keys": keys}
    retention = msgspec.structs.replace(retention_of(settings), **{n: d for n, d in given.items() if d is not None})
    if not retention:
        raise fail("everything is kept for ever: set QUESTLINE_RETAIN_EVENTS_DAYS or another, or give --events DAYS")
    directory = archive_to or (Path(settings.archive_dir) if settings.archive_dir else None)
    asyncio.run(_as_owner(settings, lambda conn: _prune(conn, retention, directory, dry_run, yes)))


def archive(
    directory: Annotated[Path, typer.Argument(help="Where the files go.")],
    before: Annotated[
        str | None, typer.Option(help="Whole months before this date, such as 2026-06-01. Default: today.")
    ] = None,
) -> None:
    """Write every whole month of events, decisions, attempts and notices to Parquet files. Nothing is taken away."""
    from questline.assembly_worker import now

    try:
        until = now() if before is None else datetime.fromisoformat(before).replace(tzinfo=UTC)
    except ValueError as error:
        raise fail(f"--before is {before!r}; use a date such as 2026-06-01") from error
    asyncio.run(_as_owner(_settings(), lambda conn: _archive(conn, directory, until)))


async def _prune(conn: Any, retention: Retention, directory: Path | None, dry_run: bool, yes: bool) -> None:
    from questline.assembly_worker import now
    from questline.processing.archive import Archive
    from questline.processing.retention import plan
    from questline.processing.retention import prune as take
    from questline.store import retention as store
    from questline.store.ids import EventIds

    to = None if directory is None else Archive(directory)
    moment = now()
    with console.status("looking …"):
        made = await plan(conn, retention, moment)
    _show(made)
    if not made.steps or dry_run:
        return
    if not yes and not typer.confirm("Take this away" + (" without an archive?" if to is None else "?")):
        raise typer.Exit(1)
    if not await store.take_turn(conn):
        raise fail("somebody else prunes at this moment: see what they leave, then repeat it")
    with _bar() as bar:
        left = await take(conn, made, retention, moment, EventIds().new, to, _Told(bar))
    for kept in left:
        console.print(f"[yellow]left:[/] {kept.name}: {kept.reason}", highlight=False, soft_wrap=True)
    where = "" if to is None else f", archived in {directory}"
    console.print(f"{len(made.steps) - len(left)} taken away{where}", highlight=False, soft_wrap=True)
    if left:
        raise typer.Exit(1)


async def _archive(conn: Any, directory: Path, until: datetime) -> None:
    from questline.processing.archive import Archive
    from questline.processing.retention import copy

    with _bar() as bar:
        count = await copy(conn, Archive(directory), until, _Told(bar))
    said = f"{count} partitions are in {directory}" if count else "there is no whole month yet"
    console.print(said, highlight=False, soft_wrap=True)


def _show(made: Any) -> None:
    table = Table("what", "received before", "rows", "MiB", box=None)
    from questline.store.ids import received_at

    for step in made.steps:
        size = f"{step.bytes / 1024 / 1024:,.1f}" if step.bytes else ""
        table.add_row(step.name, f"{received_at(step.below):%Y-%m-%d %H:%M}", f"{step.rows:,}", size)
    console.print(table if made.steps else "there is nothing to take away")
    for kept in made.kept:
        console.print(f"[yellow]kept:[/] {kept.name}: {kept.reason}", highlight=False, soft_wrap=True)


class _Told:
    """Shows each thing that is taken away or written as a bar of its own."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, Any] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name)
        self._bar.update(self._tasks[name], completed=done if total else 1, total=total or 1)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=console, transient=True
    )


def _settings() -> Settings:
    try:
        return load()
    except SettingError as error:
        raise fail(str(error)) from error


async def _as_owner(settings: Settings, work: Callable[[Any], Awaitable[None]]) -> None:
    from questline.processing.archive import ArchiveFailed
    from questline.store import retention as store
    from questline.store.pool import connect

    try:
        conn = await connect(owner_dsn(settings))
    except NoDatabase as error:
        raise fail(str(error)) from error
    except OUTSIDE_FAULTS as error:
        raise fail(not_reached(error)) from error
    try:
        if not await store.is_owner(conn):
            raise fail("only the owner of the tables may drop them: set QUESTLINE_OWNER_DSN, as for questline migrate")
        await work(conn)
    except ArchiveFailed as error:
        raise fail(str(error)) from error
    finally:
        await conn.close()
