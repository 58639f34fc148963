"""Signed events on every way in: nothing unsigned or replayed is stored, and a nonce is burnt with what it brought."""

import asyncio
import gzip
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import httpx
import msgspec
import pytest
from conftest_api import PROGRAM, SECRET_KEYS, App, Instance, within

from questline.api.app import description
from questline.api.hot.segment import BATCH_PATH, SEGMENT_PATHS
from questline.assembly import now as clock
from questline.assembly import running_api
from questline.control.resealing import reseal
from questline.model.rates import RateLimits
from questline.processing.forgetting import Forgetting
from questline.settings import Settings
from questline.store import nonces, sealed
from questline.store.pool import connect
from questline.store.sealing import Sealer, keys_of

_numbers = itertools.count()
SECRET = "a secret of sixteen or more"
EVENT = {"type": "task", "userId": "ada"}
SEGMENTS = {f"/v1{path}" for path in (*SEGMENT_PATHS, BATCH_PATH)}
WAYS = sorted(
    (path, "NDJSON" if "stream" in path else "JSON")
    for path, item in description()["paths"].items()
    if "post" in item and item["post"]["tags"] == ["events"]
)


def headers(body: bytes, secret: str = SECRET, *, nonce: str | None = None, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))  # the server's clock is the machine's
    nonce = nonce or f"nonce-{next(_numbers)}"
    mac = hmac.new(secret.encode(), f"{stamp}.{nonce}.".encode() + body, sha256).hexdigest()
    return {"x-signature-timestamp": stamp, "x-signature-nonce": nonce, "x-signature": mac}


async def signed_app(questline: Instance, **more: Any) -> App:
    number = next(_numbers)
    body = {"id": f"signed-{number}", "name": "Signed", "signingSecret": SECRET, **more}
    made = (await questline.http.post("/v1/apps", json=body)).json()
    app = App(questline, f"signed-{number}", made["bootstrapApiKey"])
    await app.put("/v1/program", json=PROGRAM)
    return app


async def stored(app: App) -> int:
    return len((await app.get("/v1/events")).json()["items"])


def body_for(path: str, *events: dict[str, Any]) -> bytes:
    if path in SEGMENTS:
        message = {
            "type": "track",
            "event": "task",
            "userId": "ada",
            "previousId": "eve",
            "groupId": "g",
            "name": "home",
        }
        return json.dumps({"batch": [message]} if path == "/v1/batch" else message).encode()
    if path.endswith("/batch"):
        return json.dumps({"events": events}).encode()
    return b"\n".join(json.dumps(event).encode() for event in events)


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["detail"]


@pytest.mark.parametrize(("path", "kind"), WAYS)
async def test_on_every_way_in_a_signed_event_is_taken_once_and_nothing_else_is(
    questline: Instance, path: str, kind: str
) -> None:
    app = await signed_app(questline)
    body = body_for(path, EVENT)
    right = headers(body)
    wrong = [
        ({}, "Missing event signature headers"),
        ({"x-signature": right["x-signature"]}, "Missing event signature headers"),
        (right | {"x-signature": "0" * 64}, "Invalid signature"),
        (right | {"x-signature-nonce": "another"}, "Invalid signature"),
        (headers(body, "a secret of somebody else"), "Invalid signature"),
        (headers(body, at=time.time() - 400), "Expired signature timestamp"),
    ]
    for sent, detail in wrong:
        answer = await app.post(path, content=body, headers=sent)
        assert told(answer) == (401, detail), sent
    assert await stored(app) == 0
    assert (await app.post(path, content=body, headers=right)).status_code in (200, 202)
    assert told(await app.post(path, content=body, headers=right)) == (401, "Replay detected")
    assert await stored(app) == 1


async def test_a_binary_cloud_event_whose_headers_no_signature_covers_is_refused(questline: Instance) -> None:
    app = await signed_app(questline)
    cloud = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "task", "ce-subject": "ada"}
    answer = await app.post("/v1/events", content=b"{}", headers=headers(b"{}") | cloud)
    assert (answer.status_code, await stored(app)) == (415, 0)
    body = json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "task", "subject": "ada"}).encode()
    structured = {"Content-Type": "application/cloudevents+json"}
    assert (await app.post("/v1/events", content=body, headers=headers(body) | structured)).status_code == 202


async def test_a_nonce_is_burnt_by_a_valid_signature_alone(questline: Instance) -> None:
    app = await signed_app(questline)
    body = body_for("/v1/events", EVENT)
    assert told(await app.post("/v1/events", content=body, headers=headers(body, "a wrong secret !", nonce="one"))) == (
        401, "Invalid signature",
    )  # fmt: skip
    invalid = b'{"type":"task"}'
    assert (await app.post("/v1/events", content=invalid, headers=headers(invalid, nonce="one"))).status_code == 422
    assert (await app.post("/v1/events", content=body, headers=headers(body, nonce="one"))).status_code == 202
    assert told(await app.post("/v1/events", content=body, headers=headers(body, nonce="one")))[1] == "Replay detected"


