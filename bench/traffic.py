"""Events as clients would send them, random and all different."""

import asyncio
import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

from bench.program import EVENT_TYPE
from bench.state import State
from questline.model.event import AcceptedEvent
from questline.model.hashing import content_hash, user_hash
from questline.store import accept
from questline.store.ids import EventIds
from questline.store.roles import APP_ROLE

_FASTEST_PER_SECOND = 20_000  # that any machine of ours applies
_ids = EventIds()
_encode = msgspec.json.Encoder().encode


class Drawn(msgspec.Struct, frozen=True):
    """What an event says: its type and payload."""

    type: str
    payload: dict[str, Any]


def a_task() -> Drawn:
    """The event that most benchmarks run on."""
    return Drawn(EVENT_TYPE, {"difficulty": random.choice(("easy", "hard")), "minutes": random.randint(1, 60)})


def accepted(number_of_user: int, draw: Callable[[], Drawn] = a_task) -> AcceptedEvent:
    """An event of `user-N`, as the edge hands it to the store."""
    id_: UUID = _ids.new()
    now = datetime.now(UTC)
    project, user = project_of(number_of_user), f"user-{number_of_user}"
    drawn = draw()
    payload = _encode(drawn.payload)
    return AcceptedEvent(
        id=id_,
        project_id=project,
        type=drawn.type,
        user=user,
        payload=payload.decode(),
        occurred_at=now,
        received_at=now,
        key_hash=random.randbytes(16),
        content_hash=content_hash(payload),
        user_hash=user_hash(project, user),
        idempotency_key=str(id_),
    )


def project_of(number_of_user: int) -> int:
    """The project of a user, by the user's number."""
    return 1 + number_of_user % 3


async def fill_queue(
    conn: Any, state: State, events: int, active: int | None = None, draw: Callable[[], Drawn] = a_task
) -> None:
    """Accept events of random users (of the first `active`, if given), a thousand a statement."""
    await fill_queue_of(conn, (random.randint(1, active or state.size.users) for _ in range(events)), draw)


async def fill_queue_of(conn: Any, users: Iterable[int], draw: Callable[[], Drawn] = a_task) -> None:
    """Accept an event of each of these users in turn, a thousand a statement."""
    left = iter(users)
    while batch := [accepted(user, draw) for user in islice(left, 1_000)]:
        await accept.accept(conn, batch)


async def waiting(conn: Any) -> int:
    """How many events wait to be applied."""
    return int(await conn.fetchval("SELECT count(*) FROM outbox"))


async def all_applied(conn: Any) -> None:
    """Return when no event waits any more.

    Counting a long queue costs the workers a part of the processors, so the longer it is, the later is the next look.
    """
    while left := await waiting(conn):  # noqa: ASYNC110 - the queue is another process's
        await asyncio.sleep(max(0.01, left / _FASTEST_PER_SECOND))


async def all_answered(conn: Any) -> None:
    """Return when no command is under way any more: wrk leaves those of its last moment behind."""
    quiet = 0
    while quiet < 10:
        busy = await conn.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state <> 'idle'", APP_ROLE
        )
        quiet = 0 if busy else quiet + 1
        await asyncio.sleep(0.02)
