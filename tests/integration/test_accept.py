"""Accepting events: every alias, every kind of duplicate, every limit, one answer an item."""

import gzip
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from conftest_api import PROGRAM, App, Instance

from questline.api.hot import stream
from questline.ingest.envelope import Normaliser
from questline.model.event import AcceptedEvent, Nonce
from questline.model.limits import ACCEPT_LANE_EVENTS_MIN, STREAM_GROUP_EVENTS, STREAM_REJECTED_MAX
from questline.model.principal import Project
from questline.store import accept, commands, logged
from questline.store.ids import EventIds

USER = {"userId": "ada"}


@pytest.mark.parametrize(
    "body",
    [
        {"type": "t", "userId": "u", "payload": {"a": 1}, "occurredAt": "2026-01-05T12:00:00Z"},
        {"eventType": "t", "subject": "u", "metadata": {"a": 1}, "timestamp": "2026-01-05T13:00:00+01:00"},
        {"event": "t", "entityId": "u", "properties": {"a": 1}, "time": 1767614400000},
        {"event": "t", "userId": "u", "traits": {"a": 1}, "timestamp": "1767614400000"},
        {"type": "t", "userId": "u", "data": {"a": 1}, "occurredAt": "2026-01-05T12:00:00.000000000Z"},
    ],
)
async def test_every_alias_means_the_same_event(questline: Instance, body: dict[str, Any]) -> None:
    app = await questline.app()
    sent = (await app.post("/v1/events", json=body)).json()
    event = (await app.get(f"/v1/events/{sent['eventId']}")).json()
    assert {k: event[k] for k in ("type", "userId", "payload", "occurredAt", "status")} == {
        "type": "t", "userId": "u", "payload": {"a": 1}, "occurredAt": "2026-01-05T12:00:00Z", "status": "pending",
    }  # fmt: skip


async def test_a_duplicate_is_answered_with_the_original_and_other_content_with_409(questline: Instance) -> None:
    app = await questline.app()
    first = await app.send("t", "u", {"a": 1}, eventId="e:1")
    again = await app.send("t", "u", {"a": 1}, eventId="e:1")
    other = await app.send("t", "u", {"a": 2}, eventId="e:1")
    assert (first.status_code, first.json()["duplicate"]) == (202, False)
    assert again.json() == {**first.json(), "duplicate": True}
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")


@pytest.mark.parametrize("key", ["a:b", "ключ", "日本", "a b/c?d#e", "🎉", "e" * 512])
async def test_any_text_is_a_key(questline: Instance, key: str) -> None:
    app = await questline.app()
    assert (await app.send("t", "u", idempotencyKey=key)).json()["idempotencyKey"] == key
    assert (await app.send("t", "u", idempotencyKey=key)).json()["duplicate"] is True


async def test_an_event_is_found_by_our_id_the_customers_and_its_key(questline: Instance) -> None:
    app = await questline.app()
    id_ = (await app.send("t", "u", eventId="mine", idempotencyKey="k:1")).json()["eventId"]
    for name in (id_, "mine", "k:1"):
        assert (await app.get(f"/v1/events/{name}")).json()["id"] == id_


async def in_turn(app: App, events: list[dict[str, Any]]) -> list[str]:
    return [_answered(await app.post("/v1/events", json=event)) for event in events]


async def in_a_batch(app: App, events: list[dict[str, Any]]) -> list[str]:
    answer = await app.post("/v1/events/batch", json=events)
    return [result["status"] for result in answer.json()["results"]]


async def in_a_batch_of_two_lanes(app: App, events: list[dict[str, Any]]) -> list[str]:
    others = [{"type": "other", "userId": f"other-{n}"} for n in range(ACCEPT_LANE_EVENTS_MIN)]
    return (await in_a_batch(app, [*events, *others]))[: len(events)]