async def test_of_many_with_one_nonce_at_once_one_is_taken_in_two_processes(questline: Instance) -> None:
    app = await signed_app(questline)
    async with running_api(questline.settings) as other:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=other), base_url="http://t") as second:
            for prefer in ({}, {"Prefer": "wait=10"}):
                before = await stored(app)
                body = body_for("/v1/events", EVENT)
                sent = headers(body) | {"X-API-Key": app.key} | prefer
                answers = await asyncio.gather(
                    *(
                        http.post("/v1/events", content=body, headers=sent)
                        for http in (questline.http, second)
                        for _ in range(20)
                    )
                )
                refused = [told(answer) for answer in answers if not answer.is_success]
                assert refused == [(401, "Replay detected")] * 39
                assert await stored(app) == before + 1


async def test_a_retry_after_a_lost_answer_signs_anew_and_is_told_of_the_original(questline: Instance) -> None:
    app = await signed_app(questline)
    for way in ({}, {"Prefer": "wait=10"}):
        body = body_for("/v1/events", EVENT | {"eventId": f"once{len(way)}"})
        first, again = [
            (await app.post("/v1/events", content=body, headers=headers(body) | way)).json() for _ in range(2)
        ]
        assert (first["duplicate"], again["duplicate"], again["eventId"]) == (False, True, first["eventId"])


async def test_events_of_one_key_and_two_nonces_in_one_moment_are_one_event_and_burn_both(questline: Instance) -> None:
    app = await signed_app(questline)
    body = body_for("/v1/events", EVENT | {"eventId": "same"})
    sent = [headers(body) for _ in range(10)]
    answers = await asyncio.gather(*(app.post("/v1/events", content=body, headers=h) for h in sent))
    assert sorted(a.json()["duplicate"] for a in answers) == [False] + [True] * 9
    again = await asyncio.gather(*(app.post("/v1/events", content=body, headers=h) for h in sent))
    assert {told(a) for a in again} == {(401, "Replay detected")}


async def test_a_replay_beside_an_honest_event_of_the_same_key_takes_nothing_from_it(questline: Instance) -> None:
    app = await signed_app(questline)
    used = body_for("/v1/events", EVENT | {"eventId": "first"})
    burnt = headers(used, nonce="burnt")
    assert (await app.post("/v1/events", content=used, headers=burnt)).status_code == 202
    body = body_for("/v1/events", EVENT | {"eventId": "second"})
    replay, honest = await asyncio.gather(
        app.post("/v1/events", content=body, headers=headers(body, nonce="burnt")),
        app.post("/v1/events", content=body, headers=headers(body)),
    )
    assert (told(replay), honest.status_code, honest.json()["duplicate"]) == ((401, "Replay detected"), 202, False)


@asynccontextmanager
async def full_disk(questline: Instance) -> AsyncIterator[None]:
    """No event is stored within the block."""
    await questline.owner.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$"
        "BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; END $$;"
        "CREATE TRIGGER fail BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    try:
        yield
    finally:
        await questline.owner.execute("DROP FUNCTION fail CASCADE")


