"""Keys: narrowed, ended, rotated, and forgotten at once by every process when they are revoked."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from conftest_api import Instance, until

from questline.assembly import CannotStart, running_api
from questline.model.permissions import KEY_SCOPES, Scope
from questline.model.principal import Role
from questline.settings import Settings, environment_of
from tests.services import free_port

STILL_REMEMBERED_SECONDS = 30  # where nobody told of the revocation a key would be known for twice as long
EVENT = {"type": "t", "userId": "u"}


@asynccontextmanager
async def another_process(dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API in a process of its own."""
    port = free_port()
    settings = Settings(dsn=dsn, port=port, admin_token="operator-of-the-tests", log_level="warning")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "questline.cli.main", "serve", env={**os.environ, **environment_of(settings)}
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:

            async def ready() -> bool:
                try:
                    return (await http.get("/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready)
            yield http
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def sends(http: httpx.AsyncClient, key: str) -> int:
    return (await http.post("/v1/events", json=EVENT, headers={"X-API-Key": key})).status_code


async def test_a_key_revoked_in_one_process_stops_at_once_in_another_even_after_that_was_deaf(
    questline: Instance, database: Any
) -> None:
    app = await questline.app()
    keys = [(await app.post("/v1/keys", json={"name": str(n)})).json() for n in range(3)]
    async with another_process(database.app_dsn) as other:
        listeners = """SELECT pid FROM pg_stat_activity WHERE query ~ '^LISTEN|^-- Does the connection live'
                       AND datname = current_database() AND pid <> pg_backend_pid()"""
        for key in keys:
            assert await sends(other, key["key"]) == 202  # it is remembered there now, for a minute

        await app.request("DELETE", f"/v1/keys/{keys[0]['id']}")
        loop = asyncio.get_running_loop()
        revoked_at = loop.time()
        await until(lambda: refused(other, keys[0]["key"]))
        assert loop.time() - revoked_at < STILL_REMEMBERED_SECONDS
        assert await sends(other, keys[1]["key"]) == 202  # and others are still known

        deaf = await questline.owner.fetch(f"SELECT pg_terminate_backend(pid) FROM ({listeners}) AS of_listeners")
        assert len(deaf) >= 2
        await app.request("DELETE", f"/v1/keys/{keys[1]['id']}")
        revoked_at = loop.time()
        await until(lambda: refused(other, keys[1]["key"]))
        assert loop.time() - revoked_at < STILL_REMEMBERED_SECONDS

        async def hear_again() -> bool:
            return len(await questline.owner.fetch(listeners)) >= 2

        await until(hear_again)
        await sends(other, keys[2]["key"])
        await questline.owner.execute("UPDATE api_keys SET revoked_at = now() WHERE name = '2'")
        await until(lambda: refused(other, keys[2]["key"]))  # whoever revokes it, by whatever statement


async def refused(http: httpx.AsyncClient, key: str) -> bool:
    return await sends(http, key) == 401


async def test_a_server_does_not_start_without_an_operators_token(database: Any) -> None:
    with pytest.raises(CannotStart, match="QUESTLINE_ADMIN_TOKEN is not set"):
        async with running_api(Settings(dsn=database.app_dsn)):
            pass


async def test_a_rotated_key_lives_on_beside_the_new_one_and_ends_after_the_overlap(questline: Instance) -> None:
    app = await questline.app()
    ends = (datetime.now(UTC) + timedelta(days=10)).isoformat()
    old = (await app.post("/v1/keys", json={"name": "till", "scopes": ["events:write"], "expiresAt": ends})).json()
    done = await app.post(f"/v1/keys/{old['id']}/rotate", json={"overlapSeconds": 3600})
    assert done.status_code == 201, done.text
    new = done.json()["key"]
    same = ("type", "role", "name", "scopes")
    assert [new[name] for name in same] == [old[name] for name in same]
    assert [await sends(questline.http, key["key"]) for key in (old, new)] == [202, 202]
    of_new = datetime.fromisoformat(new["expiresAt"]) - datetime.fromisoformat(new["createdAt"])
    of_old = datetime.fromisoformat(old["expiresAt"]) - datetime.fromisoformat(old["createdAt"])
    assert abs(of_new - of_old) < timedelta(minutes=1)  # as long a life as the old one was to have
    listed = {key["id"]: key for key in (await app.get("/v1/keys")).json()["items"]}
    assert listed[old["id"]]["replacedBy"] == new["id"]
    assert listed[old["id"]]["expiresAt"] == done.json()["oldKeyEndsAt"]

    again = await app.post(f"/v1/keys/{old['id']}/rotate", json={})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    at_once = await app.post(f"/v1/keys/{new['id']}/rotate", json={"overlapSeconds": 0})
    assert at_once.status_code == 201
    assert [await sends(questline.http, key["key"]) for key in (old, new, at_once.json()["key"])] == [202, 401, 202]


async def test_a_key_ends_when_it_was_to_end_even_while_it_is_remembered(questline: Instance) -> None:
    app = await questline.app()
    for seconds in (1, 4, 16, 64):  # the machine may take longer than one to make it and use it
        ends = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        key = (await app.post("/v1/keys", json={"expiresAt": ends})).json().get("key", "")
        if key and await sends(questline.http, key) == 202:
            break
    await until(lambda: refused(questline.http, key))
    assert datetime.now(UTC) >= datetime.fromisoformat(ends)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "INGEST", "scopes": ["program:write"]}, "scopes"),
        ({"type": "publishable", "scopes": ["events:read", "users:read"]}, "scopes"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "2999-01-01T00:00:00Z"}, "expiresAt"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["everything"]}, "scopes"),
    ],
)
async def test_a_key_that_cannot_be_is_not_made(questline: Instance, body: dict[str, Any], field: str) -> None:
    app = await questline.app()
    answer = await app.post("/v1/keys", json=body)
    problem = answer.json()
    named = problem.get("field") or problem["errors"][0]["field"]
    assert (answer.status_code, named) == (422, field), answer.text
    assert len((await app.get("/v1/keys")).json()["items"]) == 1


