"""The event catalogue from outside: what violates it is kept and can be mended, and types are for whom they are for."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from conftest_api import App, Instance, questline, until

from questline.model.event import WaitingEvent
from questline.model.limits import SEEN_TYPES_AT_ONCE, SEEN_TYPES_LISTED
from questline.processing.seen import SeenTypes
from questline.store import event_types
from questline.store.pool import connect

__all__ = ["questline"]

Json = dict[str, Any]
COINS: Json = {"coins": {"kind": "currency"}}
RULES: Json = {"order": {"on": "order", "award": {"coins": {"field": "amount"}}}}
STRICT: Json = {"schema": {"required": ["amount"], "properties": {"amount": {"type": "integer"}}}}


def program(**more: Any) -> Json:
    return {"currencies": COINS, "rules": RULES, **more}


async def event(app: App, id_: str) -> Json:
    answer = await app.get(f"/v1/events/{id_}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def key_of(app: App, type_: str = "publishable") -> str:
    return (await app.post("/v1/keys", json={"type": type_})).json()["key"]


async def test_an_event_that_violates_its_schema_is_kept_as_failed_with_the_path_and_stops_no_other(
    questline: Instance,
) -> None:
    app = await questline.app(program(eventTypes={"order": STRICT}))
    bad = (await app.send("order", "ada", {"amount": "ada@example.org"})).json()["eventId"]
    await app.send("order", "ada", {"amount": 5})
    await questline.drain()
    found = await event(app, bad)
    told = (found["status"], found["reason"], found["message"], found["payload"], found["decision"])
    message = 'payload.amount: the value is not of type "integer"'
    assert told == ("failed", "SCHEMA_VIOLATION", message, {"amount": "ada@example.org"}, None)
    assert [(a["number"], a["status"], a["reason"]) for a in found["attempts"]] == [(1, "failed", "SCHEMA_VIOLATION")]
    assert await app.balance("ada", "coins") == 5


async def test_a_waited_event_that_violates_its_schema_is_answered_so_and_again_under_its_key(
    questline: Instance,
) -> None:
    app = await questline.app(program(eventTypes={"order": STRICT}))
    answers = [
        (await app.send("order", "ada", {}, eventId="order-1", headers={"Prefer": "wait=5"})).json() for _ in range(2)
    ]
    told = [(a["status"], a["reason"], a["message"], a["duplicate"]) for a in answers]
    message = 'payload: "amount" is a required property'
    assert told == [("failed", "SCHEMA_VIOLATION", message, again) for again in (False, True)]


async def test_a_violation_is_mended_by_a_newer_catalogue_and_a_retry_as_the_how_to_says(questline: Instance) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/event-schemas.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    app = await questline.app()
    yaml = {"Content-Type": "application/yaml"}
    assert (await app.put("/v1/program", content=first, headers=yaml)).status_code == 200
    sent = (await app.send("lesson.finished", "ada", {"lesson": "a", "seconds": 90})).json()["eventId"]
    await questline.drain()
    before = await event(app, sent)
    assert (await app.put("/v1/program", content=second, headers=yaml)).status_code == 200
    retried = await app.post("/v1/admin/dlq/retry", json={"reasonCode": "SCHEMA_VIOLATION"})
    async with questline.worker():
        await until(lambda: is_processed(app, sent))
    after = await event(app, sent)
    assert (before["reason"], retried.json()["done"]) == ("SCHEMA_VIOLATION", 1)
    assert (after["decision"]["programVersion"], await app.balance("ada", "coins")) == (2, 2)


async def is_processed(app: App, id_: str) -> bool:
    return (await event(app, id_))["status"] == "processed"


async def test_an_old_payload_is_upcast_for_the_rules_and_the_explanation_and_stays_as_it_was_sent(
    questline: Instance,
) -> None:
    steps = [{"op": "move", "from": "total", "to": "amount"}]
    versions = {"1": {"upcast": {"to": "2", "steps": steps}}, "2": STRICT}
    rules = {"order": {**RULES["order"], "when": {"field": "amount", "op": "gt", "value": 4}}}
    app = await questline.app(
        program(rules=rules, eventTypes={"order": {"version": "2", "unversioned": "1", "versions": versions}})
    )
    sent = [
        await app.send("order", "ada", {"total": 5}),
        await app.send("order", "ada", {"total": 6}, schemaVersion=1),
        await app.send("order", "ada", {"amount": 7}, schemaVersion="2"),
    ]
    await questline.drain()
    assert await app.balance("ada", "coins") == 18
    found = await event(app, sent[0].json()["eventId"])
    assert (found["payload"], found["decision"]["explanation"][0]["fired"]) == ({"total": 5}, True)


async def test_a_type_for_servers_is_refused_with_a_publishable_key_by_every_way_in(questline: Instance) -> None:
    app = await questline.app(program(eventTypes={"order": {"trusted": True}}))
    key = await key_of(app)
    one = await app.send("purchase", "ada", headers={"X-API-Key": key})
    marked = await app.send("order", "ada", headers={"X-API-Key": key})
    body = [{"type": t, "userId": "ada"} for t in ("order", "viewed", "quest.completed")]
    batch = await app.post("/v1/events/batch", key=key, json={"events": body})
    lines = "\n".join(json.dumps(item) for item in body)
    stream = await app.post("/v1/ingest/stream", key=key, content=lines)
    assert [(a.status_code, a.json()["code"]) for a in (one, marked)] == [(403, "untrusted-event-type")] * 2
    results = [r.get("reason") for r in batch.json()["results"]]
    assert results == ["UNTRUSTED_EVENT_TYPE", None, "UNTRUSTED_EVENT_TYPE"]
    assert [r in line for r, line in zip(("UNTRUSTED", "accepted", "UNTRUSTED"), stream.text.splitlines(), strict=False)] == [True] * 3  # fmt: skip
    assert (await app.send("order", "ada")).status_code == 202


async def test_what_was_marked_after_it_was_accepted_is_refused_when_it_is_applied(questline: Instance) -> None:
    app = await questline.app(program())
    key = await key_of(app)
    by_browser = (await app.send("order", "ada", {"amount": 5}, headers={"X-API-Key": key})).json()["eventId"]
    by_server = (await app.send("order", "ada", {"amount": 7})).json()["eventId"]
    assert (await app.put("/v1/program", json=program(eventTypes={"order": {"trusted": True}}))).status_code == 200
    await questline.drain()
    found = [await event(app, id_) for id_ in (by_browser, by_server)]
    assert [(e["status"], e["reason"], e["sentWith"]) for e in found] == [
        ("refused", "UNTRUSTED_EVENT_TYPE", "publishable"),
        ("processed", "PROCESSED", None),
    ]
    assert await app.balance("ada", "coins") == 7


async def test_types_that_the_settings_of_a_project_name_are_for_servers_too(questline: Instance) -> None:
    app = await questline.app(program(), trustedTypes=["order"])
    key = await key_of(app)
    assert (await app.send("order", "ada", headers={"X-API-Key": key})).status_code == 403
    # As an edge would have stored it that did not know of the setting yet.
    sent = (await app.send("viewed", "ada", {"amount": 5}, headers={"X-API-Key": key})).json()["eventId"]
    await questline.drain()
    assert (await event(app, sent))["status"] == "processed"


async def test_a_project_may_refuse_types_that_its_program_does_not_name(questline: Instance) -> None:
    app = await questline.app(program(unknownEventTypes="refuse", eventTypes={"viewed": {}}))
    answers = [await app.send(type_, "ada", {"amount": 1}) for type_ in ("order", "viewed", "check_in", "odrer")]
    assert [a.status_code for a in answers] == [202, 202, 202, 422]
    assert (answers[3].json()["code"], answers[3].json()["field"]) == ("unknown-event-type", "type")
    batch = await app.post("/v1/events/batch", json={"events": [{"type": "odrer", "userId": "ada"}]})
    assert batch.json()["results"][0]["reason"] == "UNKNOWN_EVENT_TYPE"
    assert (await app.put("/v1/program", json=program())).status_code == 200
    assert (await app.send("odrer", "ada")).status_code == 202


async def test_types_that_came_are_listed_with_counts_and_samples_beside_those_declared(questline: Instance) -> None:
    app = await questline.app(program(eventTypes={"order": {"title": "An order", "trusted": True}, "viewed": {}}))
    for amount in (1, 2):
        await app.send("order", "ada", {"amount": amount}, schemaVersion="1")
    await app.send("never.declared", "bob", {"big": "x" * 5_000})
    await app.send("waited", "bob", {"n": 1}, headers={"Prefer": "wait=5"})
    await app.post("/v1/users", json={"id": "ada"})
    await questline.drain()
    await until(lambda: is_listed(app, "order", "never.declared", "waited"))
    first = (await app.get("/v1/event-types?limit=2")).json()
    rest = (await app.get(f"/v1/event-types?cursor={first['nextCursor']}")).json()
    items = {item["type"]: item for item in first["items"] + rest["items"]}
    assert [(name, i["declared"], i["events"]) for name, i in items.items()] == [
        ("never.declared", False, 1), ("order", True, 2), ("viewed", True, 0), ("waited", False, 1),
    ]  # fmt: skip
    assert (items["never.declared"]["sample"]["payload"], items["viewed"]["sample"]) == (None, None)
    one = (await app.get("/v1/event-types/order")).json()
    assert (one["trusted"], one["programVersion"], one["definition"]["title"]) == (True, 1, "An order")
    assert [(s["payload"], s["schemaVersion"]) for s in one["samples"]] == [({"amount": 2}, "1"), ({"amount": 1}, "1")]
    assert one["firstSeenAt"] <= one["lastSeenAt"]
    assert (await app.get("/v1/event-types/none")).status_code == 404


async def is_listed(app: App, *types: str) -> bool:
    """Whether all of these were applied, and that was written down."""
    found = {item["type"]: item["events"] for item in (await app.get("/v1/event-types")).json()["items"]}
    return all(found.get(type_) for type_ in types)


async def test_a_type_is_defined_inferred_and_removed_over_rest_as_a_part_of_the_program(questline: Instance) -> None:
    app = await questline.app(program())
    for amount, more in ((1, {"note": "x"}), (2.5, {})):
        await app.send("order", "ada", {"amount": amount, **more})
    await questline.drain()
    await until(lambda: is_listed(app, "order"))
    inferred = (await app.post("/v1/event-types/order/infer", json={})).json()
    schema = {
        "type": "object",
        "required": ["amount"],
        "properties": {"amount": {"type": "number"}, "note": {"type": "string"}},
    }
    assert (inferred["samples"], inferred["schema"]) == (2, schema)
    other = await app.post("/v1/event-types/order/infer", json={"schemaVersion": "7"})
    stale = await app.put("/v1/event-types/order", json={"schema": schema}, headers={"If-Match": '"9"'})
    made = await app.put("/v1/event-types/order", json={"schema": schema}, headers={"If-Match": '"1"'})
    wrong = await app.put("/v1/event-types/order", json={"schema": {"propertes": {}}})
    gone = [(await app.request("DELETE", f"/v1/event-types/{type_}")).status_code for type_ in ("order", "none")]
    assert [a.status_code for a in (other, stale, made, wrong)] == [404, 412, 200, 422]
    assert (made.json()["version"], gone) == (2, [204, 404])
    assert wrong.json()["errors"][0]["path"] == "eventTypes.order.schema"


async def test_a_project_that_makes_types_of_ids_fills_neither_the_list_nor_the_memory(questline: Instance) -> None:
    app = await questline.app(program())
    project = await questline.owner.fetchval("SELECT id FROM projects WHERE app_id = $1", app.app_id)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    seen = SeenTypes()
    event = WaitingEvent(UUID(int=1), project, "", "ada", "{}", at, at, None, None, 0, 0, 0)
    seen.note(msgspec.structs.replace(event, type=f"type-{n}") for n in range(SEEN_TYPES_AT_ONCE + 5))
    counted = seen.take()
    assert (len(counted), seen.take()) == (SEEN_TYPES_AT_ONCE, {})
    keys = list(counted)
    conn = await connect(questline.settings.dsn)
    for part in (keys[:SEEN_TYPES_LISTED], keys[SEEN_TYPES_LISTED:], keys[:1]):
        await event_types.add(conn, {key: counted[key] for key in part})
    await conn.close()
    rows = await questline.owner.fetch("SELECT type, events FROM event_types WHERE project_id = $1", project)
    assert (len(rows), {row["type"]: row["events"] for row in rows}["type-0"]) == (SEEN_TYPES_LISTED, 2)


async def test_a_publishable_key_reads_nothing_and_commands_nothing(questline: Instance) -> None:
    app = await questline.app(program())
    key = await key_of(app)
    document = (await questline.http.get("/openapi.json")).json()
    answered = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if "x-roles" in operation and operation["x-scope"] != "events:write":
                given = re.sub(r"\{\w+\}", "1", path)
                answer = await app.request(method.upper(), given, key=key, json={})
                answered[operation["operationId"]] = answer.status_code
    assert len(answered) > 100
    assert {operation: status for operation, status in answered.items() if status != 403} == {}
