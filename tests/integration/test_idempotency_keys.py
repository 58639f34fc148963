"""Requests under an idempotency key: they take effect once, and are answered as the first time when they are repeated."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from conftest_api import App, Instance, questline

from questline.model.limits import REPLIES_KEPT_SECONDS
from questline.store import replies

__all__ = ["questline"]

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


async def test_a_reply_that_shows_a_secret_is_not_stored_and_a_repeat_says_so(questline: Instance) -> None:
    app = await questline.app()
    headers = {"Idempotency-Key": "new-key"}
    made = await app.post("/v1/keys", json={"type": "secret", "role": "INGEST"}, headers=headers)
    again = await app.post("/v1/keys", json={"type": "secret", "role": "INGEST"}, headers=headers)
    assert (made.status_code, again.status_code, again.json()["code"]) == (201, 409, "reply-not-kept")
    assert len((await app.get("/v1/keys")).json()["items"]) == 2
    rows = await questline.owner.fetch(
        "SELECT body FROM kept_replies WHERE position($1 IN body) > 0", made.json()["key"].encode()
    )
    assert rows == []


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
    await add(app)
    soon = datetime.now(UTC) + timedelta(seconds=REPLIES_KEPT_SECONDS - 60)
    assert await replies.sweep(questline.owner, soon) == 0
    assert await replies.sweep(questline.owner, soon + timedelta(seconds=120)) > 0
    assert (await add(app)).json()["code"] == "conflict"