async def in_a_stream(app: App, events: list[dict[str, Any]]) -> list[str]:
    lines = "\n".join(json.dumps(event) for event in events)
    answer = await app.post("/v1/ingest/stream", content=lines, headers={"content-type": "application/x-ndjson"})
    return [json.loads(line)["status"] for line in answer.text.splitlines()[:-1]]


def _answered(answer: httpx.Response) -> str:
    if answer.status_code == 409:
        return "rejected"
    return "duplicate" if answer.json()["duplicate"] else "accepted"


@pytest.mark.parametrize("send", [in_turn, in_a_batch, in_a_batch_of_two_lanes, in_a_stream])
async def test_an_event_that_is_sent_under_two_names_counts_once_however_it_is_grouped(
    questline: Instance, send: Callable[[App, list[dict[str, Any]]], Awaitable[list[str]]]
) -> None:
    app = await questline.app(PROGRAM)
    sent = [
        ("ada", "e1", "k1", "accepted"),
        ("ada", "e1", None, "duplicate"),
        ("ada", "e1", None, "duplicate"),
        ("ada", "e2", None, "accepted"),
        ("ada", "e2", "k2", "accepted"),  # a key of its own: it is another event, and its id is taken
        ("ada", "e3", "k3", "accepted"),
        ("bob", "e3", None, "rejected"),
        ("cyd", "e3", None, "rejected"),
        ("dan", "e3", None, "rejected"),
    ]
    events = [
        {"type": "task", "userId": user, "eventId": id_} | ({"idempotencyKey": key} if key else {})
        for user, id_, key, _ in sent
    ]
    assert await send(app, events) == [status for *_, status in sent]
    await questline.drain()
    assert await app.balance("ada", "XP") == 4 * 40
    listed = (await app.get("/v1/events?type=task")).json()["items"]
    assert sorted(event["userId"] for event in listed) == ["ada"] * 4


async def signed(conn: Any, events: list[AcceptedEvent]) -> set[UUID]:
    nonces = [Nonce(e.project_id, e.id.bytes, e.received_at) for e in events]
    events = [msgspec.structs.replace(e, nonce=nonce) for e, nonce in zip(events, nonces, strict=True)]
    new, burnt = await accept.accept_signed(conn, events, nonces)
    assert len(burnt) == len(events)
    return new


@pytest.mark.parametrize("store", [accept.accept, signed, commands.accept, logged.store])
async def test_events_that_arrive_together_and_share_a_name_are_stored_as_those_that_come_one_by_one(
    questline: Instance, store: Callable[[Any, list[AcceptedEvent]], Awaitable[set[UUID]]]
) -> None:
    app = await questline.app()
    id_ = await questline.owner.fetchval("SELECT id FROM projects WHERE app_id = $1", app.app_id)
    project = Project(id_, 1, app.app_id, app.app_id, "UTC", 0)
    normaliser = Normaliser(EventIds().new, lambda: datetime.now(UTC), 300)
    names = [{"eventId": "e", "idempotencyKey": "k"}, {"eventId": "e"}, {"eventId": "f"}]
    read = [normaliser.from_json(msgspec.json.encode({"type": "t", **USER, **name}), project) for name in names]
    events = [event for event in read if isinstance(event, AcceptedEvent)]
    async with questline.owner.transaction():
        new = await store(questline.owner, events)
    assert [event.id in new for event in events] == [True, False, True]


async def test_the_header_key_counts_over_the_body(questline: Instance) -> None:
    app = await questline.app()
    first = await app.send("t", "u", eventId="a", headers={"Idempotency-Key": "h"})
    second = await app.send("t", "u", eventId="b", headers={"X-Idempotency-Key": "h"})
    assert second.json()["eventId"] == first.json()["eventId"]


