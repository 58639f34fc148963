"""How the small services beside the lanes live: they do their work now and then, and outlast whatever stops it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from questline.store.faults import NOT_LET_IN, TRANSIENT_FAULTS
from questline.transport.pauses import pause

log = structlog.get_logger(__name__)


async def keep_doing(
    name: str, work: Callable[[], Awaitable[object]], stop: asyncio.Event, every_seconds: float
) -> None:
    """Do `work` every so often until `stop` is set. A fault is logged under the service's name, and the next time comes.

    No service is worth a lane: what it fails at is done later, and events must go on.
    """
    while not stop.is_set():
        try:
            await work()
        except (*TRANSIENT_FAULTS, *NOT_LET_IN) as fault:
            log.warning(f"{name}.waiting", fault=repr(fault))
        except Exception:
            log.exception(f"{name}.failed")
        await pause(stop, every_seconds)
