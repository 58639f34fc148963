"""One connection that hears what other processes announce (LISTEN), made anew whenever it is lost."""

import asyncio
from collections.abc import Callable

import structlog

from questline.model.limits import LISTEN_PROBE_SECONDS, LISTEN_SILENT_SECONDS_MAX, RESTART_BACKOFF_SECONDS_MAX
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import Connection, close, connect
from questline.store.statements import statements

SQL = statements("listener")

log = structlog.get_logger(__name__)

ACCESS = "questline_access"  # `key ID`, `member ID`, `project ID`, `organization ID`: what they may do has changed

_FIRST_PAUSE_SECONDS = 0.1


class Listener:
    """Hears one channel. `heard` gets each payload; `hears` gets True from when all is heard, False once it may not be.

    What was announced while it was deaf is lost: whoever is told True again must forget what it knew.
    """

    def __init__(self, dsn: str, channel: str, heard: Callable[[str], None], hears: Callable[[bool], None]) -> None:
        self._dsn = dsn
        self._channel = channel
        self._heard = heard
        self._hears = hears

    async def run(self) -> None:
        """Listen until cancelled."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            try:
                conn = await connect(self._dsn)
                try:
                    await conn.add_listener(self._channel, lambda *told: self._heard(told[3]))
                    pause_seconds = _FIRST_PAUSE_SECONDS
                    await self._listen(conn)
                finally:
                    self._hears(False)
                    await close(conn)
            except TRANSIENT_FAULTS as fault:
                log.warning("listener.deaf", channel=self._channel, fault=repr(fault))
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, RESTART_BACKOFF_SECONDS_MAX)

    async def _listen(self, conn: Connection) -> None:
        """Ask again and again whether the connection lives; an answer comes after all that was announced before it."""
        self._hears(True)
        gone = asyncio.Event()
        conn.add_termination_listener(lambda _: gone.set())
        while True:
            asking = asyncio.ensure_future(conn.execute(SQL["probe"], timeout=LISTEN_SILENT_SECONDS_MAX))
            try:
                if not (await asyncio.wait([asking], timeout=LISTEN_PROBE_SECONDS))[0]:
                    self._hears(False)
                await asking
            finally:
                asking.cancel()
            self._hears(True)
            try:
                async with asyncio.timeout(LISTEN_PROBE_SECONDS):
                    await gone.wait()
                return
            except TimeoutError:
                continue
