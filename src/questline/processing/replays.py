"""Replays: events put back that were never applied, applied ones worked out again under another program version, and those
counted in a metric that came after them (backfills.py).

To reprocess, a user's whole history is folded anew: the events in question by the other version, all others by the version
that decided them. What the former give by rules and milestones of streaks, less what they gave (compensations of earlier
replays included), is sent to the user as one `$compensate` event under a key of the replay and the event, and the lanes
apply that as they apply all others. A batch and how far the replay has come are one transaction: a worker that dies leaves
whole batches, and nothing is paid twice. The users of the batch are locked before anything is sent, and were not while their
histories were folded; what came in between is found then, and all of the batch folded once more.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from questline.engine.compensations import REPLAYED_CAUSES
from questline.engine.numbers import add
from questline.model.decision import Account, Decision, FollowUp, Outcome
from questline.model.event import BACKFILL, COMPENSATE, SYSTEM_PREFIX, Event
from questline.model.hashing import user_hash
from questline.model.limits import (
    REPLAY_BATCH_EVENTS,
    REPLAY_BATCH_USERS,
    REPLAY_FOLDED_EVENTS,
    REPLAYS_CHECKED_SECONDS,
    SWEEP_BACKLOG_MAX,
)
from questline.model.replays import Difference, Replay, ReplayMode, Step, nothing_more
from questline.model.state import Number
from questline.processing import backfills
from questline.processing.apply import Clock
from questline.processing.histories import Histories, is_asked_for
from questline.processing.programs import ProgramCache
from questline.processing.services import apart, keep_doing, stopped
from questline.store import dead_letters, outbox, replays, system_events
from questline.store.dead_letters import Filter
from questline.store.pool import Connection, close, connect
from questline.store.replays import Applied
from questline.store.system_events import NewId, system_event


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
        """Work on all replays under way, and return in how many batches; it ends when too much waits in the queue.

        A replay that fails, or has nothing to do before its events are applied, leaves the others their turn.
        """
        conn = await connect(self._dsn)
        done = 0
        left: list[UUID] = []
        try:
            while not stopped(stop) and done != batches:
                waiting, _ = await outbox.backlog(conn, SWEEP_BACKLOG_MAX)
                if waiting >= SWEEP_BACKLOG_MAX:  # customers' events come first
                    break
                async with conn.transaction():
                    replay = await replays.hold_next(conn, left)
                    if replay is None:
                        break
                    left.append(replay.id)
                    with apart("replays", conn, project=replay.project_id, replay=str(replay.id)):
                        async with conn.transaction():
                            went_on = await self._batch(conn, replay)
                        if went_on:
                            left.pop()
                            done += 1
        finally:
            await close(conn)
        return done

    async def _batch(self, conn: Connection, replay: Replay) -> bool:
        """Do one batch of a replay that is held by the caller's transaction; False: there is nothing to be done now."""
        now = self._clock()
        step = await look(conn, self._programs, replay, now, lock=True)
        sent = await system_events.send(
            conn, [system_event(replay.project_id, one, self._new_id, now) for one in step.follow_ups]
        )
        # A replay is over when what it sent is applied: the next one of the project must see that.
        sends = replay.mode.sends
        over = step.over and (
            sends is None or not (step.follow_ups or await replays.unsettled(conn, replay.project_id, sends))
        )
        changed = step.changed if sends is None else len(sent)
        await replays.advance(conn, replay, step.after, (step.examined, step.events, changed), now if over else None)
        return step.examined > 0 or over


async def look(conn: Connection, programs: ProgramCache, replay: Replay, now: datetime, *, lock: bool) -> Step:
    """Do the next batch of a replay in the caller's transaction, but for sending what users are to be sent.

    `lock` holds the users, as one must who sends; without it this may be rolled back, and is then only a look.
    """
    if replay.mode is ReplayMode.REPUBLISH:
        return await _put_back(conn, replay, now)
    if replay.mode is ReplayMode.BACKFILL:
        return await backfills.look(conn, programs, replay, now, lock=lock)
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
    if replay.events >= replay.events_max:  # and what was sent is still being applied
        return nothing_more(replay)
    found = await replays.users_after(conn, replay, replay.after_user, REPLAY_BATCH_USERS)
    concerned = {id_: user for id_, user, has_events in found if has_events}
    folding, reached = await _folded(conn, programs, replay, concerned)
    if lock and concerned and not await folding.histories.lock(conn, reached):
        concerned = {id_: user for id_, user in concerned.items() if reached is None or id_ <= reached}
        folding, again = await _folded(conn, programs, replay, concerned)
        reached = reached if again is None else again  # they have grown, and so a batch holds fewer of them
    differences = await folding.differences(conn)
    last = reached or (found[-1][0] if found else replay.after_user)
    over = (reached is None and len(found) < REPLAY_BATCH_USERS) or folding.left <= 0
    follow_ups = [_follow_up(replay, one) for one in differences]
    counts = (sum(id_ <= last for id_, _, _ in found), len(folding.given), len(differences))
    return Step((replay.after_event, last), *counts, over, differences, follow_ups)


