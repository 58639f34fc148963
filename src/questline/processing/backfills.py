"""Backfills: events of the past counted in a metric, or in a timeframe over a metric, that came after them.

A user's history is folded anew, each event by the version that decided it. One whose version had no such metric, and that
the metric listens to, is sent to the user as one `$backfill`; one that was counted by a version without windows of a unit is
sent for these windows alone. The keys name the metric and the event, so that any number of backfills count an event once;
and the history tells what earlier ones have counted, for as long as keys are not kept.
"""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog

from questline.engine.contributions import Contributions
from questline.engine.decide import decide_again
from questline.engine.evolve import evolve
from questline.engine.numbers import add, operand
from questline.model.decision import Decision, FollowUp
from questline.model.event import BACKFILL, Event
from questline.model.items import Span
from questline.model.limits import REPLAY_BATCH_EVENTS, REPLAY_BATCH_USERS, REPLAY_EVENTS_AT_ONCE
from questline.model.replays import Difference, Replay, Step, nothing_more
from questline.model.state import Number, UserState
from questline.model.windows import window_name
from questline.processing.histories import Histories, is_asked_for
from questline.processing.programs import ProgramCache
from questline.store import replays
from questline.store.pool import Connection
from questline.store.replays import Applied

log = structlog.get_logger(__name__)

_SUMMED = ("count", "sum", "distinct")  # what metrics of these kinds grow by adds up over users


class Late(msgspec.Struct, frozen=True):
    """An event that is to be counted: what is found of it, and in the windows of which unit alone, where the metric has it."""

    user_id: int
    event: Event
    found: dict[str, Any]
    span: Span | None = None
    bucket: int = 0  # of these windows

    @property
    def unit(self) -> str | None:
        return None if self.span is None else self.span.unit


async def look(conn: Connection, programs: ProgramCache, replay: Replay, now: datetime, *, lock: bool) -> Step:
    """Do the next batch of a backfill in the caller's transaction, but for sending what it comes to.

    A batch ends with a user: with the one who makes it large, if there is one.
    """
    left = replay.events_max - replay.changed
    if left <= 0:  # and what was sent is still being applied
        return nothing_more(replay)
    found = await replays.users_after(conn, replay, replay.after_user, REPLAY_BATCH_USERS)
    concerned = {id_: user for id_, user, has_events in found if has_events}
    counting, reached = await _counted(conn, programs, replay, concerned, now)
    if lock and concerned and not await counting.histories.lock(conn, reached):
        concerned = {id_: user for id_, user in concerned.items() if reached is None or id_ <= reached}
        counting, again = await _counted(conn, programs, replay, concerned, now)
        reached = reached if again is None else again  # they have grown, and so a batch holds fewer of them
    if _has_changed(counting.histories):
        log.warning("replay.metric_changed", replay=str(replay.id), metric=replay.metric)
        return nothing_more(replay)
    differences, follow_ups = await counting.worked_out(left)
    last = reached or (found[-1][0] if found else replay.after_user)
    examined = sum(id_ <= last for id_, _, _ in found)
    over = (reached is None and len(found) < REPLAY_BATCH_USERS) or len(follow_ups) >= left
    return Step(
        (replay.after_event, last), examined, len(counting.late()), len(follow_ups), over, differences, follow_ups
    )


async def _counted(
    conn: Connection, programs: ProgramCache, replay: Replay, users: dict[int, str], now: datetime
) -> "tuple[_Counting, int | None]":
    """Return the histories of users, followed, and the last of them if that are not all."""
    counting = _Counting(await Histories.of(conn, programs, replay, users), now)
    if not users or _has_changed(counting.histories):
        return counting, None
    return counting, await counting.histories.follow(conn, counting.fold, counting.leave_out, counting.is_full)


def _has_changed(histories: Histories) -> bool:
    """Tell whether the metric in force is another by now: what the replay sends would count as nobody has looked at."""
    name, begun = histories.replay.metric or "", histories.programs[histories.replay.program_version]
    return histories.in_force.metrics.get(name) != begun.metrics[name]


