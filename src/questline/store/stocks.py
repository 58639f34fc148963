"""Stocks: locked after the users of a batch, in one order for everybody, and moved by what the batch decided."""

from collections.abc import Collection, Mapping

from asyncpg import Connection

from questline.model.stocks import StockState
from questline.store.round_trips import Writes
from questline.store.statements import statements

SQL = statements("stocks")

StockKey = tuple[int, str]  # project id, name


async def lock(conn: Connection, keys: Collection[StockKey]) -> dict[int, dict[str, StockState]]:
    """Lock stocks until the transaction ends, opening those that are new, and return them by project and name.

    Call it when the users are locked and before anything is written: then no two batches wait for each other in a circle.
    """
    columns = [key[0] for key in keys], [key[1] for key in keys]
    await conn.execute(SQL["open"], *columns)
    found: dict[int, dict[str, StockState]] = {}
    for project_id, name, taken, added in await conn.fetch(SQL["lock"], *columns):
        found.setdefault(project_id, {})[name] = StockState(taken, added)
    return found


async def look(conn: Connection, project_id: int, names: Collection[str]) -> dict[str, StockState]:
    """Return stocks as they are now, without a lock, by name; those that nobody has taken of may be missing."""
    rows = await conn.fetch(SQL["look"], project_id, list(names))
    return {name: StockState(taken, added) for name, taken, added in rows}


async def of_project(conn: Connection, project_id: int) -> dict[str, StockState]:
    """Return all of a project's stocks as they are now, without a lock, by name."""
    rows = await conn.fetch(SQL["of_project"], project_id)
    return {name: StockState(taken, added) for name, taken, added in rows}


def move(writes: Writes, units: Mapping[StockKey, int]) -> None:
    """Add to what is to be written the units taken of stocks (above zero), or put back."""
    writes.add(SQL["move"], sorted((*key, delta) for key, delta in units.items() if delta))
