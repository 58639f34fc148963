"""A small service beside the lanes: settles which projects are counted by name."""

import asyncio

from questline.model.limits import PROJECTS_RANKED_SECONDS
from questline.processing.services import keep_doing
from questline.store import projects
from questline.store.pool import close, connect
from questline.telemetry.projects import ProjectEvents


class Rankings:
    """Ranks now and then; it asks the database only for names it does not know. Outlives the loss of its connection."""

    def __init__(self, dsn: str, counts: ProjectEvents, every_seconds: float = PROJECTS_RANKED_SECONDS) -> None:
        self._dsn = dsn
        self._counts = counts
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        await keep_doing("rankings", self.run_once, stop, self._every_seconds)

    async def run_once(self) -> None:
        """Settle it now."""
        await self._counts.look(self._names_of)

    async def _names_of(self, ids: list[int]) -> dict[int, str]:
        conn = await connect(self._dsn)
        try:
            return await projects.app_ids(conn, ids)
        finally:
            await close(conn)
