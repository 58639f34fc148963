"""Every way in carries the same events: XML, CloudEvents, tenant headers; the context they bring can be read in rules."""

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cloudevents.core.bindings import http as binding
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from conftest_api import App, Instance

from questline.assembly import running_api
from questline.model.limits import STREAM_GROUP_EVENTS
from questline.settings import Settings

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {
        "sale": {"on": "sale", "award": {"coins": {"field": "amount"}}},
        "partner": {
            "on": "sale",
            "when": {"field": "event.context.partner", "op": "eq", "value": "blue"},
            "award": {"coins": 1_000},
        },
    },
}
AT = datetime(2026, 11, 21, tzinfo=UTC)
XML = {"Content-Type": "application/xml"}


def results_of(answer: httpx.Response) -> tuple[list[dict[str, Any]], dict[str, int]]:
    *results, last = [json.loads(line) for line in answer.text.splitlines()]
    return results, last["summary"]


# ── XML


@pytest.mark.parametrize("packed", [False, True])
async def test_a_stream_of_xml_is_answered_event_by_event(questline: Instance, packed: bool) -> None:
    app = await questline.app(PROGRAM)
    count = STREAM_GROUP_EVENTS + 500
    events = [
        f'<event type="sale" userId="u{n % 5}" eventId="{n}"><payload><amount>{n % 3}</amount></payload></event>'
        for n in range(count)
    ]
    events[7] = "<event type='sale'/>"
    events[8] = "<sale/>"
    events[9] = f"<event type='sale' userId='u'><payload>{'<x>y</x>' * 50_000}</payload></event>"
    content = ("<?xml version='1.0'?>\n<log>\n" + "\n".join(events) + "</log>").encode()
    headers = XML | ({"Content-Encoding": "gzip"} if packed else {})
    answer = await app.post("/v1/ingest/stream", content=gzip.compress(content) if packed else content, headers=headers)
    results, summary = results_of(answer)
    assert summary == {"accepted": count - 3, "duplicate": 0, "rejected": 3}
    rejected = [(r["index"], r["line"], r["reason"]) for r in results if r["status"] == "rejected"]
    assert rejected == [(7, 10, "INVALID_ENVELOPE"), (8, 11, "INVALID_ENVELOPE"), (9, 12, "PAYLOAD_TOO_LARGE")]
    _, again = results_of(await app.post("/v1/ingest/stream?results=errors", content=content, headers=XML))
    assert again == {"accepted": 0, "duplicate": count - 3, "rejected": 3}
    await questline.drain()
    paid = sum([await app.balance(f"u{n}", "coins") for n in range(5)])
    assert paid == sum(n % 3 for n in range(count) if n not in (7, 8, 9))


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("<event></log>", "invalid-xml"), ("", "invalid-xml"), ("<x>" * 200, "unsafe-xml"),
        (f"<event {'x' * 600_000}='1'/></log>", "unsafe-xml"),
    ],
)  # fmt: skip
async def test_xml_that_stops_the_stream_keeps_what_came_before_and_says_so(
    questline: Instance, end: str, code: str
) -> None:
    app = await questline.app(PROGRAM)
    content = f'<log><event type="sale" userId="ada" eventId="1"/><event type="sale" userId="ada" eventId="2"/>{end}'
    answer = await app.post("/v1/ingest/stream", content=content, headers=XML)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, code)
    assert problem["summary"]["accepted"] == len(problem["results"]) == 2
    assert [r["index"] for r in problem["results"]] == [0, 1]


@pytest.mark.parametrize(
    "attack",
    [
        '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l><event type="&b;" userId="u"/></l>',
        '<!DOCTYPE l SYSTEM "file:///etc/passwd"><l/>',
    ],
)
async def test_a_document_type_is_refused_before_anything_is_read(questline: Instance, attack: str) -> None:
    app = await questline.app()
    answer = await app.post("/v1/ingest/stream", content=attack, headers=XML)
    assert (answer.status_code, answer.json()["code"]) == (400, "unsafe-xml")


