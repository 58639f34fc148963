"""A small service beside the lanes: splits ranges of board scores in which very many users stand."""

import asyncio

from questline.model.limits import BOARD_CROWDS_SECONDS
from questline.processing.services import keep_doing
from questline.store import boards
from questline.store.pool import connect


class Crowds:
    """Looks now and then for crowds that writers reported; outlives the loss of its connection."""

    def __init__(self, dsn: str, every_seconds: float = BOARD_CROWDS_SECONDS) -> None:
        self._dsn = dsn
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        # When it fails, ranks get slower.
        await keep_doing("crowds", self.run_once, stop, self._every_seconds)

    async def run_once(self) -> int:
        """Split what is reported now; return how many ranges were looked at."""
        conn = await connect(self._dsn)
        try:
            return await boards.split_crowds(conn)
        finally:
            await conn.close()
