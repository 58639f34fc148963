"""Small services beside the lanes that forget what is over: nonces of signed events, sessions of end users, replies kept."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from questline.processing.apply import Clock
from questline.processing.services import keep_doing, stopped
from questline.store.pool import Connection, connect

Sweep = Callable[[Connection, datetime], Awaitable[int]]


class Forgetting:
    """Sweeps now and then, `at_once` rows a transaction; outlives the loss of its connection."""

    def __init__(self, name: str, dsn: str, clock: Clock, sweep: Sweep, at_once: int, every_seconds: float) -> None:
        self._name = name
        self._dsn = dsn
        self._clock = clock
        self._sweep = sweep
        self._at_once = at_once
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; the transaction under way is finished."""
        # When it fails, the table grows.
        await keep_doing(self._name, lambda: self.run_once(stop), stop, self._every_seconds)

    async def run_once(self, stop: asyncio.Event | None = None) -> int:
        """Sweep what is over now, or as much as can be until `stop`; return how many rows were forgotten."""
        conn = await connect(self._dsn)
        try:
            swept = last = await self._sweep(conn, self._clock())
            while last >= self._at_once and not stopped(stop):
                last = await self._sweep(conn, self._clock())
                swept += last
            return swept
        finally:
            await conn.close()
