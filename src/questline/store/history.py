"""Which database this is, and which of its histories: what a cache outside has learnt is true of this one alone.

A database that was restored to an earlier moment, or whose replica took over without its last commits, has forgotten what
was acknowledged before. PostgreSQL numbers such histories (timelines): what is remembered under one name of `line` is not
found under another.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
import structlog
from asyncpg import Connection, Pool

from questline.model.limits import HISTORY_ASKED_SECONDS, HISTORY_HOLDS_SECONDS
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.statements import statements

SQL = statements("history")

log = structlog.get_logger(__name__)

_DRIFT_SECONDS = 0.01  # between this machine's stopwatch and the server's clock, until it is asked again


class Moment(msgspec.Struct, frozen=True, gc=False):
    """A moment by the server's clock, in seconds since 1970, as nearly as it is known: between these two."""

    earliest: float
    latest: float


class History:
    """What one process knows of its database's history and clock, asked every second. `clock` is a stopwatch in seconds."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._line: str | None = None
        self._of: str | None = None  # the line that was known last
        self._asked_at = float("-inf")
        self._earliest_ahead = 0.0
        self._latest_ahead = float("-inf")
        self._doubts = 0

    @property
    def line(self) -> str | None:
        """The name of the history; None while it is not known, and nothing that is remembered may be believed."""
        return self._line if self._clock() - self._asked_at < HISTORY_HOLDS_SECONDS else None

    def now(self) -> Moment:
        """Return this moment, while the line is known. The latest never goes back, whatever the server's clock does."""
        now = self._clock()
        return Moment(now + self._earliest_ahead - _DRIFT_SECONDS, now + self._latest_ahead + _DRIFT_SECONDS)

    def doubt(self) -> None:
        """Be told that a connection was lost: who answers next may be another server. Nothing is believed until it is asked."""
        self._doubts += 1
        self._line = None

    async def ask(self) -> None:
        """Ask which history it is now."""
        doubts, sent = self._doubts, self._clock()
        rows = await self._pool.fetch(SQL["history"], timeout=HISTORY_HOLDS_SECONDS)
        line, at = rows[0]
        if doubts != self._doubts:
            return
        if line != self._of:
            self._of, self._latest_ahead = line, float("-inf")
            log.info("history.known", line=line)
        self._line, self._asked_at = line, sent
        self._earliest_ahead = at - self._clock()
        self._latest_ahead = max(self._latest_ahead, at - sent)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                await self.ask()
            except TRANSIENT_FAULTS as fault:
                self.doubt()
                log.warning("history.unknown", fault=repr(fault))
            await asyncio.sleep(HISTORY_ASKED_SECONDS)


async def installation_of(pool: Pool | Connection) -> str:
    """Return a name of the database that no other has, the same for as long as it lives."""
    rows = await pool.fetch(SQL["installation"])
    return str(rows[0][0])
