"""Histories folded anew: each event of some users by the version that decided it, from the first one on."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing

import structlog

from questline.engine.decide import decide_again
from questline.engine.evolve import evolve
from questline.model.decision import Decision
from questline.model.limits import REPLAY_EVENTS_AT_ONCE
from questline.model.replays import Replay
from questline.model.state import UserState
from questline.processing.programs import Program, ProgramCache
from questline.store import replays, users
from questline.store.pool import Connection
from questline.store.replays import Applied

log = structlog.get_logger(__name__)


class Histories:
    """What some users were at each moment of their past; `programs` are those that their events met, by version."""

    def __init__(self, replay: Replay, programs: dict[int, Program], in_force: Program, users: dict[int, str]) -> None:
        self.replay = replay
        self.programs = programs
        self.in_force = in_force
        self.states = {id_: UserState(id_, user) for id_, user in users.items()}
        self._read: Counter[int] = Counter()  # events, by user
        self._left_out: set[int] = set()

    @classmethod
    async def of(cls, conn: Connection, programs: ProgramCache, replay: Replay, users: dict[int, str]) -> "Histories":
        """Return the histories of users, by our ids, at their beginning."""
        current = (await programs.in_force(conn, [replay.project_id]))[replay.project_id]
        versions = {replay.program_version, *await replays.versions(conn, replay.project_id, list(users))}
        compiled = {
            version: await programs.version(conn, replay.project_id, version, current.default_timezone)
            for version in versions
        }
        return cls(replay, compiled, current, users)

    async def follow(
        self,
        conn: Connection,
        fold: Callable[[Applied], None],
        leave_out: Callable[[int], None],
        is_full: Callable[[], bool] = lambda: False,
    ) -> int | None:
        """Hand all events to `fold`, user after user, each user's in the order of receipt.

        One whose history the engine cannot follow any more is left out from there on. No further user is begun when it
        `is_full`; the last one before is returned then, else None.
        """
        last: int | None = None
        events = 0
        async with aclosing(replays.history(conn, self.replay.project_id, list(self.states))) as history:
            async for applied in history:
                events += 1
                if events % REPLAY_EVENTS_AT_ONCE == 0:
                    await asyncio.sleep(0)
                user_id = applied.user_id
                if last is not None and user_id != last and is_full():
                    return last
                last = user_id
                self._read[user_id] += 1
                if user_id in self._left_out:
                    continue
                try:
                    fold(applied)
                except Exception:
                    log.exception("replay.user_left_out", user_id=user_id, event_id=str(applied.event.id))
                    self._left_out.add(user_id)
                    leave_out(user_id)
        return None

    async def lock(self, conn: Connection, reached: int | None) -> bool:
        """Lock those whose histories were followed, up to the one that was reached; tell whether these are whole.

        To follow them takes long, and nobody is locked meanwhile; it is done anew where one has grown, or could not be
        followed, which may be because a program came in between.
        """
        keys = {
            (self.replay.project_id, s.user): id_ for id_, s in self.states.items() if reached is None or id_ <= reached
        }
        await users.lock(conn, keys)
        now = await replays.applied_of(conn, self.replay.project_id, list(keys.values()))
        return not self._left_out and now == self._read

    def decide(self, applied: Applied, version: int) -> Decision:
        """Return what a version makes of an event, the user being as they were."""
        return decide_again(self.programs[version], self.states[applied.user_id], applied.event)

    def evolve(self, applied: Applied, decision: Decision) -> None:
        """Go on to what a decision made of the user."""
        evolve(self.states[applied.user_id], decision)


def is_asked_for(replay: Replay, applied: Applied) -> bool:
    """Tell whether a replay is about an event; what a guard let pass after review somebody has decided."""
    event = applied.event
    return (
        replay.first_event <= event.id <= replay.last_event
        and not applied.reviewed
        and replay.event_type in (None, event.type)
    )
