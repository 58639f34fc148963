"""Replays, and the events they are about. Under the service role, with the project first."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Connection, Pool

from questline.model.event import Event
from questline.model.hashing import user_hash
from questline.model.limits import PARTITIONS
from questline.model.replays import Replay, ReplayMode
from questline.store.statements import statements

SQL = statements("replays")

_FETCHED = 2_000  # rows of a history held at a time
_decode_payload = msgspec.json.Decoder(dict[str, Any]).decode


class Applied(msgspec.Struct, frozen=True):
    """An applied event. `reviewed`: a guard had held it, and its effects are those of its approval."""

    user_id: int
    version: int
    reviewed: bool
    event: Event


async def start(conn: Connection, replay: Replay) -> Replay:
    """Store a replay for workers to go on with."""
    r = replay
    row = await conn.fetchrow(
        SQL["start"], r.project_id, r.id, r.mode, r.program_version, r.first_event, r.last_event, r.event_type, r.user_id,
        r.user_hash, r.status, r.events_max, r.started_by, r.reason, r.started_at, r.total, r.after_event, r.metric,
    )  # fmt: skip
    return _replay(row)


async def find(conn: Connection | Pool, project_id: int, id_: UUID) -> Replay | None:
    """Return a replay."""
    row: Any = await conn.fetchrow(SQL["find"], project_id, id_)  # type: ignore[no-untyped-call]
    return None if row is None else _replay(row)


async def listed(conn: Connection | Pool, project_ids: Sequence[int], before: UUID, limit: int) -> list[Replay]:
    """Return replays, newest first, before an id."""
    return [_replay(row) for row in await conn.fetch(SQL["listed"], project_ids, before, limit)]


async def hold_next(conn: Connection, but: Sequence[UUID]) -> Replay | None:
    """Lock a replay under way that no other worker has, until the transaction ends; those in `but` are passed by."""
    row = await conn.fetchrow(SQL["hold_next"], list(but))
    return None if row is None else _replay(row)


async def advance(
    conn: Connection,
    replay: Replay,
    after: tuple[UUID, int],
    counts: tuple[int, int, int],
    finished_at: datetime | None,
) -> None:
    """Note how far a held replay has come: `counts` are examined, events and changed in this batch."""
    await conn.execute(SQL["advance"], replay.project_id, replay.id, *after, *counts, finished_at)


async def count_events(conn: Connection, project_id: int, first: UUID, last: UUID, at_most: int) -> int:
    """Return how many events lie between two ids, counted up to a bound."""
    found: int = await conn.fetchval(SQL["count_events"], project_id, first, last, at_most)
    return found


async def count_users(conn: Connection, project_id: int, at_most: int) -> int:
    """Return how many users a project has, counted up to a bound."""
    found: int = await conn.fetchval(SQL["count_users"], project_id, at_most)
    return found


async def user_of(conn: Connection, project_id: int, user: str) -> int | None:
    """Return our id of a user."""
    found: int | None = await conn.fetchval(SQL["user_of"], project_id, user)
    return found


async def events_after(conn: Connection, replay: Replay, after: UUID, limit: int) -> list[tuple[UUID, str, bool]]:
    """Return (event id, customer's user id, whether the type fits) of the next events, whatever became of them."""
    rows = await conn.fetch(SQL["events_after"], replay.project_id, after, replay.last_event, replay.event_type, limit)
    return [(id_, user, fits) for id_, user, fits in rows]


async def put_back_lost(
    conn: Connection, project_id: int, events: Sequence[tuple[UUID, str]], now: datetime, limit: int
) -> int:
    """Put events (id, customer's user id) back that are nowhere, and return how many were."""
    hashes = [user_hash(project_id, user) for _, user in events]
    rows = await conn.fetch(SQL["put_back_lost"], project_id, [id_ for id_, _ in events], hashes, now, limit)
    return len(rows)


async def users_after(conn: Connection, replay: Replay, after: int, limit: int) -> list[tuple[int, str, bool]]:
    """Return (our id, customer's id, whether an event in question was decided) of the next users."""
    rows = await conn.fetch(
        SQL["users_after"], replay.project_id, after, replay.user_id, replay.first_event, replay.last_event, limit
    )
    return [(id_, user, has) for id_, user, has in rows]


async def versions(conn: Connection, project_id: int, user_ids: Sequence[int]) -> list[int]:
    """Return the program versions that decided the users' events."""
    return [row[0] for row in await conn.fetch(SQL["versions"], project_id, user_ids)]


async def history(conn: Connection, project_id: int, user_ids: Sequence[int]) -> AsyncGenerator[Applied, None]:
    """Yield the events applied to the users, each user's in the order of receipt."""
    async for row in conn.cursor(SQL["history"], project_id, user_ids, prefetch=_FETCHED):
        user_id, version, reviewed, id_, type_, user, payload, at, source, schema, received_at, said, sent_with = row
        context = None if said is None else _decode_payload(said)
        event = Event(
            id_, project_id, type_, user, _decode_payload(payload), at, source, schema, received_at,
            context=context, sent_with=sent_with,
        )  # fmt: skip
        yield Applied(user_id, version, reviewed, event)


async def applied_of(conn: Connection, project_id: int, user_ids: Sequence[int]) -> dict[int, int]:
    """Return how many events each user's history has, of those that have any."""
    return dict(await conn.fetch(SQL["applied_of"], project_id, user_ids))


async def given(
    conn: Connection, project_id: int, event_ids: Sequence[UUID], causes: Sequence[str]
) -> dict[UUID, dict[str, int]]:
    """Return what events gave their users, by currency, for causes that begin so."""
    found: dict[UUID, dict[str, int]] = {}
    for event_id, currency, amount in await conn.fetch(
        SQL["given"], project_id, event_ids, [f"{cause}%" for cause in causes]
    ):
        found.setdefault(event_id, {})[currency] = amount
    return found


async def unsettled(conn: Connection, project_id: int, type_: str) -> bool:
    """Tell whether events of a type wait to be applied."""
    found: bool = await conn.fetchval(SQL["unsettled"], project_id, list(range(PARTITIONS)), type_)
    return found


def _replay(row: Any) -> Replay:
    values = dict(row)
    return Replay(**{**values, "mode": ReplayMode(values["mode"])})
