"""Several statements sent to the server as one, so that a batch waits for its answer once.

Each round trip wakes both sides up, and a small group of commands reads and writes a handful of rows of a dozen tables: there
the trips cost more than the rows. The statements become parts of one, their parameters numbered on.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from asyncpg import Connection

from questline.model.limits import STATEMENT_COMBINATIONS_MAX

_PARAMETER = re.compile(r"\$(\d+)")


class Reads:
    """Queries sent together: all see the same snapshot."""

    def __init__(self) -> None:
        self._queries: list[str] = []
        self._arguments: list[object] = []
        self._takes: list[Callable[..., None]] = []

    def add(self, query: str, arguments: Sequence[object], take: Callable[..., None]) -> None:
        """Add a SELECT that locks nothing; `take` is called with the columns of each of its rows."""
        self._queries.append(query)
        self._arguments.extend(arguments)
        self._takes.append(take)

    async def send(self, conn: Connection) -> None:
        """Read everything, and hand the rows out."""
        if not self._queries:
            return
        rows: Sequence[Any] = await conn.fetch(_united(tuple(self._queries)), *self._arguments)
        takes = self._takes
        for part, row in rows:
            takes[part](*row)


class Writes:
    """Statements sent together. All see the rows as they were before the first, so no two may write the same row."""

    def __init__(self) -> None:
        self._statements: list[str] = []
        self._columns: list[Sequence[object]] = []
        self._later: list[tuple[str, list[Sequence[object]]]] = []

    def add(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Add a plain INSERT, UPDATE or DELETE that takes its rows as arrays, a column each; without rows, nothing."""
        if rows:
            self._statements.append(statement)
            self._columns.extend(map(list, zip(*rows, strict=True)))

    def add_later(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Add one that has parts of its own, or writes rows that the others write: it is sent by itself, after them."""
        if rows:
            self._later.append((statement, list(map(list, zip(*rows, strict=True)))))

    async def send(self, conn: Connection) -> None:
        """Write everything in the caller's transaction; a violated constraint is asyncpg's error, unchanged."""
        if self._statements:
            await conn.execute(_combined(tuple(self._statements)), *self._columns)
        for statement, columns in self._later:
            await conn.execute(statement, *columns)


# A program's events lead to a few combinations only.
@lru_cache(maxsize=STATEMENT_COMBINATIONS_MAX)
def _united(queries: tuple[str, ...]) -> str:
    """Return one query with the rows of all, each as (place of its query, row)."""
    return "\nUNION ALL\n".join(
        f"SELECT {place}, r FROM (\n{query}\n) AS r" for place, query in enumerate(_numbered_on(queries))
    )


@lru_cache(maxsize=STATEMENT_COMBINATIONS_MAX)
def _combined(statements: tuple[str, ...]) -> str:
    """Return one statement that does what all of them do."""
    if len(statements) == 1:
        return statements[0]
    parts = [f"w{number} AS (\n{text}\n)" for number, text in enumerate(_numbered_on(statements), 1)]
    return f"WITH {', '.join(parts)}\nSELECT"


def _numbered_on(statements: Sequence[str]) -> list[str]:
    """Return the statements with the parameters of each numbered on from those of the one before."""
    numbered, before = [], 0
    for statement in statements:
        numbered.append(_shifted(statement, before))
        before += max(int(number) for number in _PARAMETER.findall(statement))
    return numbered


def _shifted(statement: str, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + by}", statement)
