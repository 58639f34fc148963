"""A small service beside the lanes: splits ranges of board scores in which very many users stand."""

import asyncio

import structlog

from questline.model.limits import BOARD_CROWDS_SECONDS
from questline.store import boards
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import connect

log = structlog.get_logger(__name__)


class Crowds:
    """Looks now and then for crowds that writers reported; outlives the loss of its connection."""

    def __init__(self, dsn: str, every_seconds: float = BOARD_CROWDS_SECONDS) -> None:
        self._dsn = dsn
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        while not stop.is_set():
            try:
                await self.run_once()
            except TRANSIENT_FAULTS as fault:
                log.warning("crowds.waiting", fault=repr(fault))
            except Exception:
                log.exception("crowds.failed")  # ranks get slower without it; events must go on
            try:
                await asyncio.wait_for(stop.wait(), self._every_seconds)
            except TimeoutError:
                continue

    async def run_once(self) -> int:
        """Split what is reported now; return how many ranges were looked at."""
        conn = await connect(self._dsn)
        try:
            return await boards.split_crowds(conn)
        finally:
            await conn.close()
