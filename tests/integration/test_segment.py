"""Segment's own clients, as they come from their registries, pointed at Questline; what they repeat counts once."""

import asyncio
import base64
import gzip
import json
from functools import partial
from typing import Any

import httpx
import pytest
from conftest_api import App, Instance
from conftest_served import NODE, losing, node, served
from segment.analytics import Client

from questline.assembly import running_api
from questline.model.limits import SEGMENT_CONTEXT_BYTES_MAX
from questline.model.rates import RateLimits
from questline.settings import Settings

__all__ = ["node"]  # a fixture

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "rules": {
        "sale": {"on": "sale", "award": {"coins": {"field": "amount"}}},
        "gold": {"on": "sale", "when": {"field": "user.plan", "op": "eq", "value": "gold"}, "award": {"coins": 100}},
        "partner": {
            "on": "sale",
            "when": {"field": "event.context.partner", "op": "exists"},
            "award": {"coins": 1_000},
        },
        "page": {"on": ["page", "screen"], "when": {"field": "name", "op": "exists"}, "award": {"coins": 10_000}},
        "group": {"on": "group", "when": {"field": "groupId", "op": "eq", "value": "g-1"}, "award": {"coins": 100_000}},
    },
}
# Answers that a client gets although its request was done: a server's error, and none at all.
LOST = [b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", b""]


def send_with_python(url: str, key: str, packed: bool) -> None:
    client = Client(
        key, host=url, gzip=packed, max_retries=5, upload_interval=0.02, on_error=lambda error, _: errors.append(error)
    )
    errors: list[Any] = []
    client.track(anonymous_id="v", event="sale", properties={"amount": 2})
    client.identify("ada", anonymous_id="v", traits={"plan": "gold", "trial": True})
    client.track("ada", "sale", {"amount": 5}, context={"partner": "blue"})
    client.page("ada", name="Home")
    client.screen("ada", name="Start")
    client.group("ada", "g-1")
    client.alias("v-before", "ada")
    client.shutdown()
    assert errors == []


async def send_with_node(node: str, url: str, key: str) -> None:
    process = await asyncio.create_subprocess_exec(
        node, "send.mjs", url, key, "ada", "v", cwd=NODE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def check(questline: Instance, app: Any) -> None:
    """Each of the seven messages had its effect, and had it once."""
    await questline.drain()
    sales = 2 + 5 + 100 + 1_000  # the visitor's sale came before the plan
    assert await app.balance("ada", "coins") == sales + 2 * 10_000 + 100_000
    assert (await app.profile("ada"))["user"]["attributes"] == {"plan": "gold", "trial": True}
    events = (await app.get("/v1/events")).json()["items"]
    assert sorted(e["type"] for e in events) == ["$profile_update", "alias", "group", "page", "sale", "sale", "screen"]
    assert {(e["userId"], e["status"]) for e in events} == {("ada", "processed")}


@pytest.mark.parametrize("packed", [False, True])
async def test_segments_python_client_repeats_and_nothing_counts_twice(questline: Instance, packed: bool) -> None:
    app = await questline.app(PROGRAM)
    instead = list(LOST)
    async with served(questline.http._transport.app) as port, losing(port, instead) as door:  # type: ignore[attr-defined]
        await asyncio.to_thread(send_with_python, f"http://127.0.0.1:{door}", app.key, packed)
    assert instead == []
    await check(questline, app)


async def test_segments_node_client_repeats_and_nothing_counts_twice(questline: Instance, node: str) -> None:
    app = await questline.app(PROGRAM)
    instead = list(LOST)
    async with served(questline.http._transport.app) as port, losing(port, instead) as door:  # type: ignore[attr-defined]
        await send_with_node(node, f"http://127.0.0.1:{door}", app.key)
    assert instead == []
    await check(questline, app)


KINDS: dict[str, dict[str, Any]] = {
    "track": {"event": "sale"}, "identify": {}, "page": {}, "screen": {}, "group": {"groupId": "g"}, "alias": {"previousId": "p"},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_each_path_takes_its_message_with_the_key_as_basic_user_or_in_the_body(
    questline: Instance, kind: str
) -> None:
    app = await questline.app(PROGRAM)
    made = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    message = KINDS[kind] | {"userId": "ada", "messageId": "m-1"}
    basic = {"Authorization": "Basic " + base64.b64encode(f"{made}:".encode()).decode()}
    sent = [
        await questline.http.post(f"/v1/{kind}", json=message, headers=basic),
        await questline.http.post(f"/{kind}", content=gzip.compress(json.dumps(message).encode()),
                                  headers=basic | {"Content-Encoding": "gzip"}),
        await questline.http.post(f"/v1/{kind[0]}", content=json.dumps(message | {"writeKey": made}),
                                  headers={"Content-Type": "text/plain"}),
    ]  # fmt: skip
    assert [a.status_code for a in sent] == [200] * 3, sent[0].text
    assert [a.json()["status"] for a in sent] == ["accepted", "duplicate", "duplicate"]
    assert {a.json()["eventId"] for a in sent} == {sent[0].json()["eventId"]}


async def test_errors_are_problems_with_a_message_that_segments_clients_read(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    publishable = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    sale = {"event": "purchase", "userId": "ada"}
    sent = {
        "no key": await questline.http.post("/v1/track", json=sale),
        "unknown": await questline.http.post("/v1/track", json=sale | {"writeKey": "sk_live_1"}),
        "trusted": await app.post("/v1/track", json=sale, key=publishable),
        "nobody": await app.post("/v1/track", json={"event": "sale"}),
        "no batch": await app.post("/v1/batch", json={}),
        "too many": await app.post("/v1/batch", json={"batch": [sale] * 1_001}),
    }
    assert {name: (a.status_code, a.json()["message"] == a.json()["detail"]) for name, a in sent.items()} == {
        "no key": (401, True), "unknown": (401, True), "trusted": (403, True), "nobody": (422, True), "no batch": (400, True),
        "too many": (413, True),
    }  # fmt: skip
    mixed = await app.post("/v1/batch", json={"batch": [{"type": "track"} | sale, {"type": "track"}]}, key=publishable)
    assert (mixed.status_code, mixed.json()["success"]) == (200, False)
    assert [r["reason"] for r in mixed.json()["results"]] == ["UNTRUSTED_EVENT_TYPE", "INVALID_ENVELOPE"]


async def test_a_browsers_client_with_a_publishable_key_may_send_and_read_what_became_of_it(
    questline: Instance,
) -> None:
    app = await questline.app(PROGRAM)
    key = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    page = {"Origin": "https://shop.example"}
    asked = await questline.http.options("/v1/t", headers=page | {"Access-Control-Request-Method": "POST"})
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, "*")
    body = json.dumps(visit("v", 1) | {"writeKey": key})
    sent = await questline.http.post("/v1/t", content=body, headers=page | {"Content-Type": "text/plain"})
    assert (sent.status_code, sent.headers["access-control-allow-origin"]) == (200, page["Origin"])


async def test_a_project_may_keep_profiles_from_publishable_keys(questline: Instance) -> None:
    app = await questline.app(PROGRAM, trustedTypes=["$profile_update"])
    key = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    message = {"userId": "ada", "traits": {"plan": "gold"}}
    sent = [await app.post("/v1/identify", json=message, key=one) for one in (key, app.key)]
    assert [a.status_code for a in sent] == [403, 200]


async def test_a_client_that_sends_too_much_is_told_when_to_come_back(questline: Instance, database: Any) -> None:
    app = await questline.app()
    settings = Settings(dsn=database.app_dsn, dev=True, rate_limits_key=RateLimits(ingest=1), rate_limit_seconds=2)
    async with running_api(settings, lambda: 0.0) as limited:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=limited), base_url="http://t") as http:
            batch = {"batch": [visit("v", 1), visit("v", 1)]}
            headers = {"X-API-Key": app.key}
            answers = [await http.post("/v1/batch", json=batch, headers=headers) for _ in range(2)]
    assert [a.status_code for a in answers] == [200, 429]
    assert int(answers[1].headers["retry-after"]) >= 1
    assert answers[1].json()["message"]


# ── visitors


def visit(visitor: str, amount: int, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "sale", "anonymousId": visitor, "properties": {"amount": amount}} | more


async def test_what_a_visitor_did_waits_for_their_name_and_counts_once_they_have_it(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    early = visit("v", 2, messageId="early", timestamp="2026-11-01T10:00:00Z")
    first = [(await app.post("/v1/track", json=early)).json()["status"] for _ in range(2)]
    await app.post("/v1/batch", json={"batch": [visit("v", 4), visit("w", 7)]})
    await questline.drain()
    assert (first, (await app.get("/v1/users/v/profile")).status_code) == (["accepted", "duplicate"], 404)
    await app.post("/v1/identify", json={"userId": "ada", "anonymousId": "v"})
    late = [await app.post("/v1/track", json=body) for body in (visit("v", 8), visit("v", 16, userId="ada"), early)]
    assert [a.json()["status"] for a in late] == ["accepted", "accepted", "duplicate"]
    await questline.drain()
    assert await app.balance("ada", "coins") == 2 + 4 + 8 + 16
    events = (await app.get("/v1/events?userId=ada")).json()["items"]
    assert [e["occurredAt"] for e in events if e["eventId"] is None][-1] == "2026-11-01T10:00:00Z"
    assert (await app.get("/v1/events/early")).json()["context"] == {"anonymousId": "v"}


async def test_who_is_named_first_stays_and_nothing_moves_from_one_user_to_another(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.post(
        "/v1/batch", json={"batch": [visit("v", 2), visit("v", 4, userId="ada"), visit("v", 8, userId="bob")]}
    )
    await app.post("/v1/alias", json={"previousId": "v", "userId": "eve"})
    await app.post("/v1/alias", json={"previousId": "ada", "userId": "eve"})
    await app.post("/v1/track", json=visit("v", 16))
    await questline.drain()
    assert [await app.balance(user, "coins") for user in ("ada", "bob", "eve")] == [2 + 4 + 16, 8, 0]


async def senders(app: App) -> dict[str, dict[str, str]]:
    """The headers of a server, of a page, and of a page where mallory is signed in."""
    page = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    token = (await app.post("/v1/users/mallory/token", json={})).json()["accessToken"]
    return {
        "server": {"X-API-Key": app.key},
        "page": {"X-API-Key": page},
        "token": {"Authorization": f"Bearer {token}"},
    }


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize(
    ("sent_by", "named_by", "mallory", "ada"),
    [
        ("server", "server", 77, 0),
        ("server", "token", 77, 0),
        ("server", "page", 0, 77),
        ("page", "server", 77, 0),
        ("page", "token", 77, 0),
        ("page", "page", 77, 0),
    ],
)
async def test_what_a_server_sent_for_a_visitor_is_nobodys_whom_a_page_names(
    questline: Instance, sent_by: str, named_by: str, mallory: int, ada: int, early: bool
) -> None:
    app = await questline.app(PROGRAM)
    by = await senders(app)
    act = partial(questline.http.post, "/v1/track", json=visit("v", 77, messageId="m"))
    if early:
        await act(headers=by[sent_by])
    await questline.http.post("/v1/alias", json={"previousId": "v", "userId": "mallory"}, headers=by[named_by])
    if not early:
        await act(headers=by[sent_by])
    for user in ("ada", "mallory"):
        await app.post("/v1/identify", json={"userId": user, "anonymousId": "v"})
    again = await act(headers=by[sent_by])
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    await questline.drain()
    assert [await app.balance(user, "coins") for user in ("mallory", "ada")] == [mallory, ada]


async def test_whom_a_page_named_keeps_what_pages_send_when_a_server_names_another(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    by = await senders(app)
    named = {"page": "mallory", "server": "ada"}
    for sender in (None, "page", "server", "page"):
        if sender is not None:
            name = {"userId": named[sender], "anonymousId": "v"}
            await questline.http.post("/v1/identify", json=name, headers=by[sender])
        await questline.http.post("/v1/track", json=visit("v", 1), headers=by["page"])
        await questline.http.post("/v1/track", json=visit("v", 10), headers=by["server"])
    await questline.drain()
    assert [await app.balance(user, "coins") for user in ("mallory", "ada")] == [4, 40]


async def test_what_a_page_sent_for_a_visitor_is_refused_where_only_servers_may_send_it_by_then(
    questline: Instance,
) -> None:
    app = await questline.app(PROGRAM)
    by = await senders(app)
    for sender in ("page", "server"):
        await questline.http.post("/v1/track", json=visit("v", 5, messageId=sender), headers=by[sender])
    await app.put("/v1/program", json=PROGRAM | {"eventTypes": {"sale": {"trusted": True}}})
    await app.post("/v1/identify", json={"userId": "ada", "anonymousId": "v"})
    await questline.drain()
    found = [(await app.get(f"/v1/events/{name}")).json() for name in ("page", "server")]
    assert [(e["status"], e["reason"], e["sentWith"]) for e in found] == [
        ("refused", "UNTRUSTED_EVENT_TYPE", "publishable"),
        ("processed", "PROCESSED", None),
    ]
    assert await app.balance("ada", "coins") == 5


async def test_what_waited_before_it_was_kept_who_sent_it_goes_to_whoever_is_named(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    by = await senders(app)
    await app.post("/v1/track", json=visit("v", 5))
    await questline.owner.execute("UPDATE anonymous_events SET sent_with = DEFAULT")
    await questline.http.post("/v1/alias", json={"previousId": "v", "userId": "mallory"}, headers=by["page"])
    await questline.drain()
    assert await app.balance("mallory", "coins") == 5


async def test_a_visitor_who_is_named_while_they_act_loses_nothing(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    acts = [app.post("/v1/track", json=visit("v", 1, messageId=f"m{n}")) for n in range(40)]
    names = [app.post("/v1/identify", json={"userId": "ada", "anonymousId": "v"}) for _ in range(3)]
    answers = await asyncio.gather(*acts[:20], *names, *acts[20:])
    assert {a.status_code for a in answers} == {200}
    await questline.drain()
    assert await app.balance("ada", "coins") == 40


async def test_a_visitor_of_one_project_is_nobody_in_another(questline: Instance) -> None:
    mine, other = await questline.app(PROGRAM), await questline.app(PROGRAM)
    await mine.post("/v1/track", json=visit("v", 2))
    await other.post("/v1/track", json=visit("v", 4, userId="ada"))
    await questline.drain()
    assert await other.balance("ada", "coins") == 4
    assert (await mine.get("/v1/users/ada/profile")).status_code == 404


@pytest.mark.parametrize(
    ("messages", "context", "status"),
    [
        (200, {"app": "x" * 8_000}, 200),
        (2, {"app": "x" * (SEGMENT_CONTEXT_BYTES_MAX - 11)}, 200),
        (2, {"app": "x" * SEGMENT_CONTEXT_BYTES_MAX}, 413),
        (1_000, {"app": "x" * 9_000}, 413),
        (0, {"app": "x" * SEGMENT_CONTEXT_BYTES_MAX}, 413),
    ],
)
async def test_a_batchs_context_is_bounded_because_each_message_is_stored_with_it(
    questline: Instance, messages: int, context: dict[str, Any], status: int
) -> None:
    app = await questline.app()
    batch = [{"type": "track", "event": "x", "userId": f"u{n}"} for n in range(messages)]
    packed = gzip.compress(json.dumps({"batch": batch, "context": context}).encode())
    answer = await app.post("/v1/batch", content=packed, headers={"content-encoding": "gzip"})
    assert answer.status_code == status, answer.text
    if status == 413:
        assert (answer.json()["code"], "bytes" in answer.json()["message"]) == ("payload-too-large", True)
    stored = await questline.owner.fetchval(
        "SELECT count(*) FROM events JOIN projects p ON p.id = project_id WHERE p.app_id = $1", app.app_id
    )
    assert stored == (messages if status == 200 else 0)
