"""Requests under an idempotency key: they take effect once, and are answered as the first time when they are repeated."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from conftest_api import App, Instance, questline
from test_audit import give_login, prepared

from questline.api.app import RESOURCES
from questline.model.limits import KEY_CHARS_MAX, REPLIES_KEPT_SECONDS, STREAM_GROUP_EVENTS
from questline.store import replies

__all__ = ["questline"]

SECRETS_SHOWN = [handler for handler in RESOURCES if handler.opt.get("shows_secret")]
Json = dict[str, Any]
METRIC: Json = {"name": "tasks", "on": "task", "count": True}


async def add(app: App, body: Json = METRIC, key: str = "k-1") -> httpx.Response:
    return await app.post("/v1/metrics", json=body, headers={"Idempotency-Key": key})


async def version(app: App) -> str:
    return (await app.get("/v1/program")).headers["etag"]


async def test_a_repeat_is_answered_as_the_first_request_was_and_changes_nothing(questline: Instance) -> None:
    app = await questline.app()
    first, second = await add(app), await add(app)
    aliased = await app.post("/v1/metrics", json=METRIC, headers={"X-Idempotency-Key": "k-1"})
    assert [(a.status_code, a.content) for a in (second, aliased)] == [(201, first.content)] * 2
    assert [a.headers.get("idempotency-replayed") for a in (first, second)] == [None, "true"]
    assert second.headers["content-type"] == first.headers["content-type"]
    assert await version(app) == '"1"'
    acts = (await app.get("/v1/audit")).json()["items"]
    assert [a["action"] for a in acts].count("program.entry.add") == 1


async def test_a_key_that_is_used_for_another_request_is_refused(questline: Instance) -> None:
    app = await questline.app()
    await add(app)
    others = [
        await add(app, {**METRIC, "name": "other"}),
        await app.post("/v1/metrics?x=1", json=METRIC, headers={"Idempotency-Key": "k-1"}),
        await app.put("/v1/metrics/tasks", json=METRIC, headers={"Idempotency-Key": "k-1"}),
    ]
    assert [(a.status_code, a.json()["code"]) for a in others] == [(409, "idempotency-key-reused")] * 3
    assert (await app.get("/v1/metrics")).json()["items"].keys() == {"tasks"}


async def test_a_request_that_was_refused_leaves_its_key_free(questline: Instance) -> None:
    app = await questline.app()
    wrong = await add(app, {"name": "tasks"})
    right = await add(app)
    again = await add(app)
    assert [a.status_code for a in (wrong, right, again)] == [422, 201, 201]


async def test_of_many_at_once_one_takes_effect_and_the_others_have_its_answer_or_come_too_soon(
    questline: Instance,
) -> None:
    app = await questline.app()
    body = {"type": "secret", "role": "READONLY", "name": "one"}
    answers = await asyncio.gather(
        *(app.put("/v1/program", json={"metrics": {"a": {"on": "e", "count": True}}}, headers={"Idempotency-Key": "p"}) for _ in range(12)),
        *(app.post("/v1/keys", json=body, headers={"Idempotency-Key": "k"}) for _ in range(12)),
    )  # fmt: skip
    programs, keys = answers[:12], answers[12:]
    done = [a for a in programs if a.status_code == 200]
    assert len({a.content for a in done}) == 1
    assert {a.json()["code"] for a in programs if a.status_code != 200} <= {"idempotency-key-in-use"}
    assert await version(app) == '"1"'
    assert [a.status_code for a in keys].count(201) == 1
    listed = (await app.get("/v1/keys")).json()["items"]
    assert [k["name"] for k in listed].count("one") == 1


async def test_what_cannot_leave_its_reply_has_not_happened(questline: Instance) -> None:
    app = await questline.app()
    await questline.owner.execute("ALTER TABLE kept_replies ADD CONSTRAINT broken CHECK (status <> 201) NOT VALID")
    try:
        failed = await add(app)
    finally:
        await questline.owner.execute("ALTER TABLE kept_replies DROP CONSTRAINT broken")
    before = await version(app)
    assert (failed.status_code, before, (await add(app)).status_code) == (500, '"0"', 201)


async def test_a_connection_lost_before_the_commit_leaves_neither_change_nor_reply(questline: Instance) -> None:
    app = await questline.app()
    await questline.owner.execute(
        """CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
           CREATE TRIGGER cut BEFORE INSERT ON kept_replies FOR EACH ROW EXECUTE FUNCTION cut()"""
    )
    try:
        failed = await add(app)
    finally:
        await questline.owner.execute("DROP TRIGGER cut ON kept_replies; DROP FUNCTION cut")
    before = await version(app)
    assert (failed.status_code, before, (await add(app)).status_code) == (503, '"0"', 201)


SHOWN: list[tuple[str, str, Json]] = [
    ("operator", "/v1/apps", {"id": "shown", "name": "Shown"}),
    ("operator", "/v1/organizations/showing/projects", {"id": "shown-there", "name": "Shown"}),
    ("operator", "/v1/organizations/showing/invitations", {"email": "eve@showing.org"}),
    ("operator", "/v1/admin/members/ada@showing.org/password-reset", {}),
    ("key", "/v1/keys", {"role": "INGEST"}),
    ("key", "/v1/keys/{spare}/rotate", {}),
    ("key", "/v1/signing-secrets", {}),
    ("key", "/v1/users/ada/token", {}),
    ("key", "/v1/users/ada/password-reset", {}),
    ("key", "/v1/users/password-reset", {"email": "ada@example.com"}),
]
SECRET = re.compile(rb"[sp]k_live_|ss_live_|q[a-z]{1,2}_\w{32}|eyJ")


async def test_no_reply_that_shows_a_secret_is_stored_and_a_repeat_says_so(questline: Instance) -> None:
    assert len(SHOWN) == len(SECRETS_SHOWN)
    app = await questline.app()
    operator = {"X-Admin-Token": questline.settings.admin_token or ""}
    await app.send("hello", "ada", headers={"Prefer": "wait=10"})
    await give_login(questline, app, "ada")
    await questline.http.post("/v1/organizations", json={"id": "showing", "name": "S"}, headers=operator)
    await questline.owner.execute(
        "INSERT INTO members (id, email, name, password_hash) VALUES (gen_random_uuid(), 'ada@showing.org', 'Ada', '')"
    )
    spare = (await app.post("/v1/keys", json={"role": "INGEST"})).json()["id"]
    for caller, path, body in SHOWN:
        headers = {"Idempotency-Key": f"shown {path}"} | (operator if caller == "operator" else {"X-API-Key": app.key})
        answers = [
            await questline.http.post(path.replace("{spare}", spare), json=body, headers=headers) for _ in range(2)
        ]
        assert [a.status_code for a in answers] == [201, 409], (path, answers[0].text)
        assert SECRET.search(answers[0].content), path
        assert answers[1].json()["code"] == "reply-not-kept"
    kept = [row["body"] for row in await questline.owner.fetch("SELECT body FROM kept_replies")]
    assert len(kept) >= len(SHOWN)
    assert [body for body in kept if body is not None and SECRET.search(body)] == []


async def test_a_reply_that_merely_looks_like_a_secret_is_told_again(questline: Instance) -> None:
    app = await questline.app()
    url = {"webhookUrl": "https://ann:pass@hooks.example/h?tenant=5&token=x"}
    sent = [
        await app.request("PATCH", f"/v1/projects/{app.app_id}", json=url, headers={"Idempotency-Key": "u"})
        for _ in range(2)
    ]
    assert [(a.status_code, a.json()["webhookUrl"]) for a in sent] == [(200, url["webhookUrl"])] * 2
    assert [a.headers.get("idempotency-replayed") for a in sent] == [None, "true"]
    hint = {"title": "apiToken", "description": "eyJhbGciOi.eyJzdWIi.x", "schema": {"required": ["token"]}}
    sent = [await app.put("/v1/event-types/t", json=hint, headers={"Idempotency-Key": "t"}) for _ in range(2)]
    assert [a.content for a in sent] == [sent[0].content] * 2


async def test_keys_of_two_callers_never_meet_and_a_revoked_caller_is_told_nothing(questline: Instance) -> None:
    app = await questline.app()
    other = (await app.post("/v1/keys", json={"role": "ADMIN"})).json()
    first, second = await add(app), await add(app)
    by_other = await app.request(
        "POST", "/v1/metrics", key=other["key"], json=METRIC, headers={"Idempotency-Key": "k-1"}
    )
    assert (first.status_code, second.status_code, by_other.status_code) == (201, 201, 409)
    assert by_other.json()["code"] == "conflict"
    mine = {"json": {**METRIC, "name": "mine"}, "headers": {"Idempotency-Key": "k-2"}}
    assert (await app.request("POST", "/v1/metrics", key=other["key"], **mine)).status_code == 201
    await app.request("DELETE", f"/v1/keys/{other['id']}")
    assert (await app.request("POST", "/v1/metrics", key=other["key"], **mine)).status_code == 401


async def test_an_operator_creates_a_project_once(questline: Instance) -> None:
    headers = {"X-Admin-Token": questline.settings.admin_token, "Idempotency-Key": "create"}
    body = {"id": "created-once", "name": "Once"}
    answers = [await questline.http.post("/v1/apps", json=body, headers=headers) for _ in range(2)]
    assert [(a.status_code, a.json().get("code")) for a in answers] == [(201, None), (409, "reply-not-kept")]


async def test_an_organization_is_created_once_and_told_again(questline: Instance) -> None:
    headers = {"X-Admin-Token": questline.settings.admin_token}
    body = {"id": "once-org", "name": "Once"}
    first = await questline.http.post("/v1/organizations", json=body, headers={**headers, "Idempotency-Key": "org"})
    again = await questline.http.post("/v1/organizations", json=body, headers={**headers, "Idempotency-Key": "org"})
    other = await questline.http.post("/v1/organizations", json=body, headers={**headers, "Idempotency-Key": "other"})
    assert [(a.status_code, a.content == first.content) for a in (again, other)] == [(201, True), (409, False)]


async def test_a_command_of_the_rest_api_repeats_its_own_outcome(questline: Instance) -> None:
    app = await questline.app({"streaks": {"daily": {"on": "task"}}})
    await app.send("task", "ada")
    headers = {"Idempotency-Key": "pause-1"}
    pause = "/v1/users/ada/streaks/daily/pause"
    answers = [await app.post(pause, json={"until": "2026-12-24"}, headers=headers) for _ in range(2)]
    reused = await app.post(pause, json={"until": "2026-12-31"}, headers=headers)
    assert [a.json()["duplicate"] for a in answers] == [False, True]
    assert (reused.status_code, reused.json()["code"]) == (409, "idempotency-key-reused")
    assert await questline.owner.fetchval("SELECT count(*) FROM kept_replies WHERE headers::text LIKE '%pause%'") == 0


async def test_replies_are_forgotten_after_a_day_in_bounded_steps(questline: Instance) -> None:
    app = await questline.app()
    await questline.owner.execute(
        "DELETE FROM kept_replies"
    )  # of tests before, which may be older than the minute below
    await add(app)
    soon = datetime.now(UTC) + timedelta(seconds=REPLIES_KEPT_SECONDS - 60)
    assert await replies.sweep(questline.owner, soon) == 0
    assert await replies.sweep(questline.owner, soon + timedelta(seconds=120)) > 0
    assert (await add(app)).json()["code"] == "conflict"


# ── many events in one request

TASKS = {"metrics": {"tasks": {"on": "task", "count": True}}}
NDJSON, XML = {"Content-Type": "application/x-ndjson"}, {"Content-Type": "application/xml"}
KEYLESS: list[Json] = [
    {"type": "task", "userId": "ada"},
    {"type": "task", "userId": "ada"},
    {"type": "task", "userId": "bo"},
]


def listed(events: list[Json]) -> Json:
    return {"json": events}


def named(events: list[Json]) -> Json:
    return {"json": {"events": events}}


def messages(events: list[Json]) -> Json:
    return {"json": {"batch": [{"type": "track", "event": e["type"], "userId": e["userId"]} for e in events]}}


def lines(events: list[Json]) -> Json:
    return {"content": b"\n\n".join(msgspec.json.encode(e) for e in events), "headers": NDJSON}


def elements(events: list[Json]) -> Json:
    return {
        "content": "\n".join(
            ["<all>", *(f"<event type='{e['type']}' userId='{e['userId']}'/>" for e in events), "</all>"]
        ),
        "headers": XML,
    }


WAYS = [
    ("/v1/events/batch", named),
    ("/v1/events/track", listed),
    ("/v1/events/track", named),
    ("/v1/batch", messages),
    ("/v1/ingest/stream", lines),
    ("/v1/ingest/stream", elements),
]


def results(answer: httpx.Response) -> list[Json]:
    if answer.headers["content-type"] == "application/x-ndjson":
        return [msgspec.json.decode(line) for line in answer.text.splitlines()][:-1]
    return answer.json()["results"]


async def send_many(app: App, path: str, form: Any, events: list[Json], key: str | None) -> list[Json]:
    request = form(events)
    headers = request.pop("headers", {}) | ({} if key is None else {"Idempotency-Key": key})
    return results(await app.post(path, headers=headers, **request))


@pytest.mark.parametrize(("path", "form"), WAYS, ids=[f"{path} {form.__name__}" for path, form in WAYS])
async def test_events_without_a_key_in_a_request_that_has_one_count_once_however_often_it_is_sent(
    questline: Instance, path: str, form: Any
) -> None:
    app = await questline.app(TASKS)
    first, again, other, without = [await send_many(app, path, form, KEYLESS, key) for key in ("k", "k", "l", None)]
    assert [[r["status"] for r in answered] for answered in (first, again, other, without)] == [
        ["accepted"] * 3, ["duplicate"] * 3, ["accepted"] * 3, ["accepted"] * 3,
    ]  # fmt: skip
    assert [r["eventId"] for r in again] == [r["eventId"] for r in first]
    of_key = [(await app.get(f"/v1/events/{r['idempotencyKey']}")).json()["id"] for r in first]
    assert of_key == [r["eventId"] for r in first]
    changed = await send_many(app, path, form, [KEYLESS[0], {"type": "task", "userId": "eve"}, KEYLESS[2]], "k")
    assert [r.get("reason", r["status"]) for r in changed] == ["duplicate", "IDEMPOTENCY_KEY_REUSED", "duplicate"]


async def test_an_event_with_a_key_or_an_id_of_its_own_keeps_it_in_a_request_that_has_one(questline: Instance) -> None:
    app = await questline.app(TASKS)
    own = [{**KEYLESS[0], "idempotencyKey": "mine"}, {**KEYLESS[0], "eventId": "e-1"}, {"type": "task"}, KEYLESS[0]]
    first = await send_many(app, "/v1/events/batch", named, own, "k")
    assert [r.get("idempotencyKey") for r in first[:3]] == ["mine", "e-1", None]
    turned = await send_many(app, "/v1/events/batch", named, [own[1], own[0]], "another")
    assert [(r["status"], r["eventId"]) for r in turned] == [("duplicate", r["eventId"]) for r in (first[1], first[0])]
    again = await send_many(app, "/v1/events/batch", named, own, "k")
    assert [r["status"] for r in again] == ["duplicate", "duplicate", "rejected", "duplicate"]


async def test_a_long_stream_under_a_key_is_told_apart_item_by_item_over_all_its_groups(questline: Instance) -> None:
    app = await questline.app(TASKS)
    many = KEYLESS * (STREAM_GROUP_EVENTS // 2)
    for status in ("accepted", "duplicate"):
        answered = await send_many(app, "/v1/ingest/stream", lines, many, "k" * KEY_CHARS_MAX)
        assert [r["status"] for r in answered] == [status] * len(many)
    await questline.drain()
    assert (await app.get("/v1/users/ada/profile")).status_code == 200
    assert await questline.owner.fetchval(
        "SELECT count(*) FROM events JOIN projects p ON p.id = project_id WHERE app_id = $1", app.app_id
    ) == len(many)


@pytest.mark.parametrize("path", ["/v1/events/batch", "/v1/events/track", "/v1/batch", "/v1/ingest/stream"])
async def test_a_key_that_is_too_long_is_refused_with_many_events(questline: Instance, path: str) -> None:
    app = await questline.app()
    headers = {"Idempotency-Key": "k" * (KEY_CHARS_MAX + 1)}
    body = {"batch": [{"type": "track", "event": "task", "userId": "ada"}]}
    answer = await app.post(path, json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


# ── both names of the header


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Idempotency-Key"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rewards/{grant}/revoke", {}),
        ("/v1/fulfilments/{fulfilment}/complete", {}),
        ("/v1/fulfilments/{fulfilment}/fail", {}),
        ("/v1/reviews/risky-2/approve", {}),
        ("/v1/reviews/risky-2/deny", {}),
        ("/v1/users/ada/block", {"reason": "r"}),
        ("/v1/users/ada/unblock", {"reason": "r"}),
        ("/v1/users/ada/streaks/daily/pause", {"until": f"{datetime.now(UTC) + timedelta(days=9):%F}"}),
        ("/v1/currency/spend", {"userId": "ada", "currency": "coins", "amount": 1}),
        ("/v1/check-in", {"userId": "ada"}),
        ("/v1/events", {"type": "task", "userId": "ada"}),
    ],
)
async def test_a_command_under_a_key_has_its_first_answer_by_either_name_of_the_header(
    questline: Instance, header: str, path: str, body: Json
) -> None:
    app, ids = await prepared(questline)
    path = path.format(**ids)
    first, again = [await app.post(path, json=body, headers={header: "k-1"}) for _ in range(2)]
    assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    assert {**again.json(), "duplicate": False} == first.json()
    assert again.status_code == first.status_code < 300


@pytest.mark.parametrize("header", ["Idempotency-Key", "X-Idempotency-Key"])
async def test_a_users_profile_under_a_key_is_written_once_by_either_name_of_the_header(
    questline: Instance, header: str
) -> None:
    app = await questline.app()
    answers = [
        await app.post("/v1/users", json={"id": "ada", "displayName": name}, headers={header: "k-1"})
        for name in ("Ada", "Ada", "Eve")
    ]
    assert [a.status_code for a in answers] == [201, 200, 409]
