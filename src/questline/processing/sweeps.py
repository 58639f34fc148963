"""Sweeps: what an award or an incident would do to each user, looked at without a lock; and the service that does it.

The service sends each user concerned one event under a key of the sweep and the user. A batch of users, their events and
how far the sweep has come are one transaction, so a worker that dies leaves whole batches, and any other goes on from
there; a user is sent one event however often a sweep is asked for. The lanes apply these events as they apply all others.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from questline.engine import choices, streaks
from questline.engine.decide import decide
from questline.engine.draft import Draft
from questline.engine.evolve import move_stocks
from questline.model import calendar
from questline.model.decision import Account, Decision, FollowUp, StreakChange
from questline.model.event import Event
from questline.model.limits import (
    INCIDENT_REACH_PERIODS,
    SWEEP_BACKLOG_MAX,
    SWEEP_BATCH_USERS,
    SWEEPS_CHECKED_SECONDS,
)
from questline.model.records import RecordKind
from questline.model.rewards import GrantState
from questline.model.state import UserState
from questline.model.stocks import StockState
from questline.model.sweeps import Sweep, SweepKind
from questline.processing.apply import Clock
from questline.processing.programs import Program, ProgramCache
from questline.processing.services import apart, keep_doing, stopped
from questline.store import outbox, state, stocks, sweeps, system_events
from questline.store.pool import Connection, close, connect
from questline.store.system_events import NewId, system_event

log = structlog.get_logger(__name__)


class Finding(msgspec.Struct, frozen=True):
    """A user whom a sweep concerns. `affected`: it changes what they see. `cost` is what they are given, by name."""

    user: str
    affected: bool
    cost: dict[str, int]


class Look(msgspec.Struct, frozen=True):
    """What a batch of users showed: how many were looked at, the last of them (None: there are no more), whom it concerns."""

    examined: int
    last: int | None
    found: list[Finding]


async def shared_stocks(conn: Connection, program: Program, sweep: Sweep) -> dict[str, StockState]:
    """Return the stocks that a sweep's events may take of, as they are now."""
    names = program.footprint(sweep.kind.event_type).stocks
    return await stocks.look(conn, sweep.project_id, names) if names else {}


async def look(
    conn: Connection,
    program: Program,
    sweep: Sweep,
    after: int,
    limit: int,
    now: datetime,
    shared: dict[str, StockState],
) -> Look:
    """Decide a sweep's event for the next users after one, and keep nothing of it but what it would do.

    What it would take of stocks is taken of `shared`, in place, so that the users after find what is left. A user for whom
    it fails is left out, with a line in the log.
    """
    named = None if sweep.kind is SweepKind.AWARD else sweep.payload.get("streaks") or list(program.streaks)
    users = await sweeps.users_after(conn, sweep.project_id, after, named, limit)
    footprint = program.footprint(sweep.kind.event_type)
    wanted = {user.id: state.wanted_of(sweep.project_id, footprint) for user in users}
    await state.load(conn, wanted, {user.id: user for user in users})
    found = []
    for user in users:
        user.stocks = shared
        try:
            finding, decision = _finding(program, sweep, user, now)
        except Exception:
            log.exception("sweeps.user_left_out", project=sweep.project_id, sweep=str(sweep.id), user_id=user.id)
            continue
        if finding is not None:
            found.append(finding)
            move_stocks(shared, decision)
    return Look(len(users), users[-1].id if len(users) == limit else None, found)


def _finding(program: Program, sweep: Sweep, user: UserState, now: datetime) -> tuple[Finding | None, Decision]:
    event = Event(UUID(int=0), sweep.project_id, sweep.kind.event_type, user.user, sweep.payload, sweep.at)
    decision = decide(program, user, event)
    finding = _award(user, decision, sweep) if sweep.kind is SweepKind.AWARD else _mended(program, user, decision, now)
    return finding, decision