@pytest.mark.parametrize("scope", sorted(KEY_SCOPES[Role.ADMIN]))
async def test_a_narrowed_key_may_what_its_scope_says_and_nothing_else(questline: Instance, scope: Scope) -> None:
    app = await questline.app()
    key = (await app.post("/v1/keys", json={"role": "ADMIN", "scopes": [scope]})).json()["key"]
    routes = {
        Scope.EVENTS_WRITE: ("POST", "/v1/events", EVENT),
        Scope.EVENTS_READ: ("GET", "/v1/events", None),
        Scope.COMMANDS_WRITE: ("POST", "/v1/check-in", {"userId": "u"}),
        Scope.USERS_READ: ("GET", "/v1/users/u/profile", None),
        Scope.BOARDS_READ: ("GET", "/v1/leaderboards?metric=none", None),
        Scope.PROGRAM_WRITE: ("PUT", "/v1/program", {}),
        Scope.KEYS_READ: ("GET", "/v1/keys", None),
    }
    for needed, (method, path, body) in routes.items():
        answer = await app.request(method, path, json=body, key=key)
        assert (answer.status_code == 403) is (needed != scope), (needed, answer.text)
        if needed != scope:
            assert answer.json()["scope"] == needed


NARROWED = ["keys:write", "events:write", "events:read", "commands:write"]  # all of INGEST's, and to make keys


