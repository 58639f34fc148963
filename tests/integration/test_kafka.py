"""Kafka as the carrier: events are accepted by the log, and taken in by workers, each once and in order."""

import json
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from conftest_api import PROGRAM, App, until
from conftest_kafka import TRAIL, Logged, in_order, logged_instance, order_of
from poison import Poison

from questline.assembly import running_api
from questline.cli import lag
from questline.cli.doctor import examine
from questline.processing import apply
from questline.settings import Settings
from questline.store import kafka_offsets
from tests.services.kafka import Kafka


@pytest.fixture(scope="module")
async def questline(database: Any, kafka: Kafka) -> AsyncIterator[Logged]:
    async with logged_instance(database, kafka.url) as instance:
        yield instance


async def statuses(app: App) -> dict[str, str]:
    """The status and reason of every event of a project, by the customer's id."""
    items = (await app.get("/v1/events?limit=200")).json()["items"]
    return {item["eventId"]: " ".join(filter(None, (item["status"], item["reason"]))) for item in items}


async def test_an_event_is_accepted_before_postgres_knows_of_it_and_applied_by_a_worker(questline: Logged) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.send("task", "ada", eventId="1")
    assert (answer.status_code, answer.json()["status"], answer.json()["duplicate"]) == (202, "accepted", None)
    early = await app.get("/v1/events/1")
    assert (early.status_code, early.headers["retry-after"]) == (404, "1")
    await questline.settle()
    assert (await app.get("/v1/events/1")).json()["status"] == "processed"
    assert await app.balance("ada", "XP") == 40


async def test_batches_streams_and_single_events_of_a_user_are_applied_in_the_order_of_their_answers(
    questline: Logged,
) -> None:
    app = await questline.app(TRAIL)
    await app.send("step", "ada", {"n": 0})
    steps = [{"type": "step", "userId": "ada", "payload": {"n": n}} for n in range(1, 100)]
    batch = (await app.post("/v1/events/batch", json=steps[:50])).json()
    assert (batch["accepted"], {result["status"] for result in batch["results"]}) == (50, {"accepted"})
    lines = "\n".join(json.dumps(step) for step in steps[50:])
    stream = await app.post("/v1/ingest/stream", content=lines, headers={"content-type": "application/x-ndjson"})
    assert '"summary":{"accepted":49' in stream.text
    await questline.settle()
    assert await order_of(questline, app, "ada") == in_order(100)


async def test_a_duplicate_is_dropped_and_a_reused_key_ends_refused(questline: Logged) -> None:
    app = await questline.app(PROGRAM)
    key = {"Idempotency-Key": "k"}
    for _ in range(2):
        await app.send("gift", "ada", {"amount": 1}, headers=key)
    reused = await app.send("gift", "ada", {"amount": 9}, headers=key)
    assert reused.status_code == 202
    await questline.settle()
    await app.send("gift", "ada", {"amount": 1}, headers=key)
    later = await app.send("gift", "ada", {"amount": 8}, headers=key)
    await questline.settle()
    assert await app.balance("ada", "coins") == 1
    for refused in (reused, later):
        event = (await app.get(f"/v1/events/{refused.json()['eventId']}")).json()
        assert (event["status"], event["reason"]) == ("refused", "IDEMPOTENCY_KEY_REUSED")
    assert len((await app.get("/v1/events")).json()["items"]) == 3


async def test_an_event_that_is_sent_under_two_names_counts_once_though_both_lie_in_one_batch(
    questline: Logged,
) -> None:
    app = await questline.app(PROGRAM)
    await app.send("task", "ada", eventId="e", idempotencyKey="k")
    await app.send("task", "ada", eventId="e")
    await questline.settle()
    assert await app.balance("ada", "XP") == 40
    assert len((await app.get("/v1/events")).json()["items"]) == 1


