"""A small service beside the lanes: sends an event for each quest whose time is over, so that it ends like all else does."""

import asyncio

import structlog

from questline.model.decision import FollowUp
from questline.model.event import QUEST_EXPIRE
from questline.model.limits import QUEST_SWEEP_FULL_SECONDS, QUEST_SWEEP_ROWS_MAX, QUEST_SWEEP_SECONDS
from questline.processing.apply import Clock
from questline.store import quests, system_events
from questline.store.faults import TRANSIENT_FAULTS
from questline.store.pool import connect
from questline.store.quests import DueQuest, Place
from questline.store.system_events import NewId, system_event
from questline.transport.pauses import pause

log = structlog.get_logger(__name__)


class QuestEnds:
    """Looks now and then for runs that are overdue; outlives the loss of its connection.

    Each run is expired under a key of its own, so that sweeps may meet: of many workers, or of one that sees a run again
    before its event is applied. A sweep goes on where the last one stopped, and from the beginning after the last run.
    """

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        new_id: NewId,
        every_seconds: float = QUEST_SWEEP_SECONDS,
        rows_max: int = QUEST_SWEEP_ROWS_MAX,
    ) -> None:
        self._dsn = dsn
        self._clock = clock
        self._new_id = new_id
        self._every_seconds = every_seconds
        self._rows_max = rows_max
        self._place = Place()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set."""
        while not stop.is_set():
            found = 0
            try:
                found = await self.run_once()
            except TRANSIENT_FAULTS as fault:
                log.warning("quest_ends.waiting", fault=repr(fault))
            except Exception:
                log.exception("quest_ends.failed")  # reads are right without it; events must go on
            await pause(stop, self._every_seconds if found < self._rows_max else QUEST_SWEEP_FULL_SECONDS)

    async def run_once(self) -> int:
        """Send events for the next runs that are overdue; return how many were found."""
        conn = await connect(self._dsn)
        try:
            now = self._clock()
            due = await quests.due(conn, now, self._place, self._rows_max)
            events = [system_event(run.place.project_id, _expiry(run), self._new_id, now) for run in due]
            await system_events.send(conn, events)
        finally:
            await conn.close()
        self._place = due[-1].place if len(due) == self._rows_max else Place()
        return len(due)


def _expiry(run: DueQuest) -> FollowUp:
    """The event of a run's end, as of its deadline; the run is told apart by its user, quest and start."""
    quest = run.place.quest
    key = f"{run.user}:{quest}:{run.started_at.isoformat()}"
    return FollowUp(run.user, QUEST_EXPIRE, {"quest": quest}, key, run.place.deadline)
