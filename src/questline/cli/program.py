"""`questline apply` and `questline plan`: a program document, sent to the API; errors come back with their lines."""

import sys
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from questline import templates
from questline.cli.client import Client, ClientError, Key, Url
from questline.cli.output import console, errors, fail
from questline.control.documents import Document, DocumentUnreadable, read_document

Program = Annotated[Path, typer.Argument(help="The document, YAML or JSON.")]


def apply(program: Program, url: Url = None, key: Key = None) -> None:
    """Put a program document (YAML or JSON) in force. Every error is shown with its line."""
    answer = _send("PUT", "/v1/program", program, url, key)
    console.print(f"version {answer.headers['questline-program-version']} is in force", highlight=False)


def plan(program: Program, url: Url = None, key: Key = None) -> None:
    """Show what a program document would change, without applying it."""
    from questline.control.plan import Change, Plan, render

    answer = _send("POST", "/v1/program/plan", program, url, key).json()
    if answer["errors"]:
        _print_errors(program, read_document(program.read_bytes()), answer["errors"])
        raise typer.Exit(1)
    changes = [Change(**change) for change in answer["changes"]]
    console.print(render(Plan(changes, [], answer["orderDependent"])), highlight=False, markup=False, soft_wrap=True)


def template(name: Annotated[str, typer.Argument(help="A template's name; none: list them.")] = "") -> None:
    """Print a program to start from: `questline template daily-loop > program.yaml`."""
    if not name:
        console.print("\n".join(templates.names()), highlight=False)
        return
    try:
        sys.stdout.buffer.write(templates.text(name))
    except templates.UnknownTemplate as error:
        raise fail(str(error)) from error


def _send(method: str, path: str, program: Path, url: str | None, key: str | None) -> httpx.Response:
    try:
        text = program.read_bytes()
        document = read_document(text)
    except OSError as error:
        raise fail(f"{program}: {error.strerror}") from error
    except DocumentUnreadable as error:
        raise fail(f"{program}: {error}") from error
    try:
        return Client.of(url, key).request(method, path, content=text, headers={"Content-Type": "application/yaml"})
    except ClientError as error:
        if error.code == "invalid-program":
            _print_errors(program, document, error.problem["errors"])
            raise typer.Exit(1) from error
        raise fail(str(error)) from error


def _print_errors(program: Path, document: Document, found: list[dict[str, Any]]) -> None:
    """Print errors in the order of their lines, as editors and compilers read them."""
    for line, error in sorted(((document.line_of(e["path"]), e) for e in found), key=lambda pair: pair[0]):
        text = f"{program}:{line}: {error['path'] or '(document)'}: {error['message']}"
        errors.print(text, highlight=False, markup=False, soft_wrap=True)
