"""The command line."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from questline import settings as configuration
from questline.assembly import now
from questline.cli import logs, processes
from questline.cli.client import Client, ClientError
from questline.cli.demo import play
from questline.cli.dev import Dev, DevError
from questline.store.embedded import EmbeddedStartFailed
from questline.store.migrate import migrate as run_migrations

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="The engagement engine."
)
keys = typer.Typer(no_args_is_help=True, help="API keys of the project.")
app.add_typer(keys, name="keys")
console = Console()
errors = Console(stderr=True)

DataDir = Annotated[Path, typer.Option(help="Where the database, the keys and the logs are kept.")]
Url = Annotated[str | None, typer.Option(help="The API; default: that of .questline/dev.json.")]
Key = Annotated[str | None, typer.Option(help="A secret key of role ADMIN; default: that of .questline/dev.json.")]
ParentPipe = Annotated[int | None, typer.Option(hidden=True)]


def fail(message: str) -> typer.Exit:
    """Print an error for the person who must act, and return the exit."""
    errors.print(f"[bold red]error:[/] {message}", highlight=False)
    return typer.Exit(1)


def _settings() -> configuration.Settings:
    try:
        found = configuration.load()
    except configuration.SettingError as error:
        raise fail(str(error)) from error
    for variable in configuration.unknown_variables():
        errors.print(f"warning: no setting reads {variable}", highlight=False)
    return found


@app.command()
def dev(
    data_dir: DataDir = Path(".questline"),
    host: str = "127.0.0.1",
    port: int = 8080,
    demo: Annotated[bool, typer.Option(help="Load a sample program and play believable traffic.")] = False,
) -> None:
    """Start everything: PostgreSQL, API, worker. Ctrl-C stops it; the data stays."""
    instance = Dev(data_dir, host, port, lambda news: console.print(f"[yellow]{news}[/]"))
    try:
        file = instance.start()
    except (DevError, EmbeddedStartFailed) as error:
        instance.stop()
        raise fail(str(error)) from error
    try:
        table = Table.grid(padding=(0, 2))
        for name, value in (
            ("API", file.url),
            ("project", file.project),
            ("secret key", file.secret_key),
            ("publishable key", file.publishable_key),
            ("admin token", file.admin_token),
            ("kept in", str(data_dir / "dev.json")),
        ):
            table.add_row(f"[bold]{name}[/]", value)
        console.print("[bold green]Questline is ready[/]")
        console.print(table, soft_wrap=True)
        if demo:
            play(Client(file.url, file.secret_key), console)
        console.print("Ctrl-C stops it.", style="dim")
        instance.run()
    finally:
        console.print("stopping …", style="dim")
        instance.stop()


@app.command()
def serve(parent_pipe: ParentPipe = None) -> None:
    """Run the API."""
    settings = _settings()
    if not settings.dsn:
        raise fail("QUESTLINE_DSN is not set: say which PostgreSQL to use")
    logs.configure(settings.log_level, settings.log_format)
    processes.serve(settings, parent_pipe)


@app.command()
def work(parent_pipe: ParentPipe = None) -> None:
    """Run a worker."""
    settings = _settings()
    if not settings.dsn:
        raise fail("QUESTLINE_DSN is not set: say which PostgreSQL to use")
    logs.configure(settings.log_level, settings.log_format)
    processes.work(settings, parent_pipe)


@app.command()
def migrate() -> None:
    """Bring the database to this release's schema."""
    settings = _settings()
    dsn = settings.owner_dsn or settings.dsn
    if not dsn:
        raise fail("QUESTLINE_OWNER_DSN is not set: say which PostgreSQL to migrate")
    applied = asyncio.run(run_migrations(dsn, now()))
    console.print(f"applied: {', '.join(applied)}" if applied else "nothing to apply")


@app.command()
def apply(program: Path, url: Url = None, key: Key = None) -> None:
    """Put a program document in force; every error is shown with its line."""
    client = _client(url, key)
    version = _send(client, "PUT", "/v1/program", program)
    console.print(f"version {version.headers['questline-program-version']} is in force")


@app.command()
def plan(program: Path, url: Url = None, key: Key = None) -> None:
    """Show what a program document would change."""
    from questline.control.documents import read_document

    answer = _send(_client(url, key), "POST", "/v1/program/plan", program).json()
    if answer["errors"]:
        _print_errors(program, read_document(program.read_bytes()), answer["errors"])
        raise typer.Exit(1)
    from questline.control.plan import Change, Plan, render

    changes = [Change(**change) for change in answer["changes"]]
    console.print(render(Plan(changes, [], answer["orderDependent"])), highlight=False, markup=False)


def _send(client: Client, method: str, path: str, program: Path) -> httpx.Response:
    from questline.control.documents import DocumentUnreadable, read_document

    try:
        text = program.read_bytes()
        document = read_document(text)
    except OSError as error:
        raise fail(f"{program}: {error.strerror}") from error
    except DocumentUnreadable as error:
        raise fail(f"{program}: {error}") from error
    try:
        return client.request(method, path, content=text, headers={"Content-Type": "application/yaml"})
    except ClientError as error:
        if error.code == "invalid-program":
            _print_errors(program, document, error.problem["errors"])
            raise typer.Exit(1) from error
        raise fail(str(error)) from error


def _print_errors(program: Path, document: Any, found: list[dict[str, str]]) -> None:
    for error in found:
        line = document.line_of(error["path"])
        errors.print(
            f"{program}:{line}: {error['path']}: {error['message']}", highlight=False, markup=False, soft_wrap=True
        )


@keys.command("create")
def create_key(role: str = "INGEST", type_: Annotated[str, typer.Option("--type")] = "secret", name: str = "",
               url: Url = None, key: Key = None) -> None:  # fmt: skip
    """Make a key; it is shown this once."""
    made = _json(_client(url, key), "POST", "/v1/keys", {"role": role, "type": type_, "name": name})
    console.print(f"{made['key']}  ({made['type']}, {made['role']}, id {made['id']})", highlight=False, soft_wrap=True)


@keys.command("list")
def list_keys(url: Url = None, key: Key = None) -> None:
    """List the project's keys."""
    table = Table("id", "prefix", "type", "role", "name", "last used", "revoked")
    for row in _json(_client(url, key), "GET", "/v1/keys")["items"]:
        table.add_row(*(str(row[c] or "") for c in ("id", "prefix", "type", "role", "name", "lastUsedAt", "revokedAt")))
    console.print(table)


@keys.command("revoke")
def revoke_key(key_id: str, url: Url = None, key: Key = None) -> None:
    """Revoke a key; every process refuses it within two seconds."""
    try:
        _client(url, key).request("DELETE", f"/v1/keys/{key_id}")
    except ClientError as error:
        raise fail(str(error)) from error
    console.print("revoked")


@app.command()
def bench(arguments: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Measure this machine against Questline's promises (from a checkout of the project)."""
    os.execv(sys.executable, [sys.executable, "-m", "bench", *(arguments or [])])


def _client(url: str | None, key: str | None) -> Client:
    try:
        return Client.of(url, key)
    except ClientError as error:
        raise fail(str(error)) from error


def _json(client: Client, method: str, path: str, body: Any = None) -> Any:
    try:
        return client.request(method, path, json=body).json()
    except ClientError as error:
        raise fail(str(error)) from error


if __name__ == "__main__":
    app()