@pytest.mark.parametrize(
    ("maker", "body", "status"),
    [
        (["keys:write"], {"role": "ADMIN"}, 403),
        (["keys:write"], {"role": "READONLY"}, 403),
        (["keys:write"], {"role": "INGEST", "scopes": ["events:write"]}, 403),
        (["keys:write"], {"type": "publishable"}, 403),
        (["keys:write"], {"role": "ADMIN", "scopes": ["keys:write"]}, 201),
        (["keys:write"], {"role": "ADMIN", "scopes": ["keys:write", "keys:read"]}, 403),
        (NARROWED, {"role": "INGEST"}, 201),
        (NARROWED, {"type": "publishable", "role": "ADMIN"}, 201),
        (NARROWED, {"role": "READONLY"}, 403),
        (None, {"role": "ADMIN"}, 201),
    ],
)
@pytest.mark.parametrize("path", ["/v1/keys", "/v1/projects/{app}/api-keys"])
async def test_a_key_makes_rotates_and_revokes_keys_that_may_no_more_than_itself(
    questline: Instance, maker: list[str] | None, body: dict[str, Any], status: int, path: str
) -> None:
    app = await questline.app()
    path = path.format(app=app.app_id)
    key = (await app.post("/v1/keys", json={"role": "ADMIN", "scopes": maker} if maker else {"role": "ADMIN"})).json()
    there = (await app.post("/v1/keys", json=body)).json()
    before = (await app.get("/v1/keys")).json()["items"]
    made = await app.post(path, json=body, key=key["key"])
    rotated = await app.post(f"{path}/{there['id']}/rotate", json={}, key=key["key"])
    assert [made.status_code, rotated.status_code] == [status, status], (made.text, rotated.text)
    revoked = await app.request("DELETE", f"{path}/{there['id']}", key=key["key"])
    assert revoked.status_code == (204 if status == 201 else 403), revoked.text
    after = (await app.get("/v1/keys")).json()["items"]
    assert len(after) - len(before) == (2 if status == 201 else 0)
    ended = {one["id"] for one in after if one["revokedAt"] is not None}
    assert ended == ({there["id"]} if status == 201 else set())
    if status == 403:
        assert [one.json()["code"] for one in (made, rotated, revoked)] == ["forbidden"] * 3
        beyond = set(KEY_SCOPES[Role(there["role"])] if there["scopes"] is None else there["scopes"]) - set(maker or ())
        named = beyond if there["type"] == "secret" else {"events:write"}
        assert all(scope in one.json()["detail"] for scope in named for one in (made, rotated, revoked))


async def test_a_key_is_rotated_and_revoked_by_itself_and_not_by_one_that_may_less(questline: Instance) -> None:
    app = await questline.app()
    narrow = (await app.post("/v1/keys", json={"role": "ADMIN", "scopes": ["keys:write", "keys:read"]})).json()
    listed = (await app.get("/v1/keys", key=narrow["key"])).json()["items"]
    bootstrap = next(key["id"] for key in listed if key["name"] == "bootstrap")
    assert (await app.post(f"/v1/keys/{bootstrap}/rotate", json={}, key=narrow["key"])).status_code == 403
    assert (await app.request("DELETE", f"/v1/keys/{bootstrap}", key=narrow["key"])).status_code == 403
    assert (await app.post(f"/v1/keys/{narrow['id']}/rotate", json={}, key=narrow["key"])).status_code == 201
    assert (await app.request("DELETE", f"/v1/keys/{narrow['id']}", key=narrow["key"])).status_code == 204
    assert (await app.get("/v1/keys", key=narrow["key"])).status_code == 401
    assert (await app.post(f"/v1/keys/{bootstrap}/rotate", json={})).status_code == 201


async def test_a_secret_of_signed_events_is_made_by_who_may_send_events(questline: Instance) -> None:
    app = await questline.app()
    for scopes, status in ((["keys:write"], 403), (["keys:write", "events:write"], 201)):
        key = (await app.post("/v1/keys", json={"role": "ADMIN", "scopes": scopes})).json()["key"]
        assert (await app.post("/v1/signing-secrets", json={}, key=key)).status_code == status