async def _folded(
    conn: Connection, programs: ProgramCache, replay: Replay, users: dict[int, str]
) -> "tuple[_Folding, int | None]":
    """Return the histories of users, folded, and the last of them if that are not all."""
    folding = _Folding(await Histories.of(conn, programs, replay, users))
    if not users:
        return folding, None
    return folding, await folding.histories.follow(conn, folding.fold, folding.leave_out, folding.is_full)


class _Folding:
    """What the events in question give under the other version, as users' histories are folded anew."""

    def __init__(self, histories: Histories) -> None:
        self.histories = histories
        self._events: dict[UUID, Event] = {}
        self._compensated: dict[UUID, dict[str, int]] = {}
        self.given: dict[UUID, dict[str, int]] = {}  # by events in question, under the other version
        self.left = histories.replay.events_max - histories.replay.events
        self._folded = 0

    def is_full(self) -> bool:
        """Tell whether no further user should be begun."""
        return self._folded >= REPLAY_FOLDED_EVENTS

    def fold(self, applied: Applied) -> None:
        """Fold the next event of a user."""
        event, histories = applied.event, self.histories
        self._folded += 1
        if event.type == BACKFILL and self._is_counted(event):
            return
        chosen = self._is_chosen(applied)
        decision = histories.decide(applied, histories.replay.program_version if chosen else applied.version)
        if chosen and decision.outcome is Outcome.PROCESSED:  # what the other version refuses stays as it is
            self.left -= 1
            self._events[event.id] = event
            self.given[event.id] = _given(decision)
        elif chosen:
            decision = histories.decide(applied, applied.version)
        histories.evolve(applied, decision)
        if event.type == COMPENSATE:
            sums = self._compensated.setdefault(UUID(event.payload["event"]), {})
            for currency, amount in event.payload["amounts"].items():
                sums[currency] = sums.get(currency, 0) + amount

    def leave_out(self, user_id: int) -> None:
        """Leave a user as they are."""
        user = self.histories.states[user_id].user
        self.given = {id_: given for id_, given in self.given.items() if self._events[id_].user != user}

    def _is_chosen(self, applied: Applied) -> bool:
        is_command = applied.event.type.startswith(SYSTEM_PREFIX)
        return self.left > 0 and not is_command and is_asked_for(self.histories.replay, applied)

    def _is_counted(self, event: Event) -> bool:
        """Tell whether the other version, which has the metric, has counted already what a backfill counted later."""
        metrics = self.histories.programs[self.histories.replay.program_version].metrics
        return UUID(event.payload["event"]) in self.given and event.payload["metric"] in metrics

    async def differences(self, conn: Connection) -> list[Difference]:
        """Return what is to be compensated; currencies that the program in force does not have are left out."""
        if not self.given:
            return []
        gave = await replays.given(conn, self.histories.replay.project_id, list(self.given), REPLAYED_CAUSES)
        known = self.histories.in_force.document.currencies
        found = []
        for event_id, given in self.given.items():
            before = [gave.get(event_id, {}), self._compensated.get(event_id, {})]
            amounts = {
                currency: given.get(currency, 0) - sum(one.get(currency, 0) for one in before)
                for currency in {*given, *before[0], *before[1]}
                if currency in known
            }
            changed: dict[str, Number] = {currency: amount for currency, amount in sorted(amounts.items()) if amount}
            if changed:
                event = self._events[event_id]
                found.append(Difference(event.user, event_id, event.occurred_at, changed))
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


def total(differences: Sequence[Difference]) -> dict[str, Number]:
    """Return the differences added up, by currency or metric."""
    sums: dict[str, Number] = {}
    for found in differences:
        for name, amount in found.amounts.items():
            sums[name] = add(sums.get(name, 0), amount)
    return sums