@pytest.mark.parametrize(
    ("path", "prefer", "events"), [("/v1/events", "", 1), ("/v1/events", "wait=10", 1), ("/v1/events/batch", "", 600)]
)
async def test_where_storing_fails_the_nonce_is_not_burnt(
    questline: Instance, path: str, prefer: str, events: int
) -> None:
    app = await signed_app(questline)
    body = body_for(path, *(EVENT | {"eventId": str(n)} for n in range(events)))
    sent = headers(body) | {"Prefer": prefer}
    async with full_disk(questline):
        assert (await app.post(path, content=body, headers=sent)).status_code == 503
    assert (await app.post(path, content=body, headers=sent)).is_success
    assert await stored(app) == min(events, 50)


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
@pytest.mark.parametrize("visitor", [{}, {"anonymousId": "v"}])
async def test_a_segment_request_that_stores_nothing_burns_no_nonce(
    questline: Instance, database: Any, path: str, visitor: dict[str, str]
) -> None:
    app = await signed_app(questline)
    message = {"type": "track", "event": "task", "userId": "ada", **visitor}

    def body(message: Any) -> bytes:
        return json.dumps({"batch": message} if path == "/v1/batch" else message).encode()

    bad, one = body(5), body([message] if path == "/v1/batch" else message)
    sent = headers(bad, nonce=f"malformed-{path[4:]}")
    refused = [await app.post(path, content=bad, headers=sent) for _ in range(2)]
    assert all(a.status_code in (400, 422) for a in refused), [a.text for a in refused]
    limits = RateLimits(ingest=1)
    settings = msgspec.structs.replace(questline.settings, rate_limits_key=limits, rate_limit_seconds=1)
    async with running_api(settings, lambda: 0.0) as limited:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=limited), base_url="http://t") as http:
            statuses = []
            for n in range(3):
                sent = headers(one, nonce=f"limited-{path[4:]}") if n else headers(one)
                statuses.append((await http.post(path, content=one, headers=sent | {"X-API-Key": app.key})).status_code)
    assert statuses == [200, 429, 429]
    assert (await app.post(path, content=one, headers=sent)).status_code == 200
    assert told(await app.post(path, content=one, headers=sent)) == (401, "Replay detected")


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
async def test_where_storing_a_segment_request_fails_the_nonce_is_not_burnt(questline: Instance, path: str) -> None:
    app = await signed_app(questline)
    body = body_for(path, EVENT)
    sent = headers(body)
    async with full_disk(questline):
        assert (await app.post(path, content=body, headers=sent)).status_code == 503
    assert (await app.post(path, content=body, headers=sent)).is_success
    assert told(await app.post(path, content=body, headers=sent)) == (401, "Replay detected")
    assert await stored(app) == 1


async def test_a_signed_stream_is_stored_once_its_end_proves_it_and_a_compressed_body_is_signed_plain(
    questline: Instance,
) -> None:
    app = await signed_app(questline)
    body = body_for("/v1/ingest/stream", *(EVENT | {"eventId": str(n)} for n in range(20_000)))
    changed = await app.post("/v1/ingest/stream", content=body + b"\n{}", headers=headers(body))
    assert (told(changed), await stored(app)) == ((401, "Invalid signature"), 0)
    sent = headers(body) | {"Content-Encoding": "gzip"}
    answer = await app.post("/v1/ingest/stream?results=errors", content=gzip.compress(body), headers=sent)
    assert answer.text.strip() == '{"summary":{"accepted":20000,"duplicate":0,"rejected":0}}'
    assert told(await app.post("/v1/ingest/stream", content=gzip.compress(body), headers=sent))[1] == "Replay detected"


async def test_secrets_rotate_with_two_valid_at_once_and_are_never_shown_again(questline: Instance) -> None:
    app = await signed_app(questline)
    body = body_for("/v1/events", EVENT)
    secrets = [SECRET]

    async def taken() -> list[bool]:
        answers = [await app.post("/v1/events", content=body, headers=headers(body, secret)) for secret in secrets]
        return [answer.status_code == 202 for answer in answers]

    secrets += [(await app.post("/v1/signing-secrets", json={})).json()["secret"] for _ in range(2)]
    assert await taken() == [False, True, True]
    listed = await app.get("/v1/signing-secrets")
    assert [item["endsAt"] is None for item in listed.json()["items"]] == [True, False]
    assert not any(secret in listed.text for secret in secrets)
    row = await questline.owner.fetch("SELECT s::text AS s FROM signing_secrets s")
    assert not any(secret in r["s"] for r in row for secret in secrets)
    answer = await app.request("DELETE", f"/v1/signing-secrets/{listed.json()['items'][1]['id']}")
    assert (answer.status_code, await taken()) == (204, [False, False, True])
    secrets.append((await app.post("/v1/signing-secrets", json={"overlapSeconds": 0})).json()["secret"])
    assert await taken() == [False, False, False, True]


async def test_rotations_at_once_leave_two_secrets_of_which_the_newest_is_current(questline: Instance) -> None:
    app = await signed_app(questline)
    made = await asyncio.gather(*(app.post("/v1/signing-secrets", json={}) for _ in range(6)))
    assert {answer.status_code for answer in made} == {201}
    items = (await app.get("/v1/signing-secrets")).json()["items"]
    assert [item["endsAt"] is None for item in items] == [True, False]


async def test_a_rotation_reaches_every_process(questline: Instance) -> None:
    app = await questline.app()
    body = body_for("/v1/events", EVENT)
    async with running_api(questline.settings) as other:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=other), base_url="http://t") as second:
            key = {"X-API-Key": app.key}
            assert (await second.post("/v1/events", content=body, headers=key | headers(body))).status_code == 202
            secret = (await app.post("/v1/signing-secrets", json={})).json()["secret"]
            deadline = asyncio.get_running_loop().time() + 60
            while (
                await second.post("/v1/events", content=body, headers=key | headers(body, "not of this project"))
            ).status_code == 202:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)
            assert (await second.post("/v1/events", content=body, headers=key | headers(body, secret))).is_success
            assert (await second.post("/v1/events", content=body, headers=key)).is_success  # made later: optional


