"""Tenant isolation: every route of the API, walked with the credentials of others and the names of what they must not reach.

Nothing that belongs to the one comes back to the other, and not a row of it changes.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from conftest_api import App, Instance, until
from test_api_description import DOCUMENT, ENTRIES, OPERATIONS, SCHEMAS, WHOLE
from test_audit import WHOLE as OF_ACTS
from test_audit import give_login
from test_tenants import OPERATOR, Org, made

from questline.assembly import running_api
from questline.settings import Settings

MARK = "for-the-owners-eyes-only"  # in what the one tenant stores, and in no request of the others
USER, EVENT = "victims-user", "victims-event"
# What another tenant may do under the same name: it makes, sees or removes a thing of its own.
OF_ITS_OWN = re.compile(r"^(put[A-Z]\w*|uploadCoupons|mintUserToken|logInMember|acceptInvitation)$")


class Victim:
    """A tenant with something of everything, and what each part of a path is called there."""

    def __init__(
        self, app: App, org: Org, owner: str, ids: dict[str, str], of_operations: dict[str, dict[str, str]]
    ) -> None:
        self.app = app
        self.org = org
        self.owner = owner
        self.ids = ids
        self.of_operations = of_operations  # those that are about another thing of that kind

    def request(self, path: str, operation: dict[str, Any]) -> tuple[str, dict[str, str], Any]:
        """Return an operation's path, query and body that name the victim's things."""
        names = self.ids | self.of_operations.get(operation["operationId"], {})
        names |= {"name": ENTRIES[path.split("/")[2]]} if "{name}" in path else {}
        query = {
            p["name"]: names[p["name"]] for p in operation["parameters"] if p["in"] == "query" and p["name"] in names
        }
        if operation["operationId"] == "getLeaderboard":
            query["metric"] = "xp"
        return re.sub(r"{(\w+)}", lambda found: names[found[1]], path), query, _body(operation, names)


def _body(operation: dict[str, Any], names: dict[str, str]) -> Any:
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return None
    name = content["application/json"]["schema"].get("$ref", "").rpartition("/")[2]
    body = SCHEMAS[name or "Event"]["examples"][0]
    if not isinstance(body, dict):
        return body
    if name == "DeadLetterRetry":
        return {"eventIds": [names["letter"]]}
    if name == "DeadLetterDiscard":
        return {"eventIds": [names["letter"]], "reason": "a test", "project": names["project"]}
    return {key: names[key] if key in ("userId", "eventId", "project") else value for key, value in body.items()}


@pytest.fixture(scope="module")
async def victim(questline: Instance) -> Victim:
    return await tenant(questline, "victim", "vic")


async def tenant(questline: Instance, name: str, owner: str) -> Victim:
    """Make a tenant with one of everything that a path can name, so that its own credentials find each."""
    org = await made(questline, name, (owner, "owner"))
    app = App(questline, name, org.key)
    program = {
        **WHOLE,
        "rewards": OF_ACTS["rewards"],
        "store": OF_ACTS["store"],
        "rules": OF_ACTS["rules"],
        "guards": {**WHOLE["guards"], **OF_ACTS["guards"]},
        "achievements": {
            **WHOLE["achievements"],
            "marked": {"title": MARK, "requirements": [{"metric": "tasks", "threshold": 1}]},
        },
    }
    assert (await app.put("/v1/program", json=program)).status_code == 200
    await app.post("/v1/users", json={"id": USER, "displayName": MARK, "attributes": {"secret": MARK}})
    await give_login(questline, app, USER)
    ids_of = await sent(app, [*["task"] * 3, "hello", "risky", "risky", "gift"])
    for type_ in ("gift", "hello"):
        await bury(questline, ids_of[type_])
    fulfilments = [await redeemed(app, item) for item in ("mug", "ticket")]
    await app.send("task", USER, {"secret": MARK}, eventId="victims-waiting-event")
    await until(lambda: is_counted(app))
    await app.post("/v1/coupons/spring", json=[MARK])
    incident = {
        "id": "victims-incident",
        "from": "2025-11-02T20:00:00Z",
        "until": "2025-11-03T01:30:00Z",
        "reason": MARK,
    }
    assert (await app.post("/v1/incidents", json=incident)).status_code == 202
    key = (await app.post("/v1/keys", json={"name": MARK})).json()["id"]
    secret = (await app.post("/v1/signing-secrets", json={})).json()["id"]
    invited = await org.call(owner, "POST", f"{org.path}/invitations", {"email": "marked@victim.org"})
    replay = await app.post("/v1/admin/replay", json={"mode": "republish", "reason": MARK})
    [grant] = (await app.get(f"/v1/users/{USER}/rewards")).json()["items"]
    ids = {
        "userId": USER, "eventId": ids_of["task"], "appId": name, "project": name, "number": "1", "item": "coffee", "quest": "tour",
        "step": "look", "achievement": "told", "streak": "daily", "grant": grant["grant"], "grantId": grant["grant"],
        "fulfilmentId": fulfilments[0], "pool": "spring", "incident": "victims-incident", "organization": name,
        "memberId": org.ids[owner], "member": org.ids[owner], "invitationId": invited.json()["invitation"]["id"], "keyId": key, "secretId": secret,
        "replay": replay.json()["id"], "eventType": "task",
    }  # fmt: skip
    held = {"eventId": ids_of["risky"]}
    of_operations = {
        "approveReview": held,
        "denyReview": held,
        "deliverAgain": {"fulfilmentId": fulfilments[1]},
        "redeemItem": {"item": "mug"},
        "retryDeadLetters": {"letter": ids_of["gift"]},
        "discardDeadLetters": {"letter": ids_of["hello"]},
    }
    return Victim(app, org, owner, ids, of_operations)


async def sent(app: App, types: list[str]) -> dict[str, str]:
    """Send events that are applied at once, and return our id of the last of each type."""
    ids = {}
    for n, type_ in enumerate(types):
        payload = {"secret": MARK, "amount": 100}
        headers = {"Prefer": "wait=5"}
        answer = await app.send(type_, USER, payload, eventId=f"{EVENT}-{n}", schemaVersion="2", headers=headers)
        assert answer.status_code == 200, answer.text
        ids[type_] = answer.json()["eventId"]
    return ids


async def bury(questline: Instance, event_id: str) -> None:
    """Make a dead letter of an event."""
    await questline.owner.execute(
        "INSERT INTO dead_letters (project_id, event_id, user_hash, reason, message, attempts, failed_at) "
        "SELECT project_id, id, 0, 'STORE_ERROR', '', 1, now() FROM events WHERE id = $1",
        event_id,
    )


async def redeemed(app: App, item: str) -> str:
    """Redeem an item of the store, and return the fulfilment that waits."""
    answer = await app.post(f"/v1/store/{item}/redeem", json={"userId": USER})
    assert answer.status_code == 200, answer.text
    waiting = (await app.get("/v1/fulfilments")).json()["items"]
    return next(one["fulfilment"] for one in waiting if one["item"] == item)


async def is_counted(app: App) -> bool:
    """Whether the three events that were applied are in the list of types, which is written some time after."""
    answer = await app.get("/v1/event-types/task")
    return answer.status_code == 200 and answer.json()["events"] == 3


@pytest.fixture(scope="module")
async def http(database: Any, questline: Instance) -> AsyncIterator[httpx.AsyncClient]:
    """The API as it runs in production: what is open to everybody in development is the operator's."""
    settings = Settings(
        dsn=database.app_dsn, pool_connections=4, rate_limit_address=0, admin_token=OPERATOR["X-Admin-Token"],
        secret_keys=questline.settings.secret_keys, token_keys=questline.settings.token_keys,
    )  # fmt: skip
    async with running_api(settings) as app:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("192.0.2.200", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://t", timeout=60) as client:
            yield client


@pytest.fixture(scope="module")
async def credentials(questline: Instance, victim: Victim) -> dict[str, dict[str, str]]:
    """What others may hold, by who they are."""
    other = await made(questline, "other", ("eve", "owner"))
    app = App(questline, "other", other.key)
    await app.put("/v1/program", json={})
    publishable = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    revoked = (await victim.app.post("/v1/keys", json={"role": "ADMIN"})).json()
    assert (await victim.app.request("DELETE", f"/v1/keys/{revoked['id']}")).status_code == 204
    return {
        "nobody": {},
        "another's key": {},
        "another's key, naming the victim": {"X-API-Key": other.key, "X-Tenant-Id": "victim"},
        "another's publishable key": {"X-API-Key": publishable},
        "a member of another organization": {"Authorization": f"Bearer {other.tokens['eve']}"},
        "such a member, naming the victim": {"Authorization": f"Bearer {other.tokens['eve']}", "X-Tenant-Id": "victim"},
        "a revoked key of the victim": {"X-API-Key": revoked["key"]},
        "a wrong operator": {"X-Admin-Token": "operator-of-the-test"},
        **await _users_token(questline),
    }


async def _users_token(questline: Instance) -> dict[str, dict[str, str]]:
    """A token of a third project's user of the victim's user's name."""
    if TOKENS not in DOCUMENT["paths"]:
        return {}
    app = await questline.app()
    await app.post("/v1/users", json={"id": USER})
    told = (await app.post(f"/v1/users/{USER}/token", json={})).json()
    return {"another's user of that name": {"Authorization": f"Bearer {told.get('accessToken') or told['token']}"}}


TOKENS = "/v1/users/{userId}/token"
WHO = ["nobody", "another's key", "another's key, naming the victim", "another's publishable key", "a member of another organization",
       "such a member, naming the victim", "a revoked key of the victim", "a wrong operator",
       *(["another's user of that name"] if TOKENS in DOCUMENT["paths"] else [])]  # fmt: skip
WALK = [o for o in OPERATIONS if o[2]["tags"] != ["system"]]


@pytest.mark.parametrize("who", WHO)
async def test_no_route_shows_or_changes_what_is_another_tenants(
    questline: Instance, http: httpx.AsyncClient, victim: Victim, credentials: dict[str, dict[str, str]], who: str
) -> None:
    before = await _rows_of(questline, "victim")
    faults = []
    refusals = (401, 403, 404, 400) if who == "a member of another organization" else (401, 403, 404)  # which project?
    for method, path, operation in WALK:
        filled, query, body = victim.request(path, operation)
        # A project of its own for each: what came before would have brought a user of that name into it.
        sent = {"X-API-Key": (await questline.app({})).key} if who == "another's key" else credentials[who]
        answer = await http.request(method, filled, params=query, json=body, headers=sent)
        told = (operation["operationId"], answer.status_code, answer.text[:200])
        if (
            answer.status_code >= 500
            or MARK in answer.text
            or ("{" in path and answer.status_code not in refusals and not _is_of_its_own(who, told[0], path))
        ):
            faults.append(told)
        elif who in ("nobody", "a revoked key of the victim", "a wrong operator") and _is_guarded(operation):
            faults += [told] if answer.status_code not in (401, 403) else []
    assert faults == []
    assert len(WALK) > 150
    assert await _rows_of(questline, "victim") == before


async def test_everything_that_the_walk_names_is_there_for_its_own_tenant(questline: Instance) -> None:
    """So the walk can fail: a 404 of its own tenant's would say that the others are refused for another reason."""
    own = await tenant(questline, "own-tenant", "own")
    before = await _rows_of(questline, "own-tenant")
    missing = []
    for method, path, operation in sorted(WALK, key=_removals_last):
        if "{" not in path and "/admin/dlq/" not in path:
            continue
        filled, query, body = own.request(path, operation)
        if "x-roles" in operation:
            answer = await own.app.request(method, filled, params=query, json=body)
        else:
            of_members = {"member": []} in operation["security"]
            answer = await own.org.call(own.owner if of_members else "operator", method, filled, body)
        if answer.status_code in (401, 403, 404) or answer.status_code >= 500:
            missing.append((operation["operationId"], answer.status_code, answer.text[:200]))
        if "/admin/dlq/" in path and method == "POST":
            assert answer.json()["done"] == 1
    assert missing == []
    assert await _rows_of(questline, "own-tenant") != before


def _removals_last(walked: tuple[str, str, dict[str, Any]]) -> tuple[bool, bool, int]:
    """Sort what removes after what uses it, and keys, projects and the organization after what is in them."""
    method, path, _ = walked
    return method == "DELETE", "/organizations/" in path, -path.count("/") if method == "DELETE" else 0


def _is_of_its_own(who: str, operation: str, path: str) -> bool:
    return OF_ITS_OWN.match(operation) is not None or (who == "another's user of that name" and "{userId}" in path)


def _is_guarded(operation: dict[str, Any]) -> bool:
    return operation["security"] != [] and {} not in operation["security"]


async def _rows_of(questline: Instance, app_id: str) -> dict[str, str]:
    """Return a digest of every table's rows of a project, by table."""
    project, organization = await questline.owner.fetchrow(
        "SELECT id, organization_id FROM projects WHERE app_id = $1", app_id
    )
    tables = await questline.owner.fetch(
        """SELECT c.table_name AS name, c.column_name AS key FROM information_schema.columns c
           JOIN pg_class r ON r.relname = c.table_name AND r.relkind IN ('r', 'p') AND NOT r.relispartition
           WHERE c.table_schema = 'public' AND c.column_name IN ('project_id', 'organization_id')
               AND c.table_name <> 'event_types'  -- the victim's own types, noted some time after their events"""
    )
    found = {}
    for table in [*tables, {"name": "projects", "key": "id"}, {"name": "organizations", "key": "id"}]:
        id_ = (
            organization
            if "organization" in (table["key"], table["name"].removesuffix("s")) or table["key"] == "organization_id"
            else project
        )
        query = (
            "SELECT md5(coalesce(string_agg(r, '|' ORDER BY r), '')) FROM "
            # When a key was used is noted some time after.
            f"(SELECT (to_jsonb(t) - 'last_used_at')::text FROM {table['name']} t WHERE {table['key']} = $1) AS rows (r)"
        )
        found[f"{table['name']} {table['key']}"] = await questline.owner.fetchval(query, id_)
    return found