async def test_an_event_of_a_page_in_the_log_never_takes_the_key_of_a_servers(questline: Logged) -> None:
    app = await questline.app(PROGRAM)
    page = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    for headers in ({"X-API-Key": page}, {}, {"X-API-Key": page}, {}):
        await app.send("task", "ada", {"by": len(headers)}, headers=headers, idempotencyKey="order-1001")
    await questline.settle()
    assert await app.balance("ada", "XP") == 80
    assert len((await app.get("/v1/events")).json()["items"]) == 2


async def test_an_intent_is_new_again_when_its_window_is_over_even_in_one_batch(
    questline: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM, dedupeStrategy="intent", intentWindowSeconds=1)
    for _ in range(2):
        await app.send("gift", "ada", {"amount": 1})
    later = time.time_ns() + 1_100_000_000
    monkeypatch.setattr("questline.store.ids.time", SimpleNamespace(time_ns=lambda: later))
    await app.send("gift", "ada", {"amount": 1})
    monkeypatch.undo()
    await questline.settle()
    assert await app.balance("ada", "coins") == 2


async def test_a_waited_event_and_a_command_are_applied_at_once_and_are_not_doubled_by_the_log(
    questline: Logged,
) -> None:
    app = await questline.app(PROGRAM)
    waited = await app.send("gift", "ada", {"amount": 10}, eventId="g", headers={"Prefer": "wait=5"})
    assert (waited.status_code, waited.json()["outcome"]["balances"]) == (200, {"coins": 10})
    assert (await app.send("gift", "ada", {"amount": 10}, eventId="g")).status_code == 202
    await questline.settle()
    spend = await app.post("/v1/currency/spend", json={"userId": "ada", "currency": "coins", "amount": 4})
    assert (spend.status_code, await app.balance("ada", "coins")) == (201, 6)


async def test_events_from_the_log_wait_behind_those_of_their_user_in_the_queue(questline: Logged) -> None:
    app = await questline.app(TRAIL)
    before = Settings(**{**_fields(questline.settings), "transport": "postgres"})
    async with running_api(before) as asgi:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=asgi), base_url="http://test") as http:
            for n in range(3):
                body = {"type": "step", "userId": "ada", "payload": {"n": n}}
                await http.post("/v1/events", json=body, headers={"X-API-Key": app.key})
    for n in range(3, 6):
        await app.send("step", "ada", {"n": n})
    await questline.settle()
    assert await order_of(questline, app, "ada") == in_order(6)


async def test_a_record_that_is_no_event_is_kept_as_it_is_and_those_behind_it_go_on(questline: Logged) -> None:
    app = await questline.app(PROGRAM)
    garbage: list[tuple[bytes | None, bytes | None]] = [
        (b"\xff\x00 no event", b"key"),
        (None, None),
        (b'{"id":1}', None),
    ]
    await app.send("task", "ada", eventId="before")
    for partition in range(questline.topic.partitions):
        questline.write(b"{}", partition)
    for value, key in garbage:
        questline.write(value, 0, key)
    await app.send("task", "ada", eventId="after")
    await questline.settle()
    assert await statuses(app) == {"before": "processed PROCESSED", "after": "processed PROCESSED"}
    kept = await questline.owner.fetch(
        """SELECT record_value, record_key FROM kafka_rejects WHERE topic = $1 AND partition = 0
           ORDER BY record_offset DESC LIMIT 3""", questline.topic.name,
    )  # fmt: skip
    assert [(row[0], row[1]) for row in reversed(kept)] == garbage
    assert await kafka_offsets.rejects(questline.owner, questline.topic.name) == questline.topic.partitions + len(
        garbage
    )


