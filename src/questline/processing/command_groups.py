"""Groups of commands: accepted and applied in one transaction each, and taken apart where that cannot be."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any
from uuid import UUID

import msgspec
import structlog

from questline.model.audit import Act
from questline.model.event import AcceptedEvent
from questline.model.event import waiting as waiting_event
from questline.model.limits import APPLY_TRIES_MAX, DRAIN_BYTES_MAX, DRAIN_EVENTS_MAX, LOCK_WAIT_MS
from questline.processing.acts import completed
from questline.processing.apply import Applier, Clock, Verdict
from questline.processing.failures import bury, message_of
from questline.processing.held import Held
from questline.processing.meters import ProcessingMeters
from questline.processing.outcome import outcome_of, stored_outcome, tells_codes
from questline.store import accept, audit, commands, coupons, nonces, outbox, parking, users
from questline.store.faults import Remedy, classify
from questline.store.nonces import Replayed
from questline.store.pool import Connection, LockHeld, hurried
from questline.telemetry.tracing import Tracer
from questline.transport.pauses import backoff_seconds

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


class _LeftOut(Exception):
    """These commands are new and cannot be done now: the transaction is given up, and the others go on without them."""

    def __init__(self, keys: set[tuple[int, bytes]]) -> None:
        super().__init__()
        self.keys = keys


class _Parked(_LeftOut):
    """Their users are parked."""


class _Behind(_LeftOut):
    """More waits of their users than was taken: until that is applied."""


class _Held(_LeftOut):
    """Somebody holds their users: they are tried again in a while."""


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


class CommandGroups:
    """Runs groups, for all lanes of one process."""

    def __init__(
        self, clock: Clock, meters: ProcessingMeters, tracer: Tracer | None, acts: Mapping[UUID, Act], held: Held
    ) -> None:
        """`acts` are those that the audit log is to be told of; `held` takes commands of users whom somebody holds."""
        self._clock = clock
        self._meters = meters
        self._tracer = tracer
        self._acts = acts
        self._held = held

    async def run(
        self, conn: Connection, shard: int, applier: Applier, group: Sequence[Waiting], until: float | None = None
    ) -> list[Waiting]:
        """Run a group in one transaction; when the database refuses it, halve it to find the one at fault.

        What somebody holds is waited for once; then only what is free is run, and what is not is looked for `until` a
        time. Returns those of which nothing was stored, because their users are behind.
        """
        for tries in range(1, APPLY_TRIES_MAX + 1):
            try:
                await self._run_once(conn, shard, applier, group, None, until is not None)
                return []
            except _Parked as parked:
                return await self._run_others(conn, shard, applier, group, parked.keys, until)
            except _Behind as found:
                behind, others = _parted(group, found.keys)
                return behind + (await self.run(conn, shard, applier, others, until) if others else [])
            except _Held as found:
                held, others = _parted(group, found.keys)
                for waiting in held:
                    self._held.add(waiting)
                return await self.run(conn, shard, applier, others, until) if others else []
            except LockHeld as fault:
                self._meters.retries.inc()
                if until is None:
                    log.warning("commands.held", fault=repr(fault), commands=len(group))
                    async with hurried(conn):
                        until = time.monotonic() + LOCK_WAIT_MS / 1000
                        return await self.run(conn, shard, applier, group, until)
                if len(group) == 1 or time.monotonic() >= until:
                    fail(group, Overloaded())
                    return []
                break
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
                fail(group, Unavailable(str(refusal)))  # an event before it may be at fault: a lane settles that
                return []
            log.error("commands.dead_letter", event_id=str(event.id), fault=repr(refusal))
            await self._run_once(conn, shard, applier, group, refusal, until is not None)
            return []
        behind = []
        for part in _projects_or_halves(group):
            behind += await self.run(conn, shard, applier, part, until)
        return behind

    async def _run_others(
        self,
        conn: Connection,
        shard: int,
        applier: Applier,
        group: Sequence[Waiting],
        keys: set[tuple[int, bytes]],
        until: float | None,
    ) -> list[Waiting]:
        """Turn commands of parked users away, and run the others."""
        turned, others = _parted(group, keys)
        due = await parking.due_at(conn, {(event.project_id, event.user_hash) for event, _ in turned})
        now = self._clock()
        for waiting in turned:
            at = due.get((waiting[0].project_id, waiting[0].user_hash), now)
            fail([waiting], UserParked(max(ceil((at - now).total_seconds()), 1)))
        return await self.run(conn, shard, applier, others, until) if others else []

    async def _run_once(
        self,
        conn: Connection,
        shard: int,
        applier: Applier,
        group: Sequence[Waiting],
        refusal: Exception | None,
        free: bool,
    ) -> None:
        """Accept, drain, apply and commit; then answer. With a `refusal`, the one command becomes a dead letter.

        `free`: no user who is held is waited for.
        """
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
                verdicts = await self._apply(conn, shard, applier, distinct, new, free)
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
                fail([(event, future)], Unavailable("its key was forgotten at this moment"))
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
        self,
        conn: Connection,
        shard: int,
        applier: Applier,
        events: Sequence[AcceptedEvent],
        new: set[UUID],
        free: bool,
    ) -> dict[UUID, Verdict]:
        keys = {(e.project_id, e.user): e.user_hash for e in events}
        asked = keys if free else self._held.known(keys)
        locked = await users.lock(conn, keys, asked)
        if asked:
            self._held.found(asked, locked)
            keys = {key: hashed for key, hashed in keys.items() if key in locked}
            if held := {
                (e.project_id, e.key_hash) for e in events if e.id in new and (e.project_id, e.user) not in keys
            }:
                raise _Held(held)
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
            fail([waiting], Replayed())
    return fresh


def _parted(group: Sequence[Waiting], keys: set[tuple[int, bytes]]) -> tuple[list[Waiting], list[Waiting]]:
    """Return the commands of these keys, and the others."""
    found = [waiting for waiting in group if (waiting[0].project_id, waiting[0].key_hash) in keys]
    return found, [waiting for waiting in group if waiting not in found]


def _projects_or_halves(group: Sequence[Waiting]) -> list[Sequence[Waiting]]:
    """Return a group as its projects, or that of one project as its halves."""
    projects: dict[int, list[Waiting]] = {}
    for waiting in group:
        projects.setdefault(waiting[0].project_id, []).append(waiting)
    middle = len(group) // 2
    return list(projects.values()) if len(projects) > 1 else [group[:middle], group[middle:]]


def _result(
    event_id: UUID, duplicate: bool, reused: bool, status: str, reason: str, message: str, outcome: dict[str, Any]
) -> CommandResult:
    return CommandResult(event_id, duplicate, reused, status, reason, message, outcome)


def fail(group: Sequence[Waiting], error: Exception) -> None:
    """Turn these commands away."""
    for _, future in group:
        if not future.done():
            future.set_exception(error)
