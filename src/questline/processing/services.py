"""How the small services beside the lanes live: they do their work now and then, and outlast whatever stops it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog

from questline.model.limits import ROOM_POLL_SECONDS
from questline.store.faults import OUTSIDE_FAULTS, Remedy, classify
from questline.store.pool import Connection
from questline.transport.pauses import pause

log = structlog.get_logger(__name__)


async def keep_doing(
    name: str,
    work: Callable[[], Awaitable[object]],
    stop: asyncio.Event,
    every_seconds: float,
    lacks_room: Callable[[], bool] | None = None,
) -> None:
    """Do `work` every so often until `stop` is set. A fault is logged under the service's name, and the next time comes.

    No service is worth a lane: what it fails at is done later, and events must go on. Where it left something because the
    queue lacks room, the next time comes soon.
    """
    while not stop.is_set():
        try:
            await work()
        except OUTSIDE_FAULTS as fault:
            log.warning(f"{name}.waiting", fault=repr(fault))
        except Exception:
            log.exception(f"{name}.failed")
        soon = lacks_room is not None and lacks_room()
        await pause(stop, min(every_seconds, ROOM_POLL_SECONDS) if soon else every_seconds)


@contextmanager
def apart(name: str, conn: Connection, **whose: object) -> Iterator[None]:
    """Log what one project's work fails with, so that the others' goes on; raise what any work would meet now."""
    try:
        yield
    except Exception as fault:
        if conn.is_closed() or classify(fault).remedy is Remedy.WAIT:
            raise
        log.exception(f"{name}.failed", **whose)


def stopped(stop: asyncio.Event | None) -> bool:
    """Tell whether a service was told to stop."""
    return stop is not None and stop.is_set()
