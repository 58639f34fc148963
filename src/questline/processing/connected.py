"""How what works on a connection of its own lives: it begins again with a new one, for ever, whatever ends the old one."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from questline.store.faults import OUTSIDE_FAULTS
from questline.store.pool import Connection, close, connect
from questline.transport.pauses import backoff_seconds, pause

log = structlog.get_logger(__name__)


async def keep_connected(
    name: str,
    dsn: str,
    work: Callable[[Connection, asyncio.Event], Awaitable[None]],
    stop: asyncio.Event,
    lost: Callable[[], object] | None = None,
    *,
    gives_way: bool = False,
    **told: object,
) -> None:
    """Do `work` on a connection until `stop` is set; infrastructure faults are waited out, and `lost` counts them.

    What is logged bears the `name` of who works, and what is `told` of them. One that `gives_way`
    waits for no lock for long (store/pool.py).
    """
    faults = 0
    while not stop.is_set():
        try:
            conn = await connect(dsn, gives_way=gives_way)
            try:
                faults = 0
                await work(conn, stop)
            finally:
                await close(conn)
        except Exception as fault:
            faults += 1
            if isinstance(fault, OUTSIDE_FAULTS):
                if lost is not None:
                    lost()
                log.warning(f"{name}.lost_connection", **told, fault=repr(fault), tries=faults)
            else:  # a defect of ours must not end it: it is logged, and work goes on
                log.exception(f"{name}.failed", **told, tries=faults)
            await pause(stop, backoff_seconds(faults))
