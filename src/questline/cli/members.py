"""`questline members`: people who use the console, as an operator sees to them."""

from typing import Annotated
from urllib.parse import quote

import typer

from questline.cli.client import Client, ClientError, Token, Url
from questline.cli.output import console, fail

app = typer.Typer(no_args_is_help=True, help="People who use the console.")


@app.command("reset-password")
def reset_password(
    member: Annotated[str, typer.Argument(help="Their email, or their id.")], url: Url = None, token: Token = None
) -> None:
    """Make a token by which a member who forgot their password chooses another. It is shown this once, alone on its line."""
    try:
        made = (
            Client.of(url, None, token)
            .request("POST", f"/v1/admin/members/{quote(member, safe='')}/password-reset")
            .json()
        )
    except ClientError as error:
        raise fail(str(error)) from error
    console.print(f"[dim]for {made['email']}, once, until {made['expiresAt']}:[/]", highlight=False)
    console.print(made["token"], highlight=False, soft_wrap=True)