async def test_without_a_key_equal_events_at_different_times_are_two(questline: Instance) -> None:
    app = await questline.app()
    same = [await app.send("t", "u", {"a": 1}, occurredAt="2026-01-05T12:00:00Z") for _ in range(2)]
    later = await app.send("t", "u", {"a": 1}, occurredAt="2026-01-05T12:00:01Z")
    unstamped = [await app.send("t", "u", {"a": 1}) for _ in range(2)]
    assert [r.json()["duplicate"] for r in (*same, later, *unstamped)] == [False, True, False, False, False]


async def test_by_intent_equal_events_merge_within_the_window_whatever_their_time(questline: Instance) -> None:
    app = await questline.app(dedupeStrategy="intent", intentWindowSeconds=3600)
    answers = [
        await app.send("t", "u", {"a": 1, "b": 2}, occurredAt="2026-01-05T12:00:00Z"),
        await app.send("t", "u", {"b": 2, "a": 1}, occurredAt="2026-01-05T12:30:00Z"),
        await app.send("t", "u", {"a": 1, "b": 3}),
        await app.send("t", "v", {"a": 1, "b": 2}),
    ]
    assert [a.json()["duplicate"] for a in answers] == [False, True, False, False]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid-envelope"),
        (b"[]", 400, "invalid-envelope"),
        (b'{"type":"t"}', 422, "invalid-envelope"),
        (b'{"userId":"u"}', 422, "invalid-envelope"),
        (b'{"type":"","userId":"u"}', 422, "invalid-envelope"),
        (b'{"type":"$spend","userId":"u"}', 422, "invalid-envelope"),
        (b'{"type":"t","userId":5}', 422, "invalid-envelope"),
        (b'{"type":"t","userId":"u","payload":[]}', 422, "invalid-envelope"),
        (b'{"type":"t","userId":"u\\u0000"}', 422, "invalid-envelope"),
        (b'{"type":"t","userId":"u","occurredAt":"yesterday"}', 422, "invalid-envelope"),
        (b'{"type":"t","userId":"u","occurredAt":"2026-01-05T12:00:00"}', 422, "invalid-envelope"),
        (b'{"type":"t","userId":"u","occurredAt":1e300}', 422, "invalid-envelope"),
        (b'{"type":"t","userId":"u","occurredAt":"2999-01-01T00:00:00Z"}', 422, "event-in-future"),
        (b'{"type":"t","userId":"u","payload":{"a":' + b"[" * 40 + b"]" * 40 + b"}}", 422, "invalid-envelope"),
        (b'{"type":"t","userId":"u","payload":{"a":"\xff"}}', 400, "invalid-envelope"),
        (b'{"type":"t","userId":"u","payload":{"a":"' + b"x" * 300_000 + b'"}}', 413, "payload-too-large"),
    ],
)
async def test_a_bad_event_gets_a_clear_problem(questline: Instance, body: bytes, status: int, code: str) -> None:
    app = await questline.app()
    answer = await app.post("/v1/events", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_payload_is_kept_as_it_was_sent(questline: Instance) -> None:
    app = await questline.app()
    payload = {"nul": "\0", "big": 123456789012345678901234567890, "f": 0.1, "deep": {"a": [1, {"b": None}]}, "ü": "日"}
    id_ = (await app.send("t", "u", payload)).json()["eventId"]
    assert (await app.get(f"/v1/events/{id_}")).json()["payload"] == payload


async def test_a_batch_answers_for_each_item_and_one_bad_item_stops_no_other(questline: Instance) -> None:
    app = await questline.app()
    items = [{"type": "t", **USER, "eventId": "1"}, {"type": 5}, {"type": "t", **USER, "eventId": "1"},
             {"type": "u", **USER, "eventId": "1"}, {"type": "t", **USER, "payload": {"x": "y" * 300_000}}]  # fmt: skip
    answer = await app.post("/v1/events/batch", json={"events": items})
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["duplicate"], body["rejected"]) == (202, 1, 1, 3)
    assert [(r["index"], r["status"], r.get("reason")) for r in body["results"]] == [
        (0, "accepted", None), (1, "rejected", "INVALID_ENVELOPE"), (2, "duplicate", None),
        (3, "rejected", "IDEMPOTENCY_KEY_REUSED"), (4, "rejected", "PAYLOAD_TOO_LARGE"),
    ]  # fmt: skip


