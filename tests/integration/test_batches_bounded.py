"""What a worker or a relay takes up at once is bounded in bytes, whatever the events are like."""

import json
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from conftest_api import Instance

from questline.model.event import WaitingEvent, bytes_of
from questline.model.hashing import user_hash
from questline.model.limits import APPLY_BATCH_BYTES, APPLY_BATCH_EVENTS, PARTITIONS, RELAY_BATCH_EVENTS
from questline.store import outbox, parking, relay
from questline.store.ids import EventIds

ALL = list(range(PARTITIONS))
IDS = EventIds()
ADD = """
WITH e AS (
    INSERT INTO events (id, project_id, type, external_user, payload, context, occurred_at, received_at)
    SELECT id, $1, 'task', 'u' || user_hash, payload::json, context::json, $6, $6
    FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[]) AS i (id, user_hash, payload, context)
)
INSERT INTO outbox (partition, project_id, event_id, user_hash)
SELECT user_hash & 63, $1, id, user_hash
FROM unnest($2::uuid[], $3::bigint[]) WITH ORDINALITY AS i (id, user_hash, n) ORDER BY n
"""

random.seed(7)
WORDS = [f"{random.getrandbits(40):x}" for _ in range(30_000)]
EMPTY = "{}"
SMALL = '{"amount": 5, "difficulty": "hard"}'
USUAL = json.dumps({"words": " ".join(WORDS[:300])})  # packs to a half or so
LARGE = json.dumps({"words": " ".join(WORDS[:22_000])})
SAME = json.dumps({"words": "x" * 240_000})  # packs to a hundredth
EMPTY_LISTS = json.dumps({"lists": [[]] * 80_000}, separators=(",", ":"))  # and takes a multiple once it is decoded


@pytest.fixture
async def conn(questline: Instance) -> Any:
    await questline.owner.execute("TRUNCATE outbox, events, retries, parked_users")
    return questline.owner


async def add(conn: Any, project: int, users: int, each: int, payload: str, context: str | None = None) -> None:
    """Let events of users wait, the first of each before the second."""
    hashes = [user_hash(project, f"u{n}") for _ in range(each) for n in range(users)]
    ids = [IDS.new() for _ in hashes]
    at_once = 250
    for start in range(0, len(ids), at_once):
        part = slice(start, start + at_once)
        count = len(ids[part])
        await conn.execute(
            ADD, project, ids[part], hashes[part], [payload] * count, [context] * count, datetime.now(UTC)
        )


async def claim(conn: Any, bytes_max: int = APPLY_BATCH_BYTES) -> list[WaitingEvent]:
    return await outbox.claim(conn, ALL, APPLY_BATCH_EVENTS, bytes_max)


@pytest.mark.parametrize(
    ("payload", "context", "least"),
    [
        pytest.param(LARGE, None, 5, id="large"),
        pytest.param(SAME, None, 10, id="large once unpacked"),
        pytest.param(EMPTY_LISTS, None, 10, id="larger still once decoded"),
        pytest.param(EMPTY, SAME, 10, id="of a large context"),
    ],
)
async def test_a_batch_of_large_events_is_bounded_in_bytes(
    conn: Any, payload: str, context: str | None, least: int
) -> None:
    await add(conn, 1, 40, 2, payload, context)
    for batch in (await claim(conn), await relay.lease(conn, uuid4(), RELAY_BATCH_EVENTS, APPLY_BATCH_BYTES)):
        assert bytes_of(batch) <= APPLY_BATCH_BYTES
        assert len(batch) >= least


@pytest.mark.parametrize(
    ("payload", "context"), [(SMALL, None), (SMALL, SMALL), (USUAL, None)], ids=["small", "with context", "usual"]
)
async def test_a_batch_of_events_that_fit_is_bounded_in_their_number(
    conn: Any, payload: str, context: str | None
) -> None:
    await add(conn, 1, 128, 10, payload, context)
    events = await claim(conn, 4 * APPLY_BATCH_BYTES)
    assert len(events) > APPLY_BATCH_EVENTS * 3 // 4  # a share of each partition, not all of which have so many
    leased = await relay.lease(conn, uuid4(), 1_000, 4 * APPLY_BATCH_BYTES)
    assert len(leased) == 1_000


PARK = """
WITH gone AS (DELETE FROM outbox RETURNING project_id, event_id, user_hash, seq),
     r AS (INSERT INTO retries (project_id, event_id, user_hash, seq) SELECT project_id, event_id, user_hash, seq FROM gone)
INSERT INTO parked_users (project_id, user_hash, partition, tries, reason, message, since, due_at)
SELECT DISTINCT project_id, user_hash, (user_hash & 63)::smallint, 0, 'TRANSIENT_ERROR', '', $1::timestamptz, $1::timestamptz
FROM gone
"""


async def test_a_batch_of_large_events_that_are_tried_again_is_bounded_in_bytes(conn: Any) -> None:
    await add(conn, 1, 20, 4, SAME)
    now = datetime.now(UTC)
    await conn.execute(PARK, now)
    batch = await parking.due(conn, ALL, now, APPLY_BATCH_BYTES)
    assert bytes_of(batch) <= APPLY_BATCH_BYTES
    assert len(batch) >= 10
    assert len(await parking.due(conn, ALL, now, 1)) == 1


@pytest.mark.parametrize("payload", [SMALL, LARGE, SAME], ids=["small", "large", "large once unpacked"])
async def test_one_event_is_taken_though_it_alone_is_over_the_bound(conn: Any, payload: str) -> None:
    await add(conn, 1, 3, 3, payload)
    assert len(await claim(conn, 1)) == 1
    assert len(await relay.lease(conn, uuid4(), RELAY_BATCH_EVENTS, 1)) == 1


@pytest.mark.parametrize("payload", [SMALL, USUAL, LARGE, SAME], ids=["small", "usual", "large", "large once unpacked"])
async def test_everything_comes_in_the_end_and_each_users_events_in_order(conn: Any, payload: str) -> None:
    await add(conn, 1, 10, 4, payload)
    came: list[WaitingEvent] = []
    while batch := await claim(conn, 500_000):
        came += await outbox.take(conn, batch)
    by_user: dict[int, list[int]] = {}
    for event in came:
        by_user.setdefault(event.user_hash, []).append(event.seq)
    assert [sorted(seqs) == seqs and len(seqs) == 4 for seqs in by_user.values()] == [True] * 10


async def test_large_events_of_one_project_leave_those_of_another_their_share(conn: Any) -> None:
    await add(conn, 1, 60, 2, SAME)
    await add(conn, 2, 1, 4, SAME)
    await add(conn, 3, 60, 1, SMALL)
    batch = await claim(conn)
    assert bytes_of(batch) <= APPLY_BATCH_BYTES
    found = Counter(event.project_id for event in batch)
    assert found[1] >= 4
    assert (found[2], found[3]) == (4, 60)


async def test_an_event_larger_than_all_else_is_taken_in_its_turn(conn: Any) -> None:
    await add(conn, 1, 1, 1, LARGE)
    await add(conn, 2, 20, 20, SMALL)
    batch = await claim(conn, 100_000)
    assert [event.project_id for event in batch] == [1]
    await outbox.take(conn, batch)
    assert len(await claim(conn, 100_000)) == 400
