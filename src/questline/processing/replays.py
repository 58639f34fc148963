"""Replays: events put back that were never applied, and applied ones worked out again under another program version.

To reprocess, a user's whole history is folded anew: the events in question by the other version, all others by the version
that decided them. What the former give by rules and milestones of streaks, less what they gave (compensations of earlier
replays included), is sent to the user as one `$compensate` event under a key of the replay and the event, and the lanes
apply that as they apply all others. A batch and how far the replay has come are one transaction, and the users of the batch
are locked: a worker that dies leaves whole batches, and nothing is paid twice.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from questline.engine.compensations import REPLAYED_CAUSES
from questline.engine.decide import decide_again
from questline.engine.evolve import evolve
from questline.model.decision import Account, Decision, FollowUp, Outcome
from questline.model.event import COMPENSATE, SYSTEM_PREFIX, Event
from questline.model.hashing import user_hash
from questline.model.limits import (
    REPLAY_BATCH_EVENTS,
    REPLAY_BATCH_USERS,
    REPLAYS_CHECKED_SECONDS,
    SWEEP_BACKLOG_MAX,
)
from questline.model.replays import Replay, ReplayMode
from questline.model.state import UserState
from questline.processing.apply import Clock
from questline.processing.programs import Program, ProgramCache
from questline.processing.services import keep_doing
from questline.store import dead_letters, outbox, replays, system_events, users
from questline.store.dead_letters import Filter
from questline.store.pool import Connection, close, connect
from questline.store.replays import Applied
from questline.store.system_events import NewId, system_event

log = structlog.get_logger(__name__)


class Difference(msgspec.Struct, frozen=True):
    """What an event would have given a user under the other version, less what it gave; never zero."""

    user: str
    event_id: UUID
    occurred_at: datetime
    amounts: dict[str, int]


class Step(msgspec.Struct, frozen=True):
    """What a batch came to. `after` is where the next begins: an event and a user; `over`: there is no next."""

    after: tuple[UUID, int]
    examined: int
    events: int
    changed: int
    over: bool
    differences: list[Difference] = []


class Replays:
    """Goes on with the replays that are under way; outlives the loss of its connection. Several may run at once."""

    def __init__(self, dsn: str, programs: ProgramCache, clock: Clock, new_id: NewId) -> None:
        self._dsn = dsn
        self._programs = programs
        self._clock = clock
        self._new_id = new_id

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; the batch under way is finished."""
        # When it fails, events are replayed later.
        await keep_doing("replays", lambda: self.run_once(stop), stop, REPLAYS_CHECKED_SECONDS)

    async def run_once(self, stop: asyncio.Event | None = None, batches: int | None = None) -> int:
        """Work on all replays under way, and return in how many batches; it ends when too much waits in the queue."""
        conn = await connect(self._dsn)
        done = 0
        try:
            while not (stop is not None and stop.is_set()) and done != batches:
                waiting, _ = await outbox.backlog(conn, SWEEP_BACKLOG_MAX)
                if waiting >= SWEEP_BACKLOG_MAX:  # customers' events come first
                    break
                async with conn.transaction():
                    if not await self._batch(conn):
                        break
                done += 1
        finally:
            await close(conn)
        return done

    async def _batch(self, conn: Connection) -> bool:
        """Do one batch of the next replay in the caller's transaction; False: there is nothing to be done now."""
        replay = await replays.hold_next(conn)
        if replay is None:
            return False
        now = self._clock()
        step = await look(conn, self._programs, replay, now, lock=True)
        if step.differences:
            await system_events.send(
                conn,
                [
                    system_event(replay.project_id, _follow_up(replay, found), self._new_id, now)
                    for found in step.differences
                ],
            )
        # A replay is over when its compensations are applied: the next one of the project must see them.
        over = step.over and (
            replay.mode is ReplayMode.REPUBLISH
            or not (step.differences or await replays.unsettled(conn, replay.project_id, COMPENSATE))
        )
        await replays.advance(
            conn, replay, step.after, (step.examined, step.events, step.changed), now if over else None
        )
        return step.examined > 0 or over


async def look(conn: Connection, programs: ProgramCache, replay: Replay, now: datetime, *, lock: bool) -> Step:
    """Do the next batch of a replay in the caller's transaction, but for sending what is compensated.

    `lock` holds the users, as one must who sends; without it this may be rolled back, and is then only a look.
    """
    if replay.mode is ReplayMode.REPUBLISH:
        return await _put_back(conn, replay, now)
    return await _reprocess(conn, programs, replay, lock=lock)


async def _put_back(conn: Connection, replay: Replay, now: datetime) -> Step:
    page = await replays.events_after(conn, replay, replay.after_event, REPLAY_BATCH_EVENTS)
    left = replay.events_max - replay.changed
    fitting = [(id_, user) for id_, user, fits in page if fits and (replay.user_hash is None or _is_user(replay, user))]
    changed = 0
    if fitting and left > 0 and replay.status in (None, "failed"):
        which = Filter([replay.project_id], event_ids=[id_ for id_, _ in fitting])
        letters = await dead_letters.choose(conn, which, replay.started_at, left)
        changed += await dead_letters.retry(conn, letters, now) if letters else 0
    if fitting and left > changed and replay.status in (None, "pending"):
        changed += await replays.put_back_lost(conn, replay.project_id, fitting, now, left - changed)
    last = page[-1][0] if page else replay.after_event
    over = len(page) < REPLAY_BATCH_EVENTS or changed >= left
    return Step((last, replay.after_user), len(page), len(fitting), changed, over)