async def test_a_poisoned_event_is_a_dead_letter_and_those_beside_it_are_applied(
    questline: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM)
    decide = apply.decide

    def poisoned(program: Any, state: Any, event: Any) -> Any:
        if event.payload.get("amount") == 13:
            raise ZeroDivisionError("division by zero")
        return decide(program, state, event)

    monkeypatch.setattr(apply, "decide", poisoned)
    items = [{"type": "gift", "userId": f"u{n % 5}", "eventId": str(n), "payload": {"amount": n}} for n in range(50)]
    await app.post("/v1/events/batch", json=items)
    await questline.settle()
    ended = await statuses(app)
    assert {n: status for n, status in ended.items() if status != "processed PROCESSED"} == {
        "13": "failed ENGINE_ERROR"
    }
    assert len(ended) == 50


async def test_what_the_database_refuses_is_queued_whole_and_the_lanes_find_the_event_at_fault(
    questline: Logged, poison: Poison
) -> None:
    app = await questline.app(TRAIL)
    items = [{"type": "step", "userId": f"u{n % 5}", "eventId": str(n), "payload": {"n": n}} for n in range(50)]
    answer = await app.post("/v1/events/batch", json=items)
    await poison.give(answer.json()["results"][20]["eventId"], "23514")
    await questline.settle()
    ended = await statuses(app)
    assert {n: status for n, status in ended.items() if status != "processed PROCESSED"} == {"20": "failed STORE_ERROR"}
    assert len(ended) == 50
    assert [n for _, n in await order_of(questline, app, "u0")] == [n for n in range(0, 50, 5) if n != 20]


async def test_events_of_a_parked_user_wait_behind_the_one_that_is_tried_again(
    questline: Logged, poison: Poison
) -> None:
    app = await questline.app(TRAIL)
    first = await app.send("step", "ada", {"n": 0})
    await poison.give(first.json()["eventId"], "40P01")
    async with questline.worker():
        await until(poison.given_twice)
        await until(lambda: questline.owner.fetchval("SELECT EXISTS (SELECT FROM parked_users)"))
        for n in range(1, 4):
            await app.send("step", "ada", {"n": n})
        await until(lambda: questline.owner.fetchval("SELECT count(*) = 4 FROM retries"))
        await poison.heal()
        await until(lambda: questline.owner.fetchval("SELECT NOT EXISTS (SELECT FROM parked_users)"))
    assert await order_of(questline, app, "ada") == in_order(4)


async def test_an_event_that_cannot_even_be_stored_is_kept_as_its_record(questline: Logged) -> None:
    app = await questline.app(TRAIL)
    for n in range(3):
        await app.send("step", "ada", {"n": n}, eventId=str(n))
    await questline.owner.execute("""
        CREATE FUNCTION unstorable() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END $$;
        CREATE TRIGGER unstorable BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.external_id = '1') EXECUTE FUNCTION unstorable()""")
    before = await kafka_offsets.rejects(questline.owner, questline.topic.name)
    await questline.settle()
    await questline.owner.execute("DROP TRIGGER unstorable ON events; DROP FUNCTION unstorable")
    assert await statuses(app) == {"0": "processed PROCESSED", "2": "processed PROCESSED"}
    assert await kafka_offsets.rejects(questline.owner, questline.topic.name) == before + 1


async def test_the_lag_and_the_doctor_tell_what_waits_in_the_log(questline: Logged) -> None:
    app = await questline.app(TRAIL)
    await questline.settle()
    for n in range(3):
        await app.send("step", "ada", {"n": n})
    found = await lag.measure(questline.settings)
    assert (found.logged, found.queued, found.replicas, found.is_settled) == (3, 0, 1, False)
    told = {finding.text: finding.state for finding in await examine(questline.settings)}
    assert told["3 records wait in Kafka's log"] == "good"
    left = await examine(msgspec.structs.replace(questline.settings, transport="postgres"))
    assert "wrong" in {finding.state for finding in left if "3 records wait in Kafka's log" in finding.text}
    away = await examine(msgspec.structs.replace(questline.settings, kafka_topic="nowhere"))
    assert "wrong" in {finding.state for finding in away if "there is no topic 'nowhere'" in finding.text}
    await questline.settle()
    assert (await lag.measure(questline.settings)).is_settled


def _fields(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}