async def test_a_gzip_bomb_of_xml_is_stopped_at_the_limit(questline: Instance) -> None:
    app = await questline.app()
    bomb = gzip.compress(b"<a>" + b" " * 200_000_000)
    answer = await app.post("/v1/ingest/stream", content=bomb, headers=XML | {"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (413, "payload-too-large")


# ── CloudEvents


def cloud_event(id_: str, user: str = "ada", **more: Any) -> CloudEvent:
    attributes = {"specversion": "1.0", "id": id_, "source": "/shop", "type": "sale", "subject": user,
                  "datacontenttype": "application/json", "time": AT, **more}  # fmt: skip
    return CloudEvent(attributes=attributes, data={"amount": 5})


async def post_message(app: App, message: binding.HTTPMessage, **headers: str) -> httpx.Response:
    return await app.post("/v1/events", content=message.body, headers=message.headers | headers)


async def test_the_official_package_sends_in_each_mode_and_a_repeat_counts_once(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    form = JSONFormat()
    first = await post_message(app, binding.to_binary(cloud_event("1", partner="blue"), form))
    again = await post_message(app, binding.to_structured(cloud_event("1", partner="blue", traceparent="00-9"), form))
    other = await post_message(app, binding.to_structured(cloud_event("1", source="/till"), form), Prefer="wait=5")
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 200)
    assert (first.json()["duplicate"], again.json()["duplicate"], other.json()["duplicate"]) == (False, True, False)
    await questline.drain()
    assert await app.balance("ada", "coins") == 5 + 1_000 + 5
    event = (await app.get(f"/v1/events/{first.json()['eventId']}")).json()
    assert (event["eventId"], event["payload"], event["context"]) == ("1", {"amount": 5}, {"partner": "blue"})
    rules = {found["name"]: found["fired"] for found in event["decision"]["explanation"]}
    assert rules == {"sale": True, "partner": True}


async def test_a_batch_of_cloud_events_has_a_result_for_each(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    events = [json.loads(JSONFormat().write(cloud_event(str(n)))) for n in (1, 2, 2)]
    answer = await app.post(
        "/v1/events",
        content=json.dumps([*events, {"specversion": "1.0"}]),
        headers={"Content-Type": "application/cloudevents-batch+json; charset=utf-8"},
    )
    assert (answer.status_code, [r["status"] for r in answer.json()["results"]]) == (
        202,
        ["accepted", "accepted", "duplicate", "rejected"],
    )
    assert answer.json()["results"][3]["message"].startswith("id: is missing")


async def test_a_cloud_event_that_cannot_be_is_a_problem(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    message = binding.to_binary(cloud_event("1"), JSONFormat())
    bad = await app.post("/v1/events", content=b"{", headers=message.headers)
    old = await post_message(app, message, **{"ce-specversion": "0.3"})
    avro = await app.post("/v1/events", content=b"x", headers={"Content-Type": "application/cloudevents+avro"})
    assert [(a.status_code, a.json()["code"]) for a in (bad, old, avro)] == [
        (400, "invalid-envelope"), (422, "invalid-envelope"), (415, "unsupported-media-type"),
    ]  # fmt: skip


# ── tenant headers


async def test_a_tenant_header_beside_the_key_names_its_project_or_the_request_is_refused(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    body = {"eventType": "sale", "entityId": "ada", "metadata": {"amount": 3}}
    headers = {"X-Idempotency-Key": "till-1", "X-Tenant-Id": app.app_id}
    sent = [await app.post("/events", json=body, headers=headers) for _ in range(2)]
    assert [(a.status_code, a.json()["idempotencyKey"], a.json()["duplicate"]) for a in sent] == [
        (202, "till-1", False), (202, "till-1", True),
    ]  # fmt: skip
    for path, method in (("/v1/events", "POST"), ("/v1/program", "GET")):
        other = await app.request(method, path, json=body, headers={"X-Tenant-Id": "another"})
        assert (other.status_code, other.json()["code"]) == (403, "tenant-mismatch")


async def test_only_tenants_that_are_listed_are_served(questline: Instance, database: Any) -> None:
    listed, other = await questline.app(), await questline.app()
    async with running_api(Settings(dsn=database.app_dsn, dev=True, tenants=f"x, {listed.app_id}")) as api:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://t") as http:
            answers = [
                await http.post("/v1/events", json={"type": "t", "userId": "u"}, headers={"X-API-Key": app.key})
                for app in (listed, other)
            ]
    assert [a.status_code for a in answers] == [202, 403]
    assert answers[1].json()["code"] == "tenant-not-allowed"


# ── profile updates as events


async def test_a_profile_update_is_an_event_in_order_with_the_others(questline: Instance) -> None:
    rules = {"gold": {"on": "sale", "when": {"field": "user.plan", "op": "eq", "value": "gold"}, "award": {"coins": 1}}}
    app = await questline.app({"currencies": PROGRAM["currencies"], "rules": rules})
    sale = {"type": "sale", "userId": "ada"}
    update = {"type": "$profile_update", "userId": "ada", "payload": {"attributes": {"plan": "gold"}}, "eventId": "p"}
    leave = {"type": "$profile_update", "userId": "ada", "payload": {"attributes": {"plan": None, "n": 1}}}
    await app.post("/v1/events/batch", json=[sale, update, sale, update, leave, sale])
    await questline.drain()
    profile = await app.profile("ada")
    assert (profile["user"]["attributes"], await app.balance("ada", "coins")) == ({"n": 1}, 1)
    history = (await app.get("/v1/users/ada/history")).json()["items"]
    assert [h["type"] for h in reversed(history)] == ["sale", "$profile_update", "sale", "$profile_update", "sale"]