async def test_a_project_says_who_must_sign(questline: Instance) -> None:
    app = await signed_app(questline, settings={"signedEvents": "secret-keys"})
    publishable = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    assert (await app.post("/v1/events", json=EVENT, key=publishable)).status_code == 202
    assert told(await app.post("/v1/events", json=EVENT)) == (401, "Missing event signature headers")
    without = await questline.app(signedEvents="required")
    assert told(await without.post("/v1/events", json=EVENT)) == (401, "Missing event signature headers")
    bad = {"id": "bad", "name": "b", "settings": {"signedEvents": "maybe"}, "signingSecret": "short"}
    errors = (await questline.http.post("/v1/apps", json=bad)).json()["errors"]
    assert {e["field"] for e in errors} >= {"signingSecret"}


async def test_a_secret_is_stored_sealed_or_not_at_all(questline: Instance, database: Any) -> None:
    body = {"id": "hooked", "name": "Hooked", "webhookSecret": "whsec_plain_text", "signingSecret": SECRET}
    async with running_api(Settings(dsn=database.app_dsn, dev=True)) as app:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t") as http:
            refused = await http.post("/v1/apps", json=body)
    assert (refused.status_code, refused.json()["code"], "QUESTLINE_SECRET_KEYS" in refused.text) == (
        501, "not-configured", True,
    )  # fmt: skip
    assert (await questline.http.post("/v1/apps", json=body)).status_code == 201
    sealed = await questline.owner.fetchval("SELECT webhook_secret FROM projects WHERE app_id = 'hooked'")
    assert (sealed.startswith("s1."), "plain_text" in sealed, SECRET_KEYS in sealed) == (True, False, False)


async def test_a_sealing_key_is_rotated_and_secrets_in_the_clear_are_sealed_with_the_first(questline: Instance) -> None:
    app = await signed_app(questline, webhookSecret="whsec_one")
    await questline.app()
    await questline.owner.execute("UPDATE projects SET webhook_secret = 'in the clear' WHERE app_id = $1", app.app_id)
    old, new = Sealer(keys_of(SECRET_KEYS)), b"n" * 32
    both, alone = Sealer([new, *keys_of(SECRET_KEYS)]), Sealer([new])
    conn = await connect(questline.settings.dsn)
    try:
        first, again = await reseal(conn, both), await reseal(conn, both)
        assert (first.anew > 2, first.lost, again.anew, again.current) == (True, [], 0, first.anew + first.current)
        mine = [s for s in await sealed.all_secrets(conn) if s.app_id == app.app_id]
        assert sorted(alone.open(s.stored, s.purpose) for s in mine) == [SECRET, "in the clear"]
        lost = await reseal(conn, old)
        assert (lost.anew, app.app_id in lost.lost) == (0, True)
        await reseal(conn, Sealer([*keys_of(SECRET_KEYS), new]))
    finally:
        await conn.close()
    body = body_for("/v1/events", EVENT)
    assert (await app.post("/v1/events", content=body, headers=headers(body))).status_code == 202


async def test_nonces_are_forgotten_once_their_signatures_are_too_old_anyway(questline: Instance) -> None:
    app = await signed_app(questline)
    body = body_for("/v1/events", EVENT)
    for _ in range(3):
        await app.post("/v1/events", content=body, headers=headers(body))
    ends = await questline.owner.fetch(
        "SELECT n.expires_at FROM signature_nonces n JOIN projects p ON p.id = n.project_id WHERE p.app_id = $1 ORDER BY 1",
        app.app_id,
    )
    assert len(ends) == 3
    now = ends[0]["expires_at"]
    await Forgetting("nonces", questline.settings.dsn, lambda: now, nonces.sweep, 5_000, 1.0).run_once()
    left = await questline.owner.fetchval("SELECT count(*) FROM signature_nonces WHERE expires_at < $1", now)
    kept = await questline.owner.fetchval("SELECT count(*) FROM signature_nonces WHERE expires_at = $1", now)
    assert (left, kept > 0) == (0, True)


async def test_what_is_forgotten_in_many_batches_is_left_between_two_when_the_worker_stops(questline: Instance) -> None:
    stop, batches = asyncio.Event(), 0

    async def sweep(_conn: Any, _now: Any) -> int:
        nonlocal batches
        batches += 1
        if batches == 3:
            stop.set()
        return 5 if batches < 10 else 0

    service = Forgetting("old", questline.settings.dsn, clock, sweep, 5, 1.0)
    async with within(30.0, "the end of the third batch"):
        await service.run(stop)
    assert batches == 3