async def test_a_batch_over_its_limit_is_refused_whole(questline: Instance) -> None:
    app = await questline.app()
    answer = await app.post("/v1/events/batch", json=[{"type": "t", **USER}] * 1001)
    assert (answer.status_code, answer.json()["code"]) == (413, "batch-too-large")


async def test_track_takes_one_or_many(questline: Instance) -> None:
    app = await questline.app()
    one = await app.post("/v1/events/track", json={"event": "t", **USER})
    many = await app.post("/v1/events/track", json={"events": [{"event": "t", **USER}] * 2})
    assert (one.json()["status"], many.json()["accepted"]) == ("accepted", 2)


@pytest.mark.parametrize("packed", [False, True])
async def test_a_stream_is_answered_line_by_line(questline: Instance, packed: bool) -> None:
    app = await questline.app()
    lines = [json.dumps({"type": "t", "userId": f"u{n}", "eventId": str(n)}) for n in range(2_500)]
    lines[7] = "nonsense"
    lines[8] = ""
    lines[9] = '{"type":"t","userId":"u","payload":{"x":"' + "y" * 300_000 + '"}}'
    content = "\n".join(lines).encode()
    headers = {"Content-Encoding": "gzip"} if packed else {}
    answer = await app.post("/v1/ingest/stream", content=gzip.compress(content) if packed else content, headers=headers)
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert results.pop() == {"summary": {"accepted": 2_497, "duplicate": 0, "rejected": 2}}
    rejected = {r["line"]: r["reason"] for r in results if r["status"] == "rejected"}
    assert rejected == {8: "INVALID_ENVELOPE", 10: "PAYLOAD_TOO_LARGE"}
    again = await app.post("/v1/ingest/stream?results=errors", content=content)
    assert json.loads(again.text.splitlines()[-1]) == {"summary": {"accepted": 0, "duplicate": 2_497, "rejected": 2}}


async def test_a_stream_over_its_limit_stops_and_says_what_was_stored(questline: Instance) -> None:
    app = await questline.app()
    line = json.dumps({"type": "t", "userId": "u", "payload": {"x": "y" * 200_000}}) + "\n"

    async def endless() -> Any:
        for n in range(800):
            yield line.replace('"u"', f'"u{n}"').encode()

    answer = await app.post("/v1/ingest/stream", content=endless())
    last = answer.json()
    assert (answer.status_code, last["code"]) == (413, "payload-too-large")
    assert answer.headers["content-type"] == "application/problem+json"
    assert last["lines"] == len(last["results"]) == last["results"][-1]["line"]
    stored = await questline.owner.fetchval(
        "SELECT count(*) FROM events e JOIN projects p ON p.id = e.project_id WHERE p.app_id = $1", app.app_id
    )
    assert stored == last["summary"]["accepted"] > 0


