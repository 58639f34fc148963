"""Apply a batch of events: lock, load, decide, persist, all within the caller's transaction.

Workers and commands both come through here, so an event has one way to change a user.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from uuid import UUID

import msgspec

from questline.engine.compile import Program
from questline.engine.decide import decide
from questline.engine.evolve import evolve
from questline.engine.reviews import as_approved
from questline.model import calendar
from questline.model.board_copies import Change
from questline.model.decision import Decision, FollowUp
from questline.model.event import (
    APPROVE,
    COMMISSION,
    COMMISSION_REVERSED,
    FULFILMENT_FAIL,
    REWARD_REVOKE,
    Event,
    WaitingEvent,
)
from questline.model.footprint import Footprint
from questline.model.reasons import Reason
from questline.model.state import UserState
from questline.processing.programs import ProgramCache
from questline.processing.seen import SeenTypes
from questline.store import (
    boards,
    effects,
    fulfilments,
    grants,
    leagues,
    referrals,
    reviews,
    sightings,
    state,
    stocks,
    system_events,
)
from questline.store.board_copies import Touched
from questline.store.faults import Remedy, classify
from questline.store.pool import Connection
from questline.store.standing import Standing
from questline.store.system_events import NewId, system_event
from questline.store.users import UserKey

Clock = Callable[[], datetime]
Send = Callable[[Sequence[Change]], None]
_decode_payload = msgspec.json.Decoder(dict[str, Any]).decode


class Failure(msgspec.Struct, frozen=True):
    """An event the engine could not decide; it becomes a dead letter."""

    reason: Reason
    message: str


class Verdict(msgspec.Struct, frozen=True):
    """What became of one event; `balances` are the user's after it, for the currencies it moved."""

    event: WaitingEvent
    result: Decision | Failure
    balances: dict[str, int]


class Applier:
    """Decides and persists batches. One for each connection that writes, since a board shard has one writer."""

    def __init__(
        self,
        programs: ProgramCache,
        clock: Clock,
        new_id: NewId,
        seen: SeenTypes | None = None,
        send: Send | None = None,
    ) -> None:
        """`send` takes what was committed of boards that have a copy; it never waits."""
        self._programs = programs
        self._clock = clock
        self._new_id = new_id
        self._seen = seen or SeenTypes()
        self._send_changes = send
        self._changes: list[Change] = []  # of the transaction under way

    def now(self) -> datetime:
        """Return the time that rows written now are stamped with."""
        return self._clock()

    def committed(self, events: Iterable[WaitingEvent]) -> None:
        """Count events whose batch was committed for the list of event types, and let its changes of boards go out."""
        events = list(events)
        self._seen.note(events)
        if events and self._changes and self._send_changes is not None:
            self._send_changes(self._changes)
            self._changes = []

    async def apply(
        self, conn: Connection, shard: int, events: Sequence[WaitingEvent], users: dict[UserKey, UserState]
    ) -> list[Verdict]:
        """Decide the events in their order and write what follows, in the caller's transaction.

        `users` are locked, hold no state yet, and cover every event. Engine faults end as dead letters here; whatever
        the database raises leaves through the caller, who repeats or splits the batch.
        """
        programs = await self._programs.in_force(conn, {e.project_id for e in events})
        decoded = await _with_held(conn, programs, [_event_of(programs[e.project_id], e) for e in events])
        wanted = _wanted(programs, decoded, users)
        await _add_moved_once(conn, programs, decoded, wanted)
        by_id = {user.id: user for user in users.values()}
        await _share_stocks(conn, wanted, users)
        await state.load(conn, wanted, by_id)
        lineage: dict[int, tuple[int, ...]] = {}
        for user in by_id.values():
            user.lineage = lineage
        await self._see(conn, programs, decoded, users)
        known = {(user.id, currency) for user in by_id.values() for currency in user.balances}
        rows = effects.Effects(known, self._clock())
        points, standing, touched = boards.BoardRows(), Standing(), Touched()
        scores = leagues.LeagueRows()
        verdicts = []
        for waiting, event in zip(events, decoded, strict=True):
            verdict = _decide(
                programs[waiting.project_id], users[waiting.project_id, waiting.user], waiting, event, rows, points
            )
            if isinstance(verdict.result, Decision):
                standing.add(waiting.project_id, users[waiting.project_id, waiting.user], verdict.result)
            verdicts.append(verdict)
            if isinstance(verdict.result, Decision) and verdict.result.league_points:
                scores.add(waiting.project_id, users[waiting.project_id, waiting.user].id, verdict.result.league_points)
        await rows.write(conn)
        await standing.restore(conn, shard)
        await boards.add_points(conn, shard, points, touched)
        await standing.remove(conn, shard, touched)
        self._changes = await touched.changes(conn, shard) if touched and self._send_changes is not None else []
        await self._send(conn, verdicts)
        await leagues.add_scores(conn, scores)
        return verdicts

    async def _see(
        self,
        conn: Connection,
        programs: dict[int, Program],
        events: Sequence[Event | Failure],
        users: dict[UserKey, UserState],
    ) -> None:
        """Lock the values by which guards compare users, and let all users of a project see the same of them."""
        keys = {
            (event.project_id, *key)
            for event in events
            if isinstance(event, Event)
            for key in programs[event.project_id].sighting_keys(event)
        }
        if keys:
            seen = await sightings.load(conn, keys, self._clock())
            for (project_id, _), user in users.items():
                user.sightings = seen.setdefault(project_id, {})

    async def _send(self, conn: Connection, verdicts: Sequence[Verdict]) -> None:
        """Store what the decisions send to others, in the same transaction: both are there, or neither."""
        told = [
            (verdict.event, follow_up)
            for verdict in verdicts
            if isinstance(verdict.result, Decision)
            for follow_up in verdict.result.follow_ups
        ]
        if any(follow_up.user is None for _, follow_up in told):
            told = await _to_earners(conn, told)
        events = [
            system_event(event.project_id, follow_up, self._new_id, self._clock(), event.traceparent)
            for event, follow_up in told
        ]
        if events:
            await system_events.send(conn, events)


