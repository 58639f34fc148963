"""What services that send many events of their own ask of the queue: whether older ones wait, and whether there is room."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from questline.model.limits import RESULTS_WAITING_MAX, ROOM_POLL_SECONDS
from questline.store import outbox
from questline.store.pool import Connection
from questline.transport.pauses import pause

Waits = Callable[[Connection, int, datetime], Awaitable[bool]]  # for an event of a project, received before a time


async def wait_for_room(conn: Connection, project_id: int, stop: asyncio.Event | None) -> bool:
    """Wait until few events of the project are in the queue, and tell whether to go on; without `stop` nothing is waited for.

    A million results at once would stand before whatever the project's users do next.
    """
    if stop is None:
        return True
    while not stop.is_set():
        if await outbox.waiting_of(conn, project_id, RESULTS_WAITING_MAX) < RESULTS_WAITING_MAX:
            return True
        await pause(stop, ROOM_POLL_SECONDS)
    return False
