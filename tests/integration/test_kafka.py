"""Kafka as the carrier: events are accepted by the log, and taken in by workers, each once and in order."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest_api import PROGRAM
from conftest_kafka import Logged, logged_instance

from tests.services.kafka import Kafka


@pytest.fixture(scope="module")
async def questline(database: Any, kafka: Kafka) -> AsyncIterator[Logged]:
    async with logged_instance(database, kafka.url) as instance:
        yield instance


async def test_an_event_is_accepted_before_postgres_knows_of_it_and_applied_by_a_worker(questline: Logged) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.send("task", "ada", eventId="1")
    assert (answer.status_code, answer.json()["status"], answer.json()["duplicate"]) == (202, "accepted", None)
    assert await questline.owner.fetchval("SELECT count(*) FROM events") == 0
    assert (await app.get("/v1/events/1")).status_code == 404
    await questline.settle()
    assert (await app.get("/v1/events/1")).json()["status"] == "processed"
    assert await app.balance("ada", "XP") == 40
