"""Groups of a stream are stored at once, and each user's events in order all the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from conftest_api import App, Instance, questline, until  # noqa: F401

from questline.api.hot import lines
from questline.model.hashing import event_id_hash, user_hash

GROUP = 600  # twice as many as are stored on one connection
USERS = 20
GROUPS = 4


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "STREAM_GROUP_EVENTS", GROUP)


def stream() -> bytes:
    events = (
        {"type": "step", "userId": f"user-{n % USERS}", "payload": {"n": n}, "eventId": f"step-{n}"}
        for n in range(GROUP * GROUPS)
    )
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


async def project_of(app: App) -> int:
    return await app.instance.owner.fetchval("SELECT id FROM projects WHERE app_id = $1", app.app_id)


@asynccontextmanager
async def first_group_stopped(app: App) -> AsyncIterator[tuple[asyncio.Task[httpx.Response], int]]:
    """Send the stream while somebody else is about to use the key of its first event, until its other lane has gone on.

    Yields the answer to come and the lane of that event.
    """
    owner, project = app.instance.owner, await project_of(app)
    side = user_hash(project, "user-0") & 1
    other = owner.transaction()
    await other.start()
    await owner.execute(
        "INSERT INTO dedupe_keys (project_id, key_hash, event_id) VALUES ($1, $2, gen_random_uuid())",
        project, event_id_hash("step-0"),
    )  # fmt: skip
    sending = asyncio.create_task(app.post("/v1/ingest/stream", content=stream()))

    async def two_groups_are_in_the_other_lane() -> bool:
        return max([n for _, n in await stored(app)], default=0) > GROUP

    await until(two_groups_are_in_the_other_lane)
    yield sending, side
    await other.rollback()


async def stored(app: App) -> list[tuple[str, int]]:
    """Return the users and numbers of the events that are queued, in the order they will be applied."""
    rows = await app.instance.owner.fetch(
        "SELECT external_user, payload ->> 'n' FROM outbox o JOIN events e ON e.project_id = o.project_id AND e.id = event_id"
        " WHERE o.project_id = $1 ORDER BY seq",
        await project_of(app),
    )
    return [(user, int(n)) for user, n in rows]


async def in_lane(app: App, side: int) -> list[int]:
    project = await project_of(app)
    return [n for user, n in await stored(app) if user_hash(project, user) & 1 == side]


async def numbers_by_user(app: App) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for user, n in await stored(app):
        numbers.setdefault(user, []).append(n)
    return numbers


IN_ORDER = {f"user-{user}": list(range(user, GROUP * GROUPS, USERS)) for user in range(USERS)}


async def test_a_lane_goes_on_with_the_next_group_while_the_other_waits_and_no_user_is_overtaken(
    questline: Instance,  # noqa: F811
) -> None:
    app = await questline.app()
    async with first_group_stopped(app) as (sending, side):
        assert await in_lane(app, side) == []
    answer = await sending
    assert json.loads(answer.text.splitlines()[-1])["summary"]["accepted"] == GROUP * GROUPS
    assert [json.loads(line)["line"] for line in answer.text.splitlines()[:-1]] == list(range(1, GROUP * GROUPS + 1))
    assert await numbers_by_user(app) == IN_ORDER


async def test_after_a_group_that_could_not_be_stored_none_is_and_the_whole_stream_can_be_sent_again(
    questline: Instance,  # noqa: F811
) -> None:
    app = await questline.app()
    async with first_group_stopped(app) as (sending, side):
        await app.instance.owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        answer = await sending
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert await in_lane(app, side) == []
    again: Any = await app.post("/v1/ingest/stream?results=errors", content=stream())
    assert sum(json.loads(again.text)["summary"].values()) == GROUP * GROUPS
    assert await numbers_by_user(app) == IN_ORDER
