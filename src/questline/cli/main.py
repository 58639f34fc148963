"""The command line. Each command reads its settings, calls one thing and says what came of it."""

import asyncio
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from questline.cli import (
    achievements,
    audit,
    boards,
    dlq,
    keys,
    lag,
    members,
    program,
    replay,
    retention,
    secrets,
    tail,
)
from questline.cli import load as load_events
from questline.cli.output import console, errors, fail
from questline.settings import SettingError, Settings, load, unknown_variables

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="The engagement engine."
)
app.add_typer(keys.app, name="keys")
app.add_typer(members.app, name="members")
app.add_typer(audit.app, name="audit")
app.add_typer(secrets.app, name="secrets")
app.add_typer(boards.app, name="boards")
app.add_typer(achievements.app, name="achievements")
app.add_typer(dlq.app, name="dlq")
app.command()(program.apply)
app.command()(program.plan)
app.command()(program.template)
app.command()(load_events.load)
app.command()(tail.tail)
app.command()(lag.lag)
app.command()(replay.replay)
app.command()(retention.prune)
app.command()(retention.archive)

DataDir = Annotated[Path | None, typer.Option(help="Where the database, the keys and the logs are kept.")]
Host = Annotated[str | None, typer.Option(help="The address to listen on.")]
Port = Annotated[int | None, typer.Option(help="The port to listen on; 0: any that is free.", min=0, max=65535)]
ParentPipe = Annotated[int | None, typer.Option(hidden=True)]
ListenFd = Annotated[int | None, typer.Option(hidden=True)]