async def _to_earners(
    conn: Connection, told: Sequence[tuple[WaitingEvent, FollowUp]]
) -> list[tuple[WaitingEvent, FollowUp]]:
    """Return what is sent with every user known: who earned a commission stands in the store, or was told in this batch."""
    asked = [(event.project_id, follow_up.key) for event, follow_up in told if follow_up.user is None]
    earners = await referrals.earners(conn, asked)
    for event, follow_up in told:
        if follow_up.type == COMMISSION and follow_up.user is not None:
            earners.setdefault((event.project_id, follow_up.key), follow_up.user)
    known = []
    for event, follow_up in told:
        user = follow_up.user or earners.get((event.project_id, follow_up.key))
        if user is not None:
            known.append((event, msgspec.structs.replace(follow_up, user=user)))
    return known


async def _share_stocks(conn: Connection, wanted: dict[int, state.Wanted], users: dict[UserKey, UserState]) -> None:
    """Lock the stocks that the events may take of, and let all users of a project look at the same ones."""
    keys = {(want.project_id, name) for want in wanted.values() for name in want.stocks}
    if keys:
        found = await stocks.lock(conn, keys)
        for (project_id, _), user in users.items():
            user.stocks = found.get(project_id, user.stocks)


def _event_of(program: Program, waiting: WaitingEvent) -> Event | Failure:
    try:
        payload = _decode_payload(waiting.payload)
        context = None if waiting.context is None else _decode_payload(waiting.context)
    except (msgspec.MsgspecError, RecursionError) as error:
        return Failure(Reason.INVALID_ENVELOPE, f"the stored payload cannot be read: {error}")
    event = Event(
        waiting.id,
        waiting.project_id,
        waiting.type,
        waiting.user,
        payload,
        waiting.occurred_at,
        waiting.source,
        waiting.schema_version,
        waiting.received_at,
        context=context,
        sent_with=waiting.sent_with,
    )
    return _in_form(program, event)


def _in_form(program: Program, event: Event) -> Event | Failure:
    """Return the event with its payload in the form that rules read, or the violation of its schema."""
    violation = program.read(event)
    return event if violation is None else Failure(Reason.SCHEMA_VIOLATION, violation)


