"""What becomes of an event that stands alone and cannot be applied: tried again later, or a dead letter."""

from datetime import timedelta

import structlog

from questline.model.event import WaitingEvent
from questline.model.reasons import Reason
from questline.processing.apply import Clock
from questline.processing.meters import ProcessingMeters
from questline.processing.schedule import Schedule
from questline.store import effects, parking, users
from questline.store.faults import Fault, Remedy, classify
from questline.store.parking import FailedTry
from questline.store.pool import Connection
from questline.transport.carrier import Transport

log = structlog.get_logger(__name__)


class Failures:
    """Settles events that failed, for the lanes of one worker."""

    def __init__(self, schedule: Schedule, clock: Clock, meters: ProcessingMeters) -> None:
        self._schedule = schedule
        self._clock = clock
        self._meters = meters

    async def settle(
        self, conn: Connection, transport: Transport, event: WaitingEvent, fault: Exception, duration_us: int
    ) -> None:
        """Park the event's user until the next try, or write a dead letter; in a transaction of its own."""
        row, message = classify(fault), message_of(fault)
        wait = self._schedule.wait_after(event.tries + 1) if row.remedy is not Remedy.FINAL else None
        told = {"event_id": str(event.id), "fault": repr(fault), "attempt": event.attempt}
        async with conn.transaction():
            locked = await users.lock(conn, {(event.project_id, event.user): None})
            taken = await transport.take(conn, [event], locked)
            if taken and wait is None:
                await bury(conn, event, *_end_of(row, message), self._clock, duration_us)
            elif taken and wait is not None:
                now = self._clock()
                tried = FailedTry(event, row.reason, message, duration_us, now, now + timedelta(seconds=wait))
                await parking.park(conn, locked[event.project_id, event.user].id, tried)
        transport.settled([event])
        if not taken:
            return
        if wait is None:
            log.error("lane.dead_letter", **told)
            self._meters.dead_letters.labels(_end_of(row, message)[0].value).inc()
        else:
            log.warning("lane.user_parked", **told, seconds=round(wait, 1))
        self._meters.events.labels("failed" if wait is None else "retried").inc()


def message_of(fault: Exception) -> str:
    """Return a fault as an attempt keeps it."""
    return f"{type(fault).__name__}: {fault}"


async def bury(
    conn: Connection, event: WaitingEvent, reason: Reason, message: str, clock: Clock, duration_us: int = 0
) -> None:
    """Write a dead letter, in the caller's transaction."""
    rows = effects.Effects(set(), clock())
    rows.add_dead_letter(event, reason, message, duration_us)
    await rows.write(conn)


def _end_of(row: Fault, message: str) -> tuple[Reason, str]:
    if row.remedy is Remedy.FINAL:
        return row.reason, message
    return Reason.RETRY_EXHAUSTED, f"the last try failed with {row.reason}: {message}"
