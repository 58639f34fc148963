"""Commands and waited events: accepted and applied in one transaction, in groups, while their callers wait."""

import asyncio
import time
from collections.abc import Sequence
from math import ceil
from typing import Any
from uuid import UUID

import msgspec
import structlog

from questline.model.audit import Act
from questline.model.event import AcceptedEvent, size_of
from questline.model.event import waiting as waiting_event
from questline.model.limits import (
    APPLY_TRIES_MAX,
    COMMAND_GATHER_SECONDS,
    COMMAND_GROUP_BYTES_MAX,
    COMMAND_GROUP_MAX,
    COMMAND_GROUP_MIN,
    COMMAND_LANES,
    COMMAND_QUEUE_BYTES_MAX,
    COMMAND_QUEUE_MAX,
    DRAIN_BYTES_MAX,
    DRAIN_EVENTS_MAX,
)
from questline.processing.acts import completed
from questline.processing.apply import Applier, Clock, Send, Verdict
from questline.processing.catch_up import CatchUp
from questline.processing.failures import bury, message_of
from questline.processing.meters import ProcessingMeters
from questline.processing.outcome import outcome_of, stored_outcome, tells_codes
from questline.processing.programs import ProgramCache
from questline.processing.seen import SeenTypes
from questline.store import accept, audit, boards, commands, coupons, nonces, outbox, parking, users
from questline.store.faults import Remedy, classify
from questline.store.nonces import Replayed
from questline.store.pool import Connection, connect, renew_plans
from questline.store.system_events import NewId
from questline.telemetry.tracing import Tracer
from questline.transport.gathering import Gathering
from questline.transport.pauses import backoff_seconds
from questline.transport.stall import Stall

log = structlog.get_logger(__name__)


class Overloaded(Exception):
    """More commands wait than may, or for longer than they may; nothing was stored. Try again after `retry_after_seconds`."""

    retry_after_seconds = 1


class Unavailable(Exception):
    """The database could not be reached; whether the command was stored is unknown. Repeat it under the same key."""

    retry_after_seconds = 1


