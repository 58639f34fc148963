"""Commands and waited events: accepted and applied in one transaction, in groups, while their callers wait."""

import asyncio
from typing import Any
from uuid import UUID

import structlog

from questline.model.audit import Act
from questline.model.event import AcceptedEvent, size_of
from questline.model.limits import (
    COMMAND_GATHER_SECONDS,
    COMMAND_GROUP_BYTES_MAX,
    COMMAND_GROUP_MAX,
    COMMAND_GROUP_MIN,
    COMMAND_LANES,
    COMMAND_QUEUE_BYTES_MAX,
    COMMAND_QUEUE_MAX,
    STALL_SECONDS,
)
from questline.processing.apply import Applier, Clock, Send
from questline.processing.catch_up import CatchUp
from questline.processing.command_groups import (
    CommandGroups,
    CommandResult,
    Overloaded,
    Unavailable,
    UserParked,
    Waiting,
    fail,
)
from questline.processing.held import Held
from questline.processing.meters import ProcessingMeters
from questline.processing.programs import ProgramCache
from questline.processing.seen import SeenTypes
from questline.store import boards
from questline.store.pool import Connection, connect, renew_plans
from questline.store.system_events import NewId
from questline.telemetry.tracing import Tracer
from questline.transport.gathering import Gathering
from questline.transport.stall import Stall

__all__ = ["CommandResult", "Commands", "Overloaded", "Unavailable", "UserParked"]

log = structlog.get_logger(__name__)


class Commands:
    """Runs commands for one process. Those that arrive together share a transaction.

    A user's waiting events are applied before a command of theirs, so a command sees all that was acknowledged before.
    Where more of them wait than one transaction takes, the command waits for the others to be applied, or is not stored.
    """

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        new_id: NewId,
        meters: ProcessingMeters,
        seen: SeenTypes | None = None,
        tracer: Tracer | None = None,
        send: Send | None = None,
    ) -> None:
        """`send` takes what commits changed of boards that have a copy."""
        programs = ProgramCache()
        self._dsn = dsn
        self._clock = clock
        self._appliers = [Applier(programs, clock, new_id, seen, send) for _ in range(COMMAND_LANES)]
        self._catch_up = CatchUp(
            dsn,
            Applier(programs, clock, new_id, seen, send),
            meters,
            lambda waiting: self._queue.add(waiting),
            self._give_up,
        )
        self._held = Held(lambda waiting: self._queue.add(waiting), self._give_up)
        self._under_way: dict[asyncio.Future[CommandResult], asyncio.Future[None]] = {}  # and the end of their groups
        self._meters = meters
        self._tracer = tracer
        self._queue: Gathering[Waiting] = Gathering(
            lambda waiting: size_of(waiting[0]),
            least=COMMAND_GROUP_MIN,
            most=COMMAND_GROUP_MAX,
            bytes_most=COMMAND_GROUP_BYTES_MAX,
            seconds=COMMAND_GATHER_SECONDS,
        )
        self._stall = Stall(COMMAND_LANES, self._turn_away)
        self._acts: dict[UUID, Act] = {}  # of events in the queue or under way, few of which are administrative
        self._groups = CommandGroups(clock, meters, tracer, self._acts, self._held)
        self._closing = False
        self._lanes: list[asyncio.Task[None]] = []
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve; call once, inside the running loop."""
        self._lanes = [asyncio.create_task(self._serve(*lane)) for lane in enumerate(self._appliers)]
        self._watching = asyncio.create_task(self._stall.watch())

    async def close(self) -> None:
        """Finish what was taken, then stop."""
        self._closing = True
        await self._catch_up.close()
        self._held.close()
        self._queue.close()
        await asyncio.gather(*self._lanes)
        if self._watching is not None:
            self._watching.cancel()

    async def run(self, event: AcceptedEvent, act: Act | None = None) -> CommandResult:
        """Apply a command now and return its result; raises Overloaded, Unavailable, UserParked, UserBehind or UserHeld.

        An `act` is written to the audit log with it, unless the command is a repeat.
        """
        return await self._add(event, act)

    async def run_for(self, event: AcceptedEvent, seconds: float) -> CommandResult | None:
        """Do as `run` does for so long. None: it took longer, and nothing of it is stored or will be.

        Where it is being stored just then its end is awaited: its key is taken until then, and who stores the event
        otherwise would wait for it with all others beside. Raises Unavailable if it does not end either.
        """
        future = self._add(event, None)
        await asyncio.wait([future], timeout=seconds)
        if not future.done() and (ended := self._under_way.get(future)) is not None:
            either: list[asyncio.Future[Any]] = [future, ended]
            await asyncio.wait(either, timeout=STALL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            if future in self._under_way:
                raise Unavailable("it is still under way")
            future.cancel()  # a lane that takes it up leaves it
            return None
        return future.result()

    def _add(self, event: AcceptedEvent, act: Act | None) -> "asyncio.Future[CommandResult]":
        if (
            self._stall.now
            or len(self._queue) >= COMMAND_QUEUE_MAX
            or self._queue.bytes_waiting >= COMMAND_QUEUE_BYTES_MAX
            or self._closing
        ):
            raise Overloaded
        if self._tracer is not None:
            event = self._tracer.mark(event)
        future: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        if act is not None:
            self._acts[event.id] = act
        self._queue.add((event, future))
        return future

    async def _serve(self, number: int, applier: Applier) -> None:
        conn: Connection | None = None
        shard = 0
        while group := await self._queue.next():
            self._stall.begins(number)
            ended = asyncio.get_running_loop().create_future()
            self._under_way.update((future, ended) for _, future in group)
            behind = [waiting for waiting in group if self._catch_up.has(waiting)]
            try:
                if conn is None or conn.is_closed():
                    conn = await connect(self._dsn, gives_way=True)
                    shard = await boards.claim_shard(conn)
                await renew_plans(conn)
                others = [w for w in group if w not in behind and not w[1].done()]  # or its caller went away
                behind += await self._groups.run(conn, shard, applier, others) if others else []
            except Exception as fault:
                log.warning("commands.unavailable", fault=repr(fault), commands=len(group))
                fail(group, Unavailable(str(fault)))
                if conn is not None:
                    conn.terminate()
                    conn = None
            for event, future in group if self._acts else ():
                if future.done():  # else it waits for another try
                    self._acts.pop(event.id, None)
            for _, future in group:
                if self._under_way.get(future) is ended:  # else it is tried again already
                    del self._under_way[future]
            ended.set_result(None)
            self._stall.ends(number)
            self._queue.done(group)
            for waiting in behind:
                self._catch_up.add(waiting)
        if conn is not None:
            await conn.close()

    def _turn_away(self) -> None:
        """Let go of those who wait for a lane, none of whom was stored."""
        log.warning("commands.stalled", commands=len(self._queue))
        waiting = self._queue.clear()
        for event, _ in waiting:
            self._acts.pop(event.id, None)
        fail(waiting, Overloaded())

    def _give_up(self, waiting: Waiting, error: Exception) -> None:
        """Turn away a command whose user was not caught up with, or not to be had."""
        self._acts.pop(waiting[0].id, None)
        fail([waiting], error)