class Sweeps:
    """Goes on with the sweeps that are under way; outlives the loss of its connection. Several may run at once."""

    def __init__(
        self,
        dsn: str,
        programs: ProgramCache,
        clock: Clock,
        new_id: NewId,
        every_seconds: float = SWEEPS_CHECKED_SECONDS,
        batch_users: int = SWEEP_BATCH_USERS,
    ) -> None:
        self._dsn = dsn
        self._programs = programs
        self._clock = clock
        self._new_id = new_id
        self._every_seconds = every_seconds
        self._batch_users = batch_users

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; the batch under way is finished."""
        # When it fails, users are mended later.
        await keep_doing("sweeps", lambda: self.run_once(stop), stop, self._every_seconds)

    async def run_once(self, stop: asyncio.Event | None = None, batches: int | None = None) -> int:
        """Work on all sweeps under way and return how many events were sent.

        It ends when they do, when too many events wait, with `stop`, or after so many batches. A sweep that fails is not
        gone on with before the next time, so that the others have their turn.
        """
        conn = await connect(self._dsn)
        sent, done = 0, 0
        failed: list[UUID] = []
        try:
            while not stopped(stop) and done != batches:
                waiting, _ = await outbox.backlog(conn, SWEEP_BACKLOG_MAX)
                if waiting >= SWEEP_BACKLOG_MAX:  # customers' events come first
                    break
                async with conn.transaction():
                    sweep = await sweeps.hold_next(conn, failed)
                    if sweep is None:
                        break
                    failed.append(sweep.id)
                    with apart("sweeps", conn, project=sweep.project_id, sweep=str(sweep.id)):
                        async with conn.transaction():
                            sent += await self._batch(conn, sweep)
                        failed.pop()
                done += 1
        finally:
            await close(conn)
        return sent

    async def _batch(self, conn: Connection, sweep: Sweep) -> int:
        """Send one batch of a sweep that is held by the caller's transaction."""
        now = self._clock()
        program = (await self._programs.in_force(conn, [sweep.project_id]))[sweep.project_id]
        shared = await shared_stocks(conn, program, sweep)
        seen = await look(conn, program, sweep, sweep.after_user, self._batch_users, now, shared)
        events = [
            system_event(sweep.project_id, _follow_up(sweep, finding.user), self._new_id, now) for finding in seen.found
        ]
        new = await system_events.send(conn, events)
        finished_at = now if seen.last is None else None
        await sweeps.advance(conn, sweep, seen.last or sweep.after_user, seen.examined, len(new), finished_at)
        return len(new)


def _follow_up(sweep: Sweep, user: str) -> FollowUp:
    return FollowUp(user, sweep.kind.event_type, sweep.payload, sweep.key(user), sweep.at)


def _award(user: UserState, decision: Decision, sweep: Sweep) -> Finding | None:
    if sweep.name not in (unlock.achievement for unlock in decision.unlocks):
        return None
    return Finding(user.user, True, _cost(decision))


def _cost(decision: Decision) -> dict[str, int]:
    """Return what a decision gives a user, by the names of currencies, items and rewards."""
    cost: dict[str, int] = {}
    for transfer in decision.transfers:
        if transfer.credit == Account.USER:
            cost[transfer.currency] = cost.get(transfer.currency, 0) + transfer.amount
    for change in decision.records:
        if change.kind is RecordKind.ITEM:
            cost[change.name] = cost.get(change.name, 0) + _units(change.state) - _units(change.before)
        elif isinstance(change.state, GrantState) and change.before is None:
            cost[change.state.reward] = cost.get(change.state.reward, 0) + 1
    return cost


def _units(item: object) -> int:
    return sum(lot.units for lot in getattr(item, "lots", ()))


def _mended(program: Program, user: UserState, decision: Decision, now: datetime) -> Finding | None:
    """A user is concerned whose streak is seen to change, and also one who was active shortly before the incident.

    What is late to arrive may still join such a user's days; then it finds the incident excused.
    """
    reader = Draft(program, user, Event(UUID(int=0), 0, "", user.user, {}, now))
    affected = any(_is_seen(program, reader, user, change, now) for change in decision.streaks)
    if not affected and not any(_is_near(change) for change in decision.streaks):
        return None
    return Finding(user.user, affected, _cost(decision))


def _is_seen(program: Program, reader: Draft, user: UserState, change: StreakChange, now: datetime) -> bool:
    definition, before = program.streaks[change.streak], user.streaks.get(change.streak)
    if before is None or change.state.longest != change.longest_before:
        return change.state.longest > 0
    hours = choices.day_start_hours(definition, choices.choices_of(reader, change.streak), now)
    period = calendar.period_number(definition.every, now, reader.zone, hours)
    return streaks.as_of(definition, before, period) != streaks.as_of(definition, change.state, period)


def _is_near(change: StreakChange) -> bool:
    first = streaks.first_excused(change)
    return change.state.last_period >= first - INCIDENT_REACH_PERIODS


def total(findings: Sequence[Finding]) -> dict[str, int]:
    """Return what all of them are given."""
    cost: dict[str, int] = {}
    for finding in findings:
        for name, amount in finding.cost.items():
            cost[name] = cost.get(name, 0) + amount
    return cost