class UserParked(Exception):
    """The user's events wait for one that is tried again later; nothing was stored. Try again under the same key."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class _Parked(Exception):
    """These commands are new and their users parked: the transaction is given up, and the others go on without them."""

    def __init__(self, keys: set[tuple[int, bytes]]) -> None:
        super().__init__()
        self.keys = keys


class _Behind(Exception):
    """These commands are new and more waits of their users than was taken: likewise, until that is applied."""

    def __init__(self, keys: set[tuple[int, bytes]]) -> None:
        super().__init__()
        self.keys = keys


class CommandResult(msgspec.Struct, frozen=True):
    """How a command ended.

    `status` is processed, refused or failed (a dead letter), or pending where the original of a duplicate has not been
    applied. `reused`: the key belongs to other content, and nothing was done. `outcome` is what changed.
    """

    event_id: UUID
    duplicate: bool
    reused: bool
    status: str
    reason: str
    message: str
    outcome: dict[str, Any]


Waiting = tuple[AcceptedEvent, "asyncio.Future[CommandResult]"]


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
        self._queue.close()
        await asyncio.gather(*self._lanes)
        if self._watching is not None:
            self._watching.cancel()

    async def run(self, event: AcceptedEvent, act: Act | None = None) -> CommandResult:
        """Apply a command now and return its result; raises Overloaded, Unavailable, UserParked or UserBehind.

        An `act` is written to the audit log with it, unless the command is a repeat.
        """
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
        return await future

    async def _serve(self, number: int, applier: Applier) -> None:
        conn: Connection | None = None
        shard = 0
        while group := await self._queue.next():
            self._stall.begins(number)
            behind = [waiting for waiting in group if self._catch_up.has(waiting)]
            try:
                if conn is None or conn.is_closed():
                    conn = await connect(self._dsn)
                    shard = await boards.claim_shard(conn)
                await renew_plans(conn)
                others = [waiting for waiting in group if waiting not in behind] if behind else group
                behind += await self._run_group(conn, shard, applier, others) if others else []
            except Exception as fault:
                log.warning("commands.unavailable", fault=repr(fault), commands=len(group))
                _fail(group, Unavailable(str(fault)))
                if conn is not None:
                    conn.terminate()
                    conn = None
            ids = {event.id for event, _ in behind}
            for event, _ in group if self._acts else ():
                if event.id not in ids:
                    self._acts.pop(event.id, None)
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
        _fail(waiting, Overloaded())

    def _give_up(self, waiting: Waiting, error: Exception) -> None:
        """Turn away a command whose user was not caught up with."""
        self._acts.pop(waiting[0].id, None)
        _fail([waiting], error)

    async def _run_group(
        self, conn: Connection, shard: int, applier: Applier, group: Sequence[Waiting]
    ) -> list[Waiting]:
        """Run a group in one transaction; when the database refuses it, halve it to find the one at fault.

        Returns those of which nothing was stored, because their users are behind.
        """
        for tries in range(1, APPLY_TRIES_MAX + 1):
            try:
                await self._run_once(conn, shard, applier, group, None)
                return []
            except _Parked as parked:
                return await self._run_others(conn, shard, applier, group, parked.keys)
            except _Behind as found:
                behind, others = _parted(group, found.keys)
                return behind + (await self._run_group(conn, shard, applier, others) if others else [])
            except Exception as fault:
                row, refusal = classify(fault), fault
                if conn.is_closed() or row.remedy is Remedy.WAIT:
                    raise
                if row.remedy is Remedy.FINAL:
                    break
                self._meters.retries.inc()
                await asyncio.sleep(backoff_seconds(tries))
        if len(group) == 1:
            event = group[0][0]
            if row.remedy is Remedy.RETRY or await outbox.waits_for(conn, event.project_id, event.user_hash):
                log.warning("commands.not_stored", event_id=str(event.id), fault=repr(refusal))
                _fail(group, Unavailable(str(refusal)))  # an event before it may be at fault: a lane settles that
                return []
            log.error("commands.dead_letter", event_id=str(event.id), fault=repr(refusal))
            await self._run_once(conn, shard, applier, group, refusal)
            return []
        middle = len(group) // 2
        behind = await self._run_group(conn, shard, applier, group[:middle])
        return behind + await self._run_group(conn, shard, applier, group[middle:])

    async def _run_others(
        self, conn: Connection, shard: int, applier: Applier, group: Sequence[Waiting], keys: set[tuple[int, bytes]]
    ) -> list[Waiting]:
        """Turn commands of parked users away, and run the others."""
        turned, others = _parted(group, keys)
        due = await parking.due_at(conn, {(event.project_id, event.user_hash) for event, _ in turned})
        now = self._clock()
        for waiting in turned:
            at = due.get((waiting[0].project_id, waiting[0].user_hash), now)
            _fail([waiting], UserParked(max(ceil((at - now).total_seconds()), 1)))
        return await self._run_group(conn, shard, applier, others) if others else []

    async def _run_once(
        self, conn: Connection, shard: int, applier: Applier, group: Sequence[Waiting], refusal: Exception | None
    ) -> None:
        """Accept, drain, apply and commit; then answer. With a `refusal`, the one command becomes a dead letter."""
        first_of: dict[tuple[int, bytes], AcceptedEvent] = {}
        verdicts: dict[UUID, Verdict] = {}
        started = time.perf_counter()
        async with conn.transaction():
            if any(event.nonce is not None for event, _ in group):
                group = await _without_replays(conn, group)
            for event, _ in group:
                first_of.setdefault((event.project_id, event.key_hash), event)
            distinct = list(first_of.values())
            new = await commands.accept(conn, distinct)
            if refusal is None:
                verdicts = await self._apply(conn, shard, applier, distinct, new)
            elif new:
                await bury(conn, waiting_event(distinct[0]), classify(refusal).reason, message_of(refusal), self._clock)
            if self._acts and (done := [id_ for id_ in new if id_ in self._acts]):
                await audit.add(conn, [completed(self._acts[id_], id_, verdicts.get(id_)) for id_ in done])
        if verdicts:
            self._meters.count(list(verdicts.values()), self._clock())
            applier.committed(verdict.event for verdict in verdicts.values())
            if self._tracer is not None:
                traceparents = [verdict.event.traceparent for verdict in verdicts.values()]
                self._tracer.batch("command", time.perf_counter() - started, traceparents)
        originals = await accept.originals(conn, [(e.project_id, e.key_hash) for e in distinct if e.id not in new])
        ids = {
            key: event.id if event.id in new else originals[key].event_id
            for key, event in first_of.items()
            if event.id in new or key in originals
        }
        unknown = [(key[0], id_) for key, id_ in ids.items() if id_ not in verdicts]
        stored = await commands.outcomes(conn, unknown) if unknown else {}
        telling = [(key[0], id_) for key, id_ in ids.items() if tells_codes(verdicts.get(id_) or stored[id_])]
        codes = await coupons.shown(conn, telling) if telling else {}
        for event, future in group:
            if future.done():  # its caller went away
                continue
            key = (event.project_id, event.key_hash)
            if key not in ids:  # retention forgot it between the two statements: the next try is a new command
                _fail([(event, future)], Unavailable("its key was forgotten at this moment"))
                continue
            id_ = ids[key]
            first = first_of[key]
            content = first.content_hash if first.id == id_ else originals[key].content_hash
            reused = content is not None and content != event.content_hash
            duplicate = id_ != event.id
            if duplicate:
                self._meters.command_duplicates.inc()
            told = outcome_of(verdicts[id_]) if id_ in verdicts else stored_outcome(stored[id_])
            if id_ in codes:
                told[3]["codes"] = msgspec.to_builtins(codes[id_])
            future.set_result(_result(id_, duplicate, reused, *told))

    async def _apply(
        self, conn: Connection, shard: int, applier: Applier, events: Sequence[AcceptedEvent], new: set[UUID]
    ) -> dict[UUID, Verdict]:
        keys = {(e.project_id, e.user): e.user_hash for e in events}
        locked = await users.lock(conn, keys)
        if any(user.parked for user in locked.values()):
            keys = {key: hashed for key, hashed in keys.items() if not locked[key].parked}
            if stopped := {
                (e.project_id, e.key_hash) for e in events if e.id in new and (e.project_id, e.user) not in keys
            }:
                raise _Parked(stopped)
        waiting, behind = await outbox.drain(conn, keys, DRAIN_EVENTS_MAX, DRAIN_BYTES_MAX)
        if behind and (
            early := {(e.project_id, e.key_hash) for e in events if e.id in new and (e.project_id, e.user) in behind}
        ):
            raise _Behind(early)
        due = [*waiting, *(waiting_event(e) for e in events if e.id in new)]
        if not due:
            return {}
        verdicts = await applier.apply(conn, shard, due, locked)
        return {verdict.event.id: verdict for verdict in verdicts}


async def _without_replays(conn: Connection, group: Sequence[Waiting]) -> list[Waiting]:
    """Burn the nonces of signed requests in this transaction, turn replays away, and return the others."""
    claims: dict[bytes, AcceptedEvent] = {}
    for event, _ in group:
        if event.nonce is not None:
            claims.setdefault(event.nonce.hash, event)
    burnt = await nonces.burn(conn, [event.nonce for event in claims.values() if event.nonce is not None])
    fresh: list[Waiting] = []
    for waiting in group:
        event = waiting[0]
        if event.nonce is None or (event.nonce.hash in burnt and claims[event.nonce.hash] is event):
            fresh.append(waiting)
        else:
            _fail([waiting], Replayed())
    return fresh


def _parted(group: Sequence[Waiting], keys: set[tuple[int, bytes]]) -> tuple[list[Waiting], list[Waiting]]:
    """Return the commands of these keys, and the others."""
    found = [waiting for waiting in group if (waiting[0].project_id, waiting[0].key_hash) in keys]
    return found, [waiting for waiting in group if waiting not in found]


def _result(
    event_id: UUID, duplicate: bool, reused: bool, status: str, reason: str, message: str, outcome: dict[str, Any]
) -> CommandResult:
    return CommandResult(event_id, duplicate, reused, status, reason, message, outcome)


def _fail(group: Sequence[Waiting], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
