"""Connections to PostgreSQL, set up for many small set-based statements."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

import asyncpg
from asyncpg import Connection, Pool

from questline.model.limits import LOCK_PROBE_MS, LOCK_WAIT_MS, PLANS_KEPT_SECONDS, POOL_WAIT_SECONDS
from questline.store.arrays import use_arrays
from questline.store.faults import TRANSIENT_FAULTS

__all__ = [  # nobody else names the driver
    "Connection", "LockHeld", "OneConnection", "Pool", "close", "close_pool", "connect", "hurried", "leave_tenant",
    "open_pool", "renew_plans", "service_transaction", "tenant_transaction",
]  # fmt: skip

# Plans are made once for a statement: its arrays grow and shrink, and the index look-ups they drive stay right.
_SESSION = {"plan_cache_mode": "force_generic_plan", "jit": "off", "application_name": "questline", "timezone": "UTC"}
_STATEMENTS_CACHED = 500
_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_COMMAND_SECONDS = 60.0
_STANDBY_KEPT_SECONDS = 1.0  # those who only read would else connect anew each time

LockHeld = asyncpg.LockNotAvailableError  # somebody held for longer than one waits what a statement was to lock


class _Kept(Connection):
    """A connection that knows its age, since when its plans have been kept, and whether it can write."""

    __slots__ = ("opened", "plans_since")

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.opened = self.plans_since = time.monotonic()

    @property
    def takes_no_writes(self) -> bool:
        """Whether it leads to a standby, or to who was told to be like one; PostgreSQL tells without being asked."""
        told: Any = self.get_settings()  # type: ignore[no-untyped-call]
        return "on" in (getattr(told, "in_hot_standby", ""), getattr(told, "default_transaction_read_only", ""))

    async def renew_plans(self) -> None:
        now = time.monotonic()
        if now - self.plans_since > PLANS_KEPT_SECONDS:
            self.plans_since = now
            await self.execute("DISCARD PLANS")


async def connect(dsn: str, *, command_seconds: float | None = _COMMAND_SECONDS, gives_way: bool = False) -> Connection:
    """Open one connection that its owner keeps; raises what asyncpg raises when the server cannot be reached.

    One that `gives_way` waits for a lock for LOCK_WAIT_MS at most, and then raises LockHeld: what serves many projects must
    not stand still because something of one of them is held.
    """
    conn: Connection = await asyncpg.connect(
        dsn,
        connection_class=_Kept,
        server_settings=_SESSION | {"lock_timeout": str(LOCK_WAIT_MS)} if gives_way else _SESSION,
        statement_cache_size=_STATEMENTS_CACHED,
        max_cached_statement_lifetime=0,
        timeout=_CONNECT_SECONDS,
        command_timeout=command_seconds,
    )
    await use_arrays(conn)
    return conn


@asynccontextmanager
async def hurried(conn: Connection) -> AsyncIterator[None]:
    """Let a connection that gives way do so almost at once, to find out what is held; enter it between transactions."""
    await conn.execute(f"SET lock_timeout = {LOCK_PROBE_MS}")
    try:
        yield
    finally:
        if not conn.is_closed():
            await conn.execute(f"SET lock_timeout = {LOCK_WAIT_MS}")


async def close(conn: Connection) -> None:
    """Close a connection in good order, or cut it where the server does not answer."""
    try:
        await conn.close(timeout=_CLOSE_SECONDS)
    except TRANSIENT_FAULTS:
        conn.terminate()


async def close_pool(pool: Pool, seconds: float) -> None:
    """Close a pool in good order; what somebody still holds after so long, or the server does not answer, is cut."""
    try:
        async with asyncio.timeout(seconds):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def open_pool(dsn: str, *, max_size: int, min_size: int = 1) -> Pool:
    """Open a pool of connections in the role the DSN logs in as."""
    pool: Pool = await asyncpg.create_pool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        connection_class=_Kept,
        server_settings=_SESSION,
        statement_cache_size=_STATEMENTS_CACHED,
        max_cached_statement_lifetime=0,
        max_inactive_connection_lifetime=0,
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
        init=use_arrays,
        setup=renew_plans,
        reset=_leave_standby,
    )
    return pool


async def renew_plans(conn: Connection) -> None:
    """Let statements be planned anew where their plans are some seconds old; call it between transactions.

    One that was planned while a table was known to be empty reads the table whole, and would go on to while it grows, until
    autovacuum analyzes it: for a minute and more.
    """
    await cast(_Kept, conn).renew_plans()  # a pool's proxy of the connection has it too


async def _leave_standby(conn: Connection) -> None:
    """Close a connection whose server takes no writes: behind a proxy or a name, the next one may find one that does.

    Nothing else is done, to save the trip that resets a session: whatever is set on a pool's connection ends with its
    transaction.
    """
    kept = cast(_Kept, conn)
    if kept.takes_no_writes and time.monotonic() - kept.opened > _STANDBY_KEPT_SECONDS:
        await close(conn)


@asynccontextmanager
async def service_transaction(pool: Pool) -> AsyncIterator[Connection]:
    """Yield a connection inside one transaction that is no single tenant's: of organizations, members, operators."""
    async with pool.acquire() as conn, conn.transaction():
        yield conn


@asynccontextmanager
async def tenant_transaction(pool: Pool, project_id: int) -> AsyncIterator[Connection]:
    """Yield a connection inside one transaction of the tenant role, which row-level security binds to the project.

    A connection that is not to be had within a while is a TimeoutError.
    """
    async with pool.acquire(timeout=POOL_WAIT_SECONDS) as conn, conn.transaction():
        await conn.execute(
            "SELECT set_config('role', 'questline_tenant', true), set_config('questline.project_id', $1, true)",
            str(project_id),
        )
        yield conn


async def leave_tenant(conn: Connection) -> None:
    """Go on in the role that was logged in as, in a transaction that was a tenant's."""
    await conn.execute("SELECT set_config('role', 'none', true), set_config('questline.project_id', '', true)")


class OneConnection:
    """A pool of one connection, inside a transaction of its owner's: what is done through it is part of that.

    Transactions within become savepoints, and one who leaves is no tenant any more.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]:
        """Lend the connection; there is nothing to wait for."""
        return self._lent()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Connection]:
        yield self._conn
        await leave_tenant(self._conn)

    async def fetch(self, *args: Any) -> Any:
        """Return the rows of a statement."""
        return await self._conn.fetch(*args)

    async def fetchrow(self, *args: Any) -> Any:
        """Return the first row of a statement."""
        return await self._conn.fetchrow(*args)

    async def fetchval(self, *args: Any) -> Any:
        """Return the first value of a statement."""
        return await self._conn.fetchval(*args)

    async def execute(self, *args: Any) -> Any:
        """Run a statement."""
        return await self._conn.execute(*args)