async def test_a_gzip_bomb_is_stopped_at_the_limit(questline: Instance) -> None:
    app = await questline.app()
    bomb = gzip.compress(b" " * 200_000_000)
    answer = await app.post("/v1/ingest/stream", content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    single = await app.post("/v1/events", content=bomb, headers={"Content-Encoding": "gzip"})
    assert single.status_code == 413


async def test_a_client_that_goes_away_keeps_what_was_stored_and_may_send_all_again(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    lines = [
        json.dumps({"type": "task", "userId": f"u{n % 7}", "eventId": str(n)}) + "\n"
        for n in range(2 * STREAM_GROUP_EVENTS)
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            sent.append({})
            return {
                "type": "http.request",
                "body": "".join(lines[: STREAM_GROUP_EVENTS + 1_000]).encode(),
                "more_body": True,
            }
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there to be answered")

    scope = {"type": "http", "method": "POST", "path": "/v1/ingest/stream", "query_string": b"",
             "headers": [(b"x-api-key", app.key.encode())]}  # fmt: skip
    await questline.http._transport.app(scope, receive, send)  # type: ignore[attr-defined]
    answer = await app.post("/v1/ingest/stream?results=errors", content="".join(lines))
    summary = json.loads(answer.text.splitlines()[-1])["summary"]
    assert summary == {"accepted": STREAM_GROUP_EVENTS, "duplicate": STREAM_GROUP_EVENTS, "rejected": 0}
    await questline.drain()
    assert sum([await app.balance(f"u{n}", "XP") for n in range(7)]) == len(lines) * 40


async def test_a_publishable_key_sends_behaviour_and_nothing_that_pays_out(questline: Instance) -> None:
    app = await questline.app()
    made = await app.post("/v1/keys", json={"type": "publishable", "role": "ADMIN"})
    key = made.json()["key"]
    assert key.startswith("pk_live_")
    good = await app.post("/v1/events", json={"type": "viewed", **USER}, key=key)
    bad = await app.post("/v1/events", json={"type": "purchase", **USER}, key=key)
    batch = await app.post("/v1/events/batch", json=[{"type": "purchase", **USER}, {"type": "viewed", **USER}], key=key)
    assert (good.status_code, bad.status_code, bad.json()["code"]) == (202, 403, "untrusted-event-type")
    assert (batch.json()["accepted"], batch.json()["results"][0]["reason"]) == (1, "UNTRUSTED_EVENT_TYPE")
    assert (await app.get("/v1/program", key=key)).status_code == 403


@pytest.mark.parametrize("path", ["/v1/events/batch", "/v1/events/track", "/v1/batch"])
async def test_a_batch_of_millions_of_items_is_refused(questline: Instance, path: str) -> None:
    app = await questline.app()
    items = b"[" + b"0," * 2_000_000 + b"0]"
    body = gzip.compress(b'{"batch":' + items + b"}")
    answer = await app.post(path, content=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"], answer.json()["limit"]) == (413, "batch-too-large", 1_000)
    assert "has more" in answer.json()["detail"]


async def test_a_stream_of_what_are_no_events_stops_and_says_where_to_go_on(questline: Instance) -> None:
    app = await questline.app()
    first = '{"type": "t", "userId": "u", "eventId": "first"}\n'
    body = gzip.compress((first + "0\n" * 1_000_000).encode())
    answer = await app.post("/v1/ingest/stream", content=body, headers={"Content-Encoding": "gzip"})
    told = answer.json()
    assert (answer.status_code, told["code"], told["limit"]) == (422, "too-many-rejected", STREAM_REJECTED_MAX)
    assert told["summary"] == {"accepted": 1, "duplicate": 0, "rejected": told["lines"] - 1}
    assert STREAM_REJECTED_MAX < told["lines"] <= STREAM_REJECTED_MAX + 4 * STREAM_GROUP_EVENTS
    assert [r["line"] for r in told["results"]] == list(range(1, told["lines"] + 1))
    assert len(answer.content) < 20_000_000


async def test_a_stream_stops_where_its_results_are_more_than_an_answer_holds(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAM_RESULT_BYTES_MAX", 1_000_000)
    app = await questline.app()
    lines = [json.dumps({"type": "t", "userId": "u", "eventId": str(n % 5)}) + "\n" for n in range(40_000)]
    answer = await app.post("/v1/ingest/stream", content="".join(lines))
    told = answer.json()
    assert (answer.status_code, told["code"]) == (413, "too-many-results")
    assert 5_000 < told["lines"] < 30_000
    rest = await app.post("/v1/ingest/stream?results=errors", content="".join(lines[told["lines"] :]))
    assert json.loads(rest.text)["summary"] == {"accepted": 0, "duplicate": 40_000 - told["lines"], "rejected": 0}
