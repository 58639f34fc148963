"""A small service beside the lanes, where a setting asks for it: prunes by itself, as the owner of the tables."""

import asyncio
from datetime import timedelta

import structlog

from questline.model.limits import PRUNE_CHECKED_SECONDS
from questline.model.retention import Class, Retention
from questline.processing.apply import Clock
from questline.processing.archive import Archive
from questline.processing.retention import NewId, plan, prune
from questline.processing.services import keep_doing, stopped
from questline.store import retention as store
from questline.store.pool import connect

log = structlog.get_logger(__name__)


class Pruning:
    """Looks now and then whether it is time; of several workers one prunes. Outlives the loss of its connection."""

    def __init__(
        self, owner_dsn: str, clock: Clock, new_id: NewId, retention: Retention, archive: Archive | None, hours: int,
        every_seconds: float = PRUNE_CHECKED_SECONDS,
    ) -> None:  # fmt: skip
        self._owner_dsn = owner_dsn
        self._clock = clock
        self._new_id = new_id
        self._retention = retention
        self._archive = archive
        self._pause = timedelta(hours=hours)
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; the step under way is finished, and the next worker goes on from there."""
        # When it fails, what is too old stays.
        await keep_doing("pruning", lambda: self.run_once(stop), stop, self._every_seconds)

    async def run_once(self, stop: asyncio.Event | None = None) -> bool:
        """Prune if it is time; tell whether that was done to its end."""
        conn = await connect(self._owner_dsn)
        try:
            if not await store.is_owner(conn):
                log.error("pruning.not_owner", advice="set the owner's DSN, as for questline migrate")
                return False
            now = self._clock()
            classes = [class_ for class_ in Class if self._retention.days(class_)]
            last = await store.last_run(conn, classes)
            if (last is not None and now - last < self._pause) or not await store.take_turn(conn):
                return False
            made = await plan(conn, self._retention, now)
            left = await prune(conn, made, self._retention, now, self._new_id, self._archive, _quietly, stop)
            if stopped(stop):
                return False
            for kept in (*made.kept, *left):
                log.warning("pruning.kept", name=kept.name, reason=kept.reason)
            log.info("pruning.done", taken=[step.name for step in made.steps], kept=len(made.kept) + len(left))
            return True
        finally:
            await conn.close()


def _quietly(_name: str, _done: int, _total: int) -> None:
    """Show no progress: nobody looks."""