class _Counting:
    """What is to be counted of users' histories, as they are folded anew."""

    def __init__(self, histories: Histories, now: datetime) -> None:
        self.histories = histories
        self._now = now
        replay = histories.replay
        assert replay.metric is not None
        self._metric = replay.metric
        self._wanted = Contributions(histories.programs[replay.program_version], self._metric)
        self._counted_by: dict[int, Contributions | None] = {}  # by version; None: it has no such metric
        self._late: dict[tuple[UUID, str | None], Late] = {}
        self._newest: dict[tuple[int, str], int] = {}  # bucket that counts, by user and unit

    def fold(self, applied: Applied) -> None:
        """Fold the next event of a user."""
        if applied.event.type == BACKFILL:
            if applied.event.payload["metric"] == self._metric:
                self._backfilled(applied)
        elif is_asked_for(self.histories.replay, applied):
            self._look_at(applied)
        decision = self.histories.decide(applied, applied.version)
        if self._wanted.spans and any(change.metric == self._metric for change in decision.metrics):
            counted_by = self._of(applied.version)
            if counted_by is not None and counted_by.kind == self._wanted.kind:
                self._note(applied.user_id, applied.event)
        self.histories.evolve(applied, decision)

    def leave_out(self, user_id: int) -> None:
        """Leave a user as they are."""
        self._late = {key: one for key, one in self._late.items() if one.user_id != user_id}

    def is_full(self) -> bool:
        """Tell whether no further user should be begun."""
        return len(self._late) >= REPLAY_BATCH_EVENTS

    def late(self) -> list[Late]:
        """Return what is to be counted, user after user, each user's in the order of receipt."""
        late = [one for one in self._late.values() if one.span is None or self._is_kept(one, one.span)]
        return sorted(late, key=lambda one: (one.user_id, one.event.id, one.unit or ""))

    def _is_kept(self, late: Late, span: Span) -> bool:
        """Tell whether windows of the timeframe keep an event's time: for twice its length before the newest that counts."""
        return self._newest.get((late.user_id, span.unit), late.bucket) - late.bucket < 2 * span.duration

    def _look_at(self, applied: Applied) -> None:
        counted_by, state, event = self._of(applied.version), self.histories.states[applied.user_id], applied.event
        counts = self._wanted if counted_by is None else counted_by
        found = counts.payload_of(state, event)
        if found is None:
            return
        if counted_by is None:
            self._late[event.id, None] = Late(applied.user_id, event, found)
            self._note(applied.user_id, event)
        elif counted_by.kind == self._wanted.kind:
            self._miss_windows(applied.user_id, event, found, counted_by.spans)

    def _backfilled(self, applied: Applied) -> None:
        """Leave out what an earlier backfill has counted, but for windows that it did not know."""
        payload = applied.event.payload
        id_ = UUID(payload["event"])
        for unit in payload.get("windows", ()):
            self._late.pop((id_, unit), None)
        if "windows" in payload or (known := self._late.pop((id_, None), None)) is None:
            return
        counted_by = self._of(applied.version)
        self._miss_windows(known.user_id, known.event, known.found, () if counted_by is None else counted_by.spans)

    def _miss_windows(self, user_id: int, event: Event, found: dict[str, Any], known: tuple[Span, ...]) -> None:
        units = {span.unit for span in known}
        for span in self._wanted.spans:
            if span.unit not in units:
                bucket = self._wanted.bucket(self.histories.states[user_id], event, span)
                self._late[event.id, span.unit] = Late(user_id, event, found, span, bucket)

    def _note(self, user_id: int, event: Event) -> None:
        """Note the time of an event that counts, for what windows keep goes by the newest."""
        for span in self._wanted.spans:
            bucket = self._wanted.bucket(self.histories.states[user_id], event, span)
            self._newest[user_id, span.unit] = max(bucket, self._newest.get((user_id, span.unit), bucket))

    def _of(self, version: int) -> Contributions | None:
        if version not in self._counted_by:
            program = self.histories.programs[version]
            known = self._metric in program.metrics
            self._counted_by[version] = Contributions(program, self._metric) if known else None
        return self._counted_by[version]

    async def worked_out(self, at_most: int) -> tuple[list[Difference], list[FollowUp]]:
        """Return what events add to the metric and its windows, and what is to be sent for those that change anything.

        A user for whom the engine fails is left out.
        """
        found: list[tuple[Difference, FollowUp]] = []
        left_out: set[int] = set()
        for number, one in enumerate(self.late(), 1):
            if number % REPLAY_EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if len(found) >= at_most:
                break
            if one.user_id in left_out:
                continue
            try:
                worked_out = self._work_out(one)
            except Exception:
                log.exception("replay.user_left_out", user_id=one.user_id, event_id=str(one.event.id))
                left_out.add(one.user_id)
                self.leave_out(one.user_id)
                found = [pair for pair in found if pair[0].user != one.event.user]
                continue
            if worked_out is not None:
                found.append(worked_out)
        return [difference for difference, _ in found], [follow_up for _, follow_up in found]

    def _work_out(self, one: Late) -> tuple[Difference, FollowUp] | None:
        """Return what an event adds, and what is to be sent for it; None where it changes nothing."""
        state, follow_up = self.histories.states[one.user_id], self._follow_up(one)
        event = msgspec.structs.replace(
            one.event, type=BACKFILL, payload=follow_up.payload, received_at=self._now, context=None
        )
        decision = decide_again(self.histories.in_force, state, event)
        if not (decision.metrics or decision.records or decision.board_points or decision.league_points):
            return None  # such as a value that a `distinct` metric has seen
        grown = self._grown(one, state, decision)
        evolve(state, decision)
        return Difference(one.event.user, one.event.id, one.event.occurred_at, grown), follow_up

    def _follow_up(self, one: Late) -> FollowUp:
        payload = {
            "replay": str(self.histories.replay.id),
            "event": str(one.event.id),
            "metric": self._metric,
            **one.found,
            **({"windows": [one.unit]} if one.unit is not None else {}),
        }
        key = "/".join(("backfill", self._metric, str(one.event.id), *([one.unit] if one.unit is not None else ())))
        return FollowUp(one.event.user, BACKFILL, payload, key, one.event.occurred_at)

    def _grown(self, one: Late, state: UserState, decision: Decision) -> dict[str, Number]:
        """Return by how much the metric grows, or windows where they alone do; nothing where that does not add up."""
        if one.span is not None:
            return {window_name(self._metric, one.span): operand(one.found.get("value", 1)) or 0}
        if self._wanted.kind not in _SUMMED:
            return {}
        grown: dict[str, Number] = {}
        for change in decision.metrics:
            before = state.metrics.get(change.metric)
            grown[change.metric] = add(change.state.value, 0 if before is None else -before.value)
        return grown