@app.command()
def dev(
    data_dir: DataDir = None,
    host: Host = None,
    port: Port = None,
    demo: Annotated[bool, typer.Option(help="Load a sample program and play believable traffic.")] = False,
) -> None:
    """Start everything: PostgreSQL, API, worker. Ctrl-C stops it; the data stays."""
    from questline.cli.dev import Dev, DevError

    given = {"data_dir": data_dir, "host": host, "port": port}
    settings = _settings(log_format="pretty")
    settings = msgspec.structs.replace(settings, **{n: v for n, v in given.items() if v is not None})
    instance = Dev(settings, lambda news: console.print(f"[yellow]{news}[/]", highlight=False))
    player: threading.Thread | None = None
    try:
        with console.status("starting …"):
            file = instance.start()
        _welcome(file, instance.directory, instance.pages())
        if demo:
            from questline.cli.demo import play_once

            place = instance.directory / "demo.json"
            player = threading.Thread(target=play_once, args=(file.url, file.secret_key, place, instance.stopping))
            player.start()
        instance.run()
    except DevError as error:
        raise fail(str(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # stopped while starting
    finally:
        if instance.stopping.is_set():
            console.print("stopping …", style="dim")
        if player is not None:
            instance.stopping.set()
            player.join()
        instance.stop()


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    parent_pipe: ParentPipe = None,
    listen_fd: ListenFd = None,
) -> None:
    """Run the API."""
    from questline.cli import processes
    from questline.cli.listening import CannotListen

    given = {"host": host, "port": port}
    settings = _server_settings()
    settings = msgspec.structs.replace(settings, **{n: v for n, v in given.items() if v is not None})
    try:
        processes.serve(settings, parent_pipe, listen_fd)
    except (CannotListen, processes.CannotStart) as error:
        raise fail(str(error)) from error


@app.command()
def work(parent_pipe: ParentPipe = None, listen_fd: ListenFd = None) -> None:
    """Run a worker."""
    from questline.cli import processes
    from questline.cli.listening import CannotListen

    try:
        processes.work(_server_settings(), parent_pipe, listen_fd)
    except (CannotListen, processes.CannotStart) as error:
        raise fail(str(error)) from error


@app.command()
def relay(parent_pipe: ParentPipe = None, listen_fd: ListenFd = None) -> None:
    """Run a relay, which hands events to the broker where the transport is rabbitmq. Several may run."""
    from questline.cli import processes
    from questline.cli.listening import CannotListen

    try:
        processes.relay(_server_settings(), parent_pipe, listen_fd)
    except (CannotListen, processes.CannotStart) as error:
        raise fail(str(error)) from error


@app.command()
def deliver(parent_pipe: ParentPipe = None, listen_fd: ListenFd = None) -> None:
    """Run a deliverer, which sends messages to projects' webhooks. Several may run."""
    from questline.cli import processes
    from questline.cli.listening import CannotListen

    try:
        processes.deliver(_server_settings(), parent_pipe, listen_fd)
    except (CannotListen, processes.CannotStart) as error:
        raise fail(str(error)) from error


@app.command()
def migrate() -> None:
    """Bring the database to this release's schema, and make the partitions of the months ahead."""
    from questline.assembly_worker import now
    from questline.cli.database import not_reached
    from questline.store.faults import OUTSIDE_FAULTS
    from questline.store.migrate import MigrationChanged
    from questline.store.migrate import migrate as bring_up

    settings = _settings()
    dsn = settings.owner_dsn or settings.dsn
    if not dsn:
        raise fail("QUESTLINE_OWNER_DSN is not set: say which PostgreSQL to migrate, as the owner of its tables")
    try:
        applied = asyncio.run(bring_up(dsn, now()))
    except MigrationChanged as error:
        raise fail(str(error)) from error
    except OUTSIDE_FAULTS as error:
        raise fail(not_reached(error)) from error
    console.print(f"applied: {', '.join(applied)}" if applied else "nothing to apply", highlight=False)


@app.command()
def doctor(
    data_dir: DataDir = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for what is doubtful, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding.")] = False,
) -> None:
    """Look at what this installation needs, and say what is wrong or doubtful. Exit code 1: something is wrong.

    Settings that clash, PostgreSQL, its clock and durability, migrations, partitions, workers, backlog, dead letters, disk.
    """
    from questline.cli.doctor import examine

    settings = _settings()
    if data_dir is not None:
        settings = msgspec.structs.replace(settings, data_dir=data_dir)
    findings = asyncio.run(examine(settings))
    for finding in findings:
        if as_json:
            typer.echo(msgspec.json.encode(finding).decode())
        else:
            console.print(finding.render(), highlight=False, soft_wrap=True)
    if {finding.state for finding in findings} & ({"wrong", "doubtful"} if strict else {"wrong"}):
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Measure this machine against Questline's promises (in a checkout of the project)."""
    root = Path(__file__).parents[3]
    if not (root / "bench" / "__main__.py").exists():
        raise fail("the benchmarks come with the project's repository: clone it, and run this there")
    sys.path.insert(0, str(root))
    from bench.__main__ import main

    raise typer.Exit(main(context.args))


def _settings(**defaults: Any) -> Settings:
    try:
        found = load(**defaults)
    except SettingError as error:
        raise fail(str(error)) from error
    for variable in unknown_variables():
        errors.print(f"warning: no setting reads {variable}; see docs/reference/settings.md", highlight=False)
    return found


def _server_settings() -> Settings:
    """Return the settings of a server process, which logs as they say."""
    from questline.cli import logs

    settings = _settings()
    if not settings.dsn:
        raise fail("QUESTLINE_DSN is not set: say which PostgreSQL to use, or run questline dev")
    logs.configure(settings.log_level, settings.log_format)
    return settings


def _welcome(file: Any, directory: Path, pages: list[str]) -> None:
    wide = Console(width=max(console.width, 120)) if not console.is_terminal else console
    wide.print("[bold green]Questline is ready.[/]  Ctrl-C stops it; the data stays.", highlight=False)
    for name, value in (
        ("API", file.url),
        ("project", file.project),
        ("secret key", file.secret_key),
        ("publishable key", file.publishable_key),
        ("admin token", file.admin_token),
        ("workers", "  ".join(pages)),
        ("kept in", directory / "dev.json"),
        ("logs in", directory / "logs"),
    ):
        wide.print(f"  [dim]{name:<16}[/]{value}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
