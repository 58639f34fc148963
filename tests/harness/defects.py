"""Defects that a harness must catch, each a patch of the processes' real code. They are named by a variable, in tests alone."""

import asyncio
import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

VARIABLE = "QL_HARNESS_DEFECT"
_tasks: set["asyncio.Task[Any]"] = set()


def ack_before_commit() -> None:
    """Single events are answered first, and stored a moment later."""
    from questline.ingest.accept import Acceptance, Acceptor, Status

    stored = Acceptor.accept_one

    async def accept_one(self: Acceptor, event: Any) -> Acceptance:
        async def store() -> None:
            await asyncio.sleep(1.0)
            await stored(self, event)

        keep(store())
        return Acceptance(Status.ACCEPTED, event.id)

    Acceptor.accept_one = accept_one  # type: ignore[method-assign]


def effect_outside_transaction() -> None:
    """Boards are written behind the commit of what they follow from, in a transaction of their own."""
    from questline.processing.lane import Lane
    from questline.store import boards

    write, apply_once = boards.add_points, Lane._apply_once
    owed: ContextVar[list[Any] | None] = ContextVar("owed", default=None)

    async def add_points(conn: Any, shard: int, *rows: Any) -> None:
        waiting = owed.get()
        if waiting is None:  # a command, which is applied as ever
            await write(conn, shard, *rows)
        else:
            waiting.append(rows)

    async def _apply_once(self: Lane, conn: Any, shard: int, batch: Any, free: bool) -> Any:
        waiting: list[Any] = []
        owed.set(waiting)
        left = await apply_once(self, conn, shard, batch, free)
        await asyncio.sleep(0.2)
        for rows in waiting:
            await write(conn, shard, *rows)
        return left

    boards.add_points = add_points
    Lane._apply_once = _apply_once  # type: ignore[method-assign]


def lease_never_recovered() -> None:
    """A dead worker's partitions stay its own."""
    from questline.processing import worker

    worker.LEASE_SECONDS = 86_400.0  # type: ignore[attr-defined]


def dedupe_skipped() -> None:
    """Each delivery of an event has a key of its own."""
    from questline.store import accept

    columns = accept.columns_of

    def keyed_at_random(events: Any) -> list[list[Any]]:
        found = columns(events)
        found[13] = [os.urandom(16) for _ in events]
        found[14] = []
        return found

    accept.columns_of = keyed_at_random


def queue_emptied_first() -> None:
    """An event leaves the queue in a transaction of its own, before what follows from it is written."""
    from questline.processing.lane import Lane
    from questline.store import users

    async def _apply_once(self: Any, conn: Any, shard: int, batch: Any) -> None:
        keys = {(e.project_id, e.user): None for e in batch}
        async with conn.transaction():
            taken = await self._transport.take(conn, batch, await users.lock(conn, keys))
        await asyncio.sleep(0.05)
        async with conn.transaction():
            if taken:
                await self._applier.apply(conn, shard, taken, await users.lock(conn, keys))

    Lane._apply_once = _apply_once  # type: ignore[method-assign]


DEFECTS: dict[str, Callable[[], None]] = {
    "ack-before-commit": ack_before_commit,
    "effect-outside-transaction": effect_outside_transaction,
    "lease-never-recovered": lease_never_recovered,
    "dedupe-skipped": dedupe_skipped,
    "queue-emptied-first": queue_emptied_first,
}


def keep(work: Any) -> None:
    """Let something go on behind its caller."""
    task = asyncio.ensure_future(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
