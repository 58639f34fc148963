"""Sends messages to receivers and settles what they answer: `questline deliver`, as a process of its own, as often as wanted.

A message is sent until it is answered, under the same id, and its outcome is one event under a key made of that id, stored in
the transaction that ends the message: a receiver may be asked twice, and what it was asked for has one effect.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import structlog

from questline.model.decision import FollowUp
from questline.model.deliveries import DeliveryStatus, Result
from questline.model.event import FULFILMENT_COMPLETE, FULFILMENT_FAIL
from questline.model.limits import (
    BACKLOG_MEASURED_SECONDS,
    DELIVERIES_AT_ONCE,
    DELIVERIES_OF_PROJECT,
    DELIVERIES_OF_PROJECT_FIRST,
    DELIVERIES_OF_SILENT_ONE_IN,
    DELIVERY_CLAIM_SECONDS,
    DELIVERY_CONNECTIONS,
    DELIVERY_NOTED_SECONDS,
    DELIVERY_POLL_SECONDS,
    DELIVERY_PROJECTS_KNOWN,
    DELIVERY_TRIES_MAX,
)
from questline.outward.meters import DeliveryMeters
from questline.outward.receivers import Answer, Receivers
from questline.outward.webhooks import wait_seconds
from questline.store import deliveries, system_events
from questline.store.deliveries import Message, Room
from questline.store.faults import OUTSIDE_FAULTS, TRANSIENT_FAULTS
from questline.store.pool import Connection, Pool, close_pool, open_pool, service_transaction
from questline.store.system_events import NewId, system_event
from questline.transport.pauses import backoff_seconds, pause

log = structlog.get_logger(__name__)


class Deliverer:
    """Works until told to stop; outlives the loss of PostgreSQL, and whatever receivers do."""

    def __init__(
        self, dsn: str, receivers: Receivers, clock: Callable[[], datetime], new_id: NewId, meters: DeliveryMeters
    ) -> None:
        self._dsn = dsn
        self._receivers = receivers
        self._clock = clock
        self._new_id = new_id
        self._meters = meters
        self._under_way: Counter[int] = Counter()  # by project
        self._pace: dict[int, int] = {}  # how many of a project may be, by how it answered last
        self._stirred = asyncio.Event()  # something ended
        self._alive_at = 0.0  # monotonic time of the last finished round

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; what is being sent is finished."""
        pool = await open_pool(self._dsn, max_size=DELIVERY_CONNECTIONS, min_size=0)
        waking = asyncio.create_task(self._wake(stop))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._measuring(pool, stop))
                tasks.create_task(self._sending(pool, stop))
        finally:
            waking.cancel()
            await self._receivers.close()
            await close_pool(pool, DELIVERY_NOTED_SECONDS)

    def idle_seconds(self) -> float:
        """Return how long ago it was looked for messages; a large number means that PostgreSQL is gone."""
        return time.monotonic() - self._alive_at

    async def _wake(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stirred.set()

    async def _sending(self, pool: Pool, stop: asyncio.Event) -> None:
        """Take what is due and send each message beside the others."""
        faults = 0
        async with asyncio.TaskGroup() as tries:
            while not stop.is_set():
                self._stirred.clear()
                try:
                    found = await self._claim(pool)
                except Exception as fault:
                    faults += 1
                    if isinstance(fault, OUTSIDE_FAULTS):
                        log.warning("deliver.waiting", fault=repr(fault))
                    else:  # a defect: it is told of, and what is under way is not lost with it
                        log.exception("deliver.not_claimed")
                    await pause(stop, backoff_seconds(faults))
                    continue
                faults = 0
                self._alive_at = time.monotonic()
                for message in found:
                    tries.create_task(self._try(pool, message))
                await pause(stop, DELIVERY_CLAIM_SECONDS)
                if not stop.is_set():
                    await pause(self._stirred, DELIVERY_POLL_SECONDS)

    async def _claim(self, pool: Pool) -> list[Message]:
        """Take messages as far as there is room, in all and for each project."""
        room = DELIVERIES_AT_ONCE - self._under_way.total()
        if room <= 0:
            return []
        known = {*self._pace, *self._under_way}
        rooms = {p: Room(max(self._pace_of(p) - self._under_way[p], 0), self._is_silent(p)) for p in known}
        share = max(DELIVERIES_AT_ONCE // DELIVERIES_OF_SILENT_ONE_IN, 1)
        have = sum(messages for p, messages in self._under_way.items() if self._is_silent(p))
        async with service_transaction(pool) as conn:
            found = await deliveries.claim(conn, self._new_id(), room, rooms, max(share - have, 0))
        for message in found:
            self._under_way[message.project_id] += 1
        self._meters.under_way.inc(len(found))
        return found

    async def _try(self, pool: Pool, message: Message) -> None:
        """Send one message and note what came of it; what cannot be noted is left to the end of its lease."""
        try:
            if not message.wanted:
                await self._note(pool, message, Result.CANCELLED, Answer())
                return
            began = time.monotonic()
            answer = await self._receivers.send(message)
            self._meters.seconds.observe(time.monotonic() - began)
            self._learn(message.project_id, answer)
            await self._note(pool, message, _result(message, answer), answer)
        except Exception:
            log.exception("deliver.not_noted", project=message.app_id, message=message.id)
        finally:
            self._meters.under_way.dec()
            self._under_way[message.project_id] -= 1
            if not self._under_way[message.project_id]:
                del self._under_way[message.project_id]
            self._stirred.set()

    def _pace_of(self, project_id: int) -> int:
        return self._pace.get(project_id, DELIVERIES_OF_PROJECT_FIRST)

    def _is_silent(self, project_id: int) -> bool:
        """Whether it did not answer: it has its share, and what is left of the others'."""
        return self._pace_of(project_id) < DELIVERIES_OF_PROJECT_FIRST

    def _learn(self, project_id: int, answer: Answer) -> None:
        """Let a project have more at once for each answer, and one at a time when there was none."""
        pace = min(2 * self._pace_of(project_id), DELIVERIES_OF_PROJECT) if answer.fault is None else 1
        self._pace.pop(project_id, None)  # so that the one that was heard of longest ago is forgotten
        self._pace[project_id] = pace
        if len(self._pace) > DELIVERY_PROJECTS_KNOWN:
            del self._pace[next(iter(self._pace))]
        if answer.fault is not None:
            self._meters.faults.labels(answer.fault.name.lower()).inc()

    async def _note(self, pool: Pool, message: Message, result: Result, answer: Answer) -> None:
        """Write down what a try led to; while PostgreSQL is away, for a while again and again."""
        until, tries = time.monotonic() + DELIVERY_NOTED_SECONDS, 0
        while True:
            try:
                async with service_transaction(pool) as conn:
                    ours = await self._settle(conn, message, result, answer)
                break
            except TRANSIENT_FAULTS as fault:
                tries += 1
                log.warning("deliver.not_noted", message=message.id, fault=repr(fault), tries=tries)
                if time.monotonic() > until:
                    return  # its lease runs out, and it is sent again
                await asyncio.sleep(backoff_seconds(tries))
        self._meters.tries.labels(result.value if ours else "superseded").inc()

    async def _settle(self, conn: Connection, message: Message, result: Result, answer: Answer) -> bool:
        """End the message, and store the event that ends the fulfilment with it; or put it off. False: it was not ours."""
        if result is Result.AGAIN:
            return await deliveries.put_off(
                conn, message, wait_seconds(message.tries, answer.wait_seconds), answer.text
            )
        if not await deliveries.settle(conn, message, _STATUSES[result], answer.text):
            return False
        if (outcome := _outcome(message, result, answer)) is not None:
            event = system_event(message.project_id, outcome, self._new_id, self._clock(), message.traceparent)
            await system_events.send(conn, [event])
        return True

    async def _measuring(self, pool: Pool, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                self._meters.set_waiting(await deliveries.measure(pool))
            except TRANSIENT_FAULTS as fault:
                log.warning("deliver.not_measured", fault=repr(fault))
            except Exception:  # a defect: it is told of, and what is under way is not lost with it
                log.exception("deliver.not_measured")
            await pause(stop, BACKLOG_MEASURED_SECONDS)


_STATUSES = {
    Result.DONE: DeliveryStatus.DELIVERED,
    Result.TAKEN: DeliveryStatus.DELIVERED,
    Result.REFUSED: DeliveryStatus.FAILED,
    Result.GIVEN_UP: DeliveryStatus.FAILED,
    Result.CANCELLED: DeliveryStatus.CANCELLED,
}


def _result(message: Message, answer: Answer) -> Result:
    found = answer.meaning
    return Result.GIVEN_UP if found is Result.AGAIN and message.tries >= DELIVERY_TRIES_MAX else found


def _outcome(message: Message, result: Result, answer: Answer) -> FollowUp | None:
    """Return what becomes of a fulfilment, once for ever under a key of the message; None: nothing yet."""
    key, payload = f"delivery:{message.id}", {"fulfilment": message.id}
    if result is Result.DONE:
        return FollowUp(message.user, FULFILMENT_COMPLETE, payload, key)
    if result not in (Result.REFUSED, Result.GIVEN_UP):
        return None
    said = answer.text if result is Result.REFUSED else f"{answer.text}, after {message.tries} tries"
    return FollowUp(message.user, FULFILMENT_FAIL, {**payload, "note": f"webhook: {said}"}, key)
