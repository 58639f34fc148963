"""Services that send many events of their own leave room in the queue for those of customers."""

import asyncio

from questline.model.limits import RESULTS_WAITING_MAX, ROOM_POLL_SECONDS
from questline.store import outbox
from questline.store.pool import Connection
from questline.transport.pauses import pause


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
