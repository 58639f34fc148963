"""A process that dies behind its n-th statement, as the database sees it: what was under way is gone, and nobody is answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest


class Death:
    """When a process is to die, and what it ran until then, BEGIN and COMMIT too, on the connection that writes."""

    def __init__(self, behind: int, since: str, until: str) -> None:
        self.behind = behind
        self.since = since
        self.until = until
        self.ran: list[str] = []
        self.came = False
        self._conn: Any = None

    def ends(self, conn: Any, query: str) -> bool:
        """Count a statement that a connection ran, and tell whether the process dies behind it."""
        if self._conn is None and conn._proxy is None and query.startswith(self.since):
            self._conn = conn  # the first that begins; those of pools only read here
        if conn is not self._conn or self.came or (self.ran and self.ran[-1] == self.until):
            return False
        self.ran.append(query)
        self.came = len(self.ran) == self.behind and query != self.until
        return self.came


@contextmanager
def dying(behind: int, *, since: str = "BEGIN", until: str = "") -> Iterator[Death]:
    """Let the process die behind its `behind`-th statement from `since` on, if the block runs so many, and none is `until`."""
    death, execute, _execute = Death(behind, since, until), asyncpg.Connection.execute, asyncpg.Connection._execute

    async def whole(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        if arguments:
            return await execute(self, query, *arguments, **more)  # comes through the other
        return _counted(self, query, await execute(self, query, **more))

    async def prepared(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        return _counted(self, query, await _execute(self, query, *arguments, **more))

    def _counted(conn: Any, query: str, result: Any) -> Any:
        if death.ends(conn, query):
            conn.terminate()
            raise ConnectionError("the process is gone")
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncpg.Connection, "execute", whole)
        patch.setattr(asyncpg.Connection, "_execute", prepared)
        yield death