def _is_user(replay: Replay, user: str) -> bool:
    return user_hash(replay.project_id, user) == replay.user_hash


async def _reprocess(conn: Connection, programs: ProgramCache, replay: Replay, *, lock: bool) -> Step:
    found = await replays.users_after(conn, replay, replay.after_user, REPLAY_BATCH_USERS)
    concerned = {id_: user for id_, user, has_events in found if has_events}
    if lock and concerned:
        await users.lock(conn, [(replay.project_id, user) for user in concerned.values()])
    folding = await _Folding.of(conn, programs, replay, concerned)
    if concerned:
        async for applied in replays.history(conn, replay.project_id, list(concerned)):
            folding.fold(applied)
    differences = await folding.differences(conn)
    last = found[-1][0] if found else replay.after_user
    over = len(found) < REPLAY_BATCH_USERS or folding.left <= 0
    return Step((replay.after_event, last), len(found), len(folding.given), len(differences), over, differences)


class _Folding:
    """Users' histories folded anew, and what the events in question give on the way."""

    def __init__(self, replay: Replay, programs: dict[int, Program], concerned: dict[int, str]) -> None:
        self._replay = replay
        self._programs = programs
        self._states = {id_: UserState(id_, user) for id_, user in concerned.items()}
        self._events: dict[UUID, Event] = {}
        self._unfollowed: set[int] = set()
        self._compensated: dict[UUID, dict[str, int]] = {}
        self.given: dict[UUID, dict[str, int]] = {}  # by events in question, under the other version
        self.left = replay.events_max - replay.events

    @classmethod
    async def of(
        cls, conn: Connection, programs: ProgramCache, replay: Replay, concerned: dict[int, str]
    ) -> "_Folding":
        current = (await programs.in_force(conn, [replay.project_id]))[replay.project_id]
        versions = {replay.program_version, *await replays.versions(conn, replay.project_id, list(concerned))}
        compiled = {
            version: await programs.version(conn, replay.project_id, version, current.default_timezone)
            for version in versions
        }
        compiled[-1] = current
        return cls(replay, compiled, concerned)

    def fold(self, applied: Applied) -> None:
        """Fold the next event of a user; one whose history the engine cannot follow any more is left as they are."""
        if applied.user_id in self._unfollowed:
            return
        try:
            self._fold(applied)
        except Exception:
            log.exception("replay.user_left_out", user_id=applied.user_id, event_id=str(applied.event.id))
            self._unfollowed.add(applied.user_id)
            user = self._states[applied.user_id].user
            self.given = {id_: given for id_, given in self.given.items() if self._events[id_].user != user}

    def _fold(self, applied: Applied) -> None:
        event, state = applied.event, self._states[applied.user_id]
        chosen = self._is_chosen(applied)
        program = self._programs[self._replay.program_version if chosen else applied.version]
        decision = decide_again(program, state, event)
        if chosen and decision.outcome is Outcome.PROCESSED:  # what the other version refuses stays as it is
            self.left -= 1
            self._events[event.id] = event
            self.given[event.id] = _given(decision)
        elif chosen:
            decision = decide_again(self._programs[applied.version], state, event)
        evolve(state, decision)
        if event.type == COMPENSATE:
            sums = self._compensated.setdefault(UUID(event.payload["event"]), {})
            for currency, amount in event.payload["amounts"].items():
                sums[currency] = sums.get(currency, 0) + amount

    def _is_chosen(self, applied: Applied) -> bool:
        replay, event = self._replay, applied.event
        return (
            self.left > 0
            and replay.first_event <= event.id <= replay.last_event
            and not event.type.startswith(SYSTEM_PREFIX)
            and not applied.reviewed
            and replay.event_type in (None, event.type)
        )

    async def differences(self, conn: Connection) -> list[Difference]:
        """Return what is to be compensated; currencies that the program in force does not have are left out."""
        if not self.given:
            return []
        gave = await replays.given(conn, self._replay.project_id, list(self.given), REPLAYED_CAUSES)
        known = self._programs[-1].document.currencies
        found = []
        for event_id, given in self.given.items():
            before = [gave.get(event_id, {}), self._compensated.get(event_id, {})]
            amounts = {
                currency: given.get(currency, 0) - sum(one.get(currency, 0) for one in before)
                for currency in {*given, *before[0], *before[1]}
                if currency in known
            }
            amounts = {currency: amount for currency, amount in sorted(amounts.items()) if amount}
            if amounts:
                event = self._events[event_id]
                found.append(Difference(event.user, event_id, event.occurred_at, amounts))
        return found


def _given(decision: Decision) -> dict[str, int]:
    sums: dict[str, int] = {}
    for transfer in decision.transfers:
        if transfer.rule.startswith(REPLAYED_CAUSES) and Account.USER in (transfer.debit, transfer.credit):
            amount = transfer.amount if transfer.credit == Account.USER else -transfer.amount
            sums[transfer.currency] = sums.get(transfer.currency, 0) + amount
    return sums


def _follow_up(replay: Replay, found: Difference) -> FollowUp:
    payload = {
        "replay": str(replay.id),
        "event": str(found.event_id),
        "version": replay.program_version,
        "amounts": found.amounts,
    }
    return FollowUp(found.user, COMPENSATE, payload, f"{replay.id}/{found.event_id}", found.occurred_at)


def total(differences: Sequence[Difference]) -> dict[str, int]:
    """Return the differences added up by currency."""
    sums: dict[str, int] = {}
    for found in differences:
        for currency, amount in found.amounts.items():
            sums[currency] = sums.get(currency, 0) + amount
    return sums
