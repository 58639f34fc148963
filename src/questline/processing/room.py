"""What services that send many events of their own ask of the queue: whether older ones wait, and whether there is room."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from questline.model.limits import RESULTS_WAITING_MAX
from questline.store import outbox
from questline.store.pool import Connection

Waits = Callable[[Connection, int, datetime], Awaitable[bool]]  # for an event of a project, received before a time


class Room:
    """Where the queue has room, during one look of a service; who finds none goes on to the next, and comes back.

    A million results at once would stand before whatever the project's users do next. Nobody waits for room: one project's
    users may fill it for hours, and the others' turn would not come.
    """

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.full: set[int] = set()

    async def has(self, project_id: int) -> bool:
        """Tell whether few events of a project are in the queue; one that was found full stays so for this look."""
        if project_id in self.full:
            return False
        if await outbox.waiting_of(self._conn, project_id, RESULTS_WAITING_MAX) < RESULTS_WAITING_MAX:
            return True
        self.full.add(project_id)
        return False
