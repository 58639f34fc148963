"""`questline boards`: for an operator who doubts a leaderboard."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer

from questline.cli.database import NoDatabase, app_dsn, not_reached
from questline.cli.output import console, fail
from questline.model.principal import Project
from questline.settings import SettingError, load

app = typer.Typer(no_args_is_help=True, help="Leaderboards against the ledger; for operators.")
App = Annotated[str, typer.Argument(metavar="PROJECT", help="The project's id.")]

T = TypeVar("T")
Work = Callable[[Any, Project, Any], Awaitable[T]]


@app.command()
def check(project: App) -> None:
    """Compare every board with the ledger and the events, as they are at one moment. Nobody waits meanwhile."""
    from questline.control.board_rebuild import compare

    found = asyncio.run(_on(project, compare))
    for difference in found:
        print(difference, file=console.file)
    if found:
        raise fail("the boards differ from the ledger; questline boards rebuild mends them")
    console.print("every board is as the ledger says")


@app.command()
def rebuild(project: App) -> None:
    """Work every board out again, in one transaction. Writers of the project's boards wait meanwhile."""
    from questline.control.board_rebuild import rebuild as rebuild_boards

    changed = asyncio.run(_on(project, rebuild_boards))
    console.print(f"{changed} entries changed")


async def _on(app_id: str, work: Work[T]) -> T:
    from questline.control.board_rebuild import EventsPruned
    from questline.processing.programs import ProgramCache
    from questline.store import projects
    from questline.store.faults import OUTSIDE_FAULTS
    from questline.store.pool import connect

    try:
        conn = await connect(app_dsn(load()), command_seconds=None)
    except (NoDatabase, SettingError) as error:
        raise fail(str(error)) from error
    except OUTSIDE_FAULTS as error:
        raise fail(not_reached(error)) from error
    try:
        row = await projects.find(conn, app_id)
        if row is None:
            raise fail(f"there is no project {app_id!r}")
        programs = await ProgramCache().in_force(conn, [row.project.id])
        return await work(conn, row.project, programs[row.project.id])
    except EventsPruned as error:
        raise fail(str(error)) from error
    finally:
        await conn.close()
