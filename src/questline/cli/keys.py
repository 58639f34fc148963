"""`questline keys`: API keys of the project."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from questline.cli.client import Client, ClientError, Key, Url
from questline.cli.output import Json, console, fail, show
from questline.model.limits import KEY_OVERLAP_SECONDS
from questline.model.permissions import Scope
from questline.model.principal import KeyType, Role

Expires = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="When it ends, in UTC; else never.")
]

app = typer.Typer(no_args_is_help=True, help="API keys of the project.")


@app.command()
def create(
    role: Annotated[
        Role, typer.Option(case_sensitive=False, help="What it may do: ADMIN, INGEST, READONLY.")
    ] = Role.INGEST,
    type_: Annotated[KeyType, typer.Option("--type", help="secret, or publishable: events only.")] = KeyType.SECRET,
    name: Annotated[str, typer.Option(help="To tell it from others.")] = "",
    scope: Annotated[list[Scope] | None, typer.Option(help="Only this of what its role may do; repeat it.")] = None,
    expires: Expires = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Make a key. It is shown this once, alone on its line."""
    body = {"role": role, "type": type_, "name": name, "scopes": scope or None, "expiresAt": _moment(expires)}
    _show(_request(url, key, "POST", "/v1/keys", body))


@app.command("list")
def list_keys(as_json: Json = False, url: Url = None, key: Key = None) -> None:
    """List the project's keys. A narrow terminal shows the first columns; a pipe gets all, with tabs between them."""
    columns = {"id": "id", "prefix": "prefix", "role": "role", "name": "name", "type": "type", "revoked": "revokedAt",
               "expires": "expiresAt", "last used": "lastUsedAt", "created": "createdAt"}  # fmt: skip
    show(columns, _request(url, key, "GET", "/v1/keys")["items"], as_json)


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(help="As `keys list` shows it.")],
    overlap: Annotated[
        int, typer.Option(help="Seconds that the old key lives on; 0: it ends now.")
    ] = KEY_OVERLAP_SECONDS,
    expires: Expires = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Make a key in another's place, with the same rights. It is shown this once, alone on its line."""
    body = {"overlapSeconds": overlap, "expiresAt": _moment(expires)}
    done = _request(url, key, "POST", f"/v1/keys/{key_id}/rotate", body)
    console.print(f"[dim]the old key ends at {done['oldKeyEndsAt']}[/]", highlight=False)
    _show(done["key"])


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="As `keys list` shows it.")], url: Url = None, key: Key = None
) -> None:
    """Revoke a key by its id. Every process refuses it at once."""
    _request(url, key, "DELETE", f"/v1/keys/{key_id}")
    console.print("revoked")


def _request(url: str | None, key: str | None, method: str, path: str, body: Any = None) -> Any:
    try:
        answer = Client.of(url, key).request(method, path, json=body)
    except ClientError as error:
        raise fail(str(error)) from error
    return answer.json() if answer.content else None


def _show(made: dict[str, Any]) -> None:
    console.print(f"[dim]{made['type']} key of role {made['role']}, id {made['id']}:[/]", highlight=False)
    console.print(made["key"], highlight=False, soft_wrap=True)


def _moment(given: datetime | None) -> str | None:
    return None if given is None else given.replace(tzinfo=UTC).isoformat()
