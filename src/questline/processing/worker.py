"""A worker process: a few lanes side by side, so that one computes while another waits for PostgreSQL."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

from questline.model.board_copies import Change
from questline.model.limits import (
    BOARD_COPIES_FORGOTTEN_CHECKED_SECONDS,
    BOARD_COPIES_MAX,
    LANES_PER_WORKER,
    LEASE_SECONDS,
    NONCES_SWEPT_ROWS,
    NONCES_SWEPT_SECONDS,
    REPLIES_SWEPT_ROWS,
    REPLIES_SWEPT_SECONDS,
    RETRY_POLL_SECONDS,
    USER_SESSIONS_SWEPT_ROWS,
    USER_SESSIONS_SWEPT_SECONDS,
)
from questline.processing.apply import Applier, Clock
from questline.processing.backlog import Backlog
from questline.processing.crowds import Crowds
from questline.processing.event_types import EventTypes
from questline.processing.expiries import Expiries
from questline.processing.failures import Failures
from questline.processing.forgetting import Forgetting
from questline.processing.intake import Intake
from questline.processing.lane import Lane
from questline.processing.log_lane import LogLane, Reading, waits_until
from questline.processing.meters import BacklogMeters, ProcessingMeters
from questline.processing.months import Months
from questline.processing.partitions import Partitions
from questline.processing.programs import ProgramCache
from questline.processing.pruning import Pruning
from questline.processing.quest_ends import QuestEnds
from questline.processing.rankings import Rankings
from questline.processing.reminders import Reminders
from questline.processing.replays import Replays
from questline.processing.rollover import Rollover
from questline.processing.schedule import Schedule
from questline.processing.season_ends import SeasonEnds
from questline.processing.seen import SeenTypes
from questline.processing.sightings import Sightings
from questline.processing.sweeps import Sweeps
from questline.store import board_copies, end_users, nonces, replies
from questline.telemetry.tracing import Tracer
from questline.transport.carrier import OpenCarrier
from questline.transport.parked import ParkedTransport
from questline.transport.postgres import PostgresTransport


class Copies(Protocol):
    """What keeps copies of boards outside PostgreSQL: told by the lanes, and at work beside them."""

    def send(self, changes: Sequence[Change]) -> None:
        """Take what a commit changed; never waits."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, and send what waits."""


class Worker:
    """Runs its lanes until told to stop."""

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        new_id: Callable[[], UUID],
        meters: ProcessingMeters,
        backlog: BacklogMeters,
        schedule: Schedule,
        lanes: int = LANES_PER_WORKER,
        tracer: Tracer | None = None,
        pruning: Pruning | None = None,
        open_carrier: OpenCarrier | None = None,
        reading: Reading | None = None,
        copies: Copies | None = None,
    ) -> None:
        """`reading`: a log is read as well; what its events send, and what waits for a retry, goes through the queue."""
        self._tracer = tracer
        self._copies = copies
        programs, seen = ProgramCache(), SeenTypes()
        applier = partial(Applier, programs, clock, new_id, seen, None if copies is None else copies.send)
        transport = PostgresTransport(new_id(), LEASE_SECONDS)
        partitions = Partitions(dsn, transport, lanes, meters)
        carrier = None if open_carrier is None else open_carrier(partitions.all, transport)
        waits = waits_until(reading)
        contests = (
            Rollover(dsn, programs, clock, new_id, waits=waits),
            SeasonEnds(dsn, programs, clock, new_id, waits=waits),
        )
        self._services = (
            partitions,
            Backlog(dsn, clock, backlog),
            Rankings(dsn, meters.projects),
            Crowds(dsn),
            Months(dsn, clock),
            Expiries(dsn, clock, new_id),
            Sightings(dsn, clock),
            *_forgetting(dsn, clock),
            EventTypes(dsn, seen),
            QuestEnds(dsn, clock, new_id),
            *contests,
            Sweeps(dsn, programs, clock, new_id),
            Replays(dsn, programs, clock, new_id),
            Reminders(dsn, programs, clock, new_id),
            *(() if pruning is None else (pruning,)),
            *(() if carrier is None else (carrier,)),
            *(() if reading is None else (reading.feed,)),
        )
        failures = Failures(schedule, clock, meters)
        self._lanes: list[Lane | LogLane] = [
            Lane(
                number,
                dsn,
                partial(partitions.of, number),
                transport if carrier is None else carrier.lane(),
                applier(),
                failures,
                meters,
                tracer=tracer,
            )
            for number in range(lanes)
        ]
        if reading is not None:
            intake = Intake(reading.feed.topic, programs, clock)
            self._lanes += [LogLane(number, dsn, reading, applier(), intake, meters, tracer) for number in range(lanes)]
        # What is tried again has a lane of its own, so that nobody else waits for it.
        self._lanes.append(
            Lane(
                lanes,
                dsn,
                partitions.all,
                ParkedTransport(clock),
                applier(),
                failures,
                meters,
                RETRY_POLL_SECONDS,
                tracer,
            )
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then finish the batches under way and give the partitions back."""
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as beside:
            if self._copies is not None:
                beside.create_task(self._copies.run(ended))
            async with asyncio.TaskGroup() as lanes:
                for lane in self._lanes:
                    lanes.create_task(lane.run(stop))
                for service in self._services:
                    lanes.create_task(service.run(stop))
            ended.set()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)

    def idle_seconds(self) -> float:
        """Return how long ago the slowest lane finished a round; a large number means that a lane hangs."""
        return time.monotonic() - min(lane.alive_at for lane in self._lanes)


def _forgetting(dsn: str, clock: Clock) -> list[Forgetting]:
    """Return what sweeps away what is over."""
    swept = (
        ("sessions", end_users.sweep, USER_SESSIONS_SWEPT_ROWS, USER_SESSIONS_SWEPT_SECONDS),
        ("nonces", nonces.sweep, NONCES_SWEPT_ROWS, NONCES_SWEPT_SECONDS),
        ("replies", replies.sweep, REPLIES_SWEPT_ROWS, REPLIES_SWEPT_SECONDS),
        ("board_copies", board_copies.end_forgotten, BOARD_COPIES_MAX, BOARD_COPIES_FORGOTTEN_CHECKED_SECONDS),
    )
    return [Forgetting(name, dsn, clock, sweep, rows, seconds) for name, sweep, rows, seconds in swept]