async def _with_held(
    conn: Connection, programs: dict[int, Program], events: Sequence[Event | Failure]
) -> Sequence[Event | Failure]:
    """Return the events with each approval as the held event of its user that it names."""
    approvals = {
        event.id: (event.project_id, held_id)
        for event in events
        if isinstance(event, Event) and event.type == APPROVE and (held_id := _uuid(event.payload.get("event")))
    }
    if not approvals:
        return events
    held = await reviews.held(conn, list(approvals.values()))
    named = {id_: held[key] for id_, key in approvals.items() if key in held}
    return [
        _in_form(programs[event.project_id], as_approved(event, named[event.id]))
        if isinstance(event, Event) and event.id in named and named[event.id].user == event.user
        else event
        for event in events
    ]


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None


def _wanted(
    programs: dict[int, Program], events: Sequence[Event | Failure], users: dict[UserKey, UserState]
) -> dict[int, state.Wanted]:
    """Return, by user id, the rows the events may touch."""
    wanted: dict[int, state.Wanted] = {}
    seen: set[tuple[int, int]] = set()
    for event in events:
        if isinstance(event, Failure):
            continue
        program = programs[event.project_id]
        user = users[event.project_id, event.user]
        footprint = program.footprint(event.type)
        want = wanted.get(user.id)
        if want is None:
            want = wanted[user.id] = state.wanted_of(event.project_id, footprint)
            seen.add((user.id, id(footprint)))
        elif (user.id, id(footprint)) not in seen:
            seen.add((user.id, id(footprint)))
            _widen(want, footprint)
        if footprint.limited_rules:
            zone = calendar.zone_in_force(user.timezone, user.zone_history, event.occurred_at, program.timezone)
            want.rule_windows = chain(want.rule_windows, program.rule_windows(event, zone))
        if program.names_records(event):
            zone = calendar.zone_in_force(user.timezone, user.zone_history, event.occurred_at, program.timezone)
            want.records |= frozenset(program.record_keys(event, zone))
        if footprint.distinct_metrics:
            want.distinct_keys = chain(want.distinct_keys, program.distinct_keys(event))
    return wanted


# What commands take back or give back was moved once, maybe in currencies that the program has no more.
_MOVED_ONCE = {
    REWARD_REVOKE: grants.given,
    FULFILMENT_FAIL: fulfilments.priced_in,
    COMMISSION_REVERSED: referrals.paid,
}


async def _add_moved_once(
    conn: Connection, programs: dict[int, Program], events: Sequence[Event | Failure], wanted: dict[int, state.Wanted]
) -> None:
    """Add the currencies that were moved by what the events name."""
    named: dict[str, list[tuple[int, str]]] = {}
    for event in events:
        if isinstance(event, Event) and event.type in _MOVED_ONCE:
            keys = programs[event.project_id].record_keys(event, UTC)
            named.setdefault(event.type, []).extend((event.project_id, name) for _, name in keys)
    for type_, names in sorted(named.items()):
        for user_id, currencies in await _MOVED_ONCE[type_](conn, names):
            if (want := wanted.get(user_id)) is not None:
                want.currencies |= currencies


def _widen(want: state.Wanted, footprint: Footprint) -> None:
    want.currencies |= footprint.currencies
    want.metrics |= footprint.metrics
    want.streaks |= footprint.streaks
    want.achievements |= footprint.achievements
    want.records |= footprint.records
    want.stocks |= footprint.stocks


def _decide(
    program: Program,
    user: UserState,
    waiting: WaitingEvent,
    event: Event | Failure,
    rows: effects.Effects,
    points: boards.BoardRows,
) -> Verdict:
    started = time.perf_counter_ns()
    failure: Failure
    if isinstance(event, Failure):
        failure = event
    else:
        try:
            decision = decide(program, user, event)
        except Exception as error:  # whatever the engine raises is a defect of ours, and this event's alone
            if classify(error).remedy is not Remedy.FINAL:
                raise
            failure = Failure(Reason.ENGINE_ERROR, f"{type(error).__name__}: {error}")
        else:
            evolve(user, decision)
            rows.add(waiting, user, decision, (time.perf_counter_ns() - started) // 1000)
            if decision.board_points:
                points.add(waiting.project_id, user.id, decision.board_points)
            return Verdict(
                waiting, decision, {t.currency: user.balances.get(t.currency, 0) for t in decision.transfers}
            )
    rows.add_dead_letter(waiting, failure.reason, failure.message, (time.perf_counter_ns() - started) // 1000)
    return Verdict(waiting, failure, {})
