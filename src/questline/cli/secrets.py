"""`questline secrets`: what lies sealed in the database."""

import asyncio
from typing import Annotated

import typer

from questline.cli.database import NoDatabase, app_dsn, not_reached
from questline.cli.dev_keys import dev_keys
from questline.cli.output import console, fail
from questline.control.resealing import Resealed
from questline.control.resealing import reseal as seal_anew
from questline.settings import Settings, load
from questline.store.faults import OUTSIDE_FAULTS
from questline.store.pool import connect
from questline.store.sealing import CannotSeal, Sealer, keys_of

app = typer.Typer(no_args_is_help=True, help="Secrets that lie sealed in the database.")


@app.callback()
def secrets() -> None:
    """Secrets that lie sealed in the database."""


@app.command()
def reseal(
    quiet: Annotated[bool, typer.Option(help="Say nothing when all went well.")] = False,
) -> None:
    """Seal every secret anew with the first of QUESTLINE_SECRET_KEYS; then the other keys may go."""
    settings = load()
    keys = settings.secret_keys
    if not keys and (path := settings.data_dir / "keys.json").exists():
        keys = dev_keys(path).secret_keys
    try:
        done = asyncio.run(_reseal(settings, Sealer(keys_of(keys))))
    except (NoDatabase, CannotSeal, ValueError) as error:
        raise fail(str(error)) from error
    except OUTSIDE_FAULTS as fault:
        raise fail(not_reached(fault)) from fault
    if not quiet:
        console.print(
            f"{done.anew} sealed anew, {done.current} were sealed with the first key already", highlight=False
        )
    if done.lost:
        raise fail(
            f"secrets of {', '.join(done.lost)} open with none of the keys: put the old key back, or make them anew"
        )


async def _reseal(settings: Settings, sealer: Sealer) -> Resealed:
    conn = await connect(app_dsn(settings))
    try:
        return await seal_anew(conn, sealer)
    finally:
        await conn.close()
