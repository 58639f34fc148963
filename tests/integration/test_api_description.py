"""What the API says of itself is true: the document is valid, its examples fit, and the answers are as it says."""

import re
from typing import Any
from uuid import UUID

import httpx
import jsonschema
import pytest
from conftest_api import PROGRAM, App, Instance
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from test_api import ROUTES

from questline.api.app import description

DOCUMENT = description()
OPERATIONS = [
    (method.upper(), path, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
]
IDS = [operation["operationId"] for _, _, operation in OPERATIONS]
OF_ONE_THING = [o for o in OPERATIONS if "{" in o[1] and "x-roles" in o[2]]
PUBLIC = [
    "/v1/apps",
    "/v1/apps/{appId}/rate-limits",
    "/v1/members/login",
    "/v1/auth/register",
    "/v1/auth/login",
    "/v1/auth/refresh",
    "/v1/auth/logout",
    "/v1/auth/password",
    "/v1/auth/reset",
    "/v1/me",
    "/v1/invitations/accept",
    "/v1/members/reset",
    "/v1/program/schema",
    "/health",
    "/ready",
]
SCHEMAS = DOCUMENT["components"]["schemas"]
REGISTRY: Registry[Any] = Registry().with_resource("urn:doc", Resource(DOCUMENT, DRAFT202012))
WHOLE: dict[str, Any] = {
    **PROGRAM,
    "eventTypes": {"gift": {"title": "A gift"}},
    "seasons": {"winter": {"start": "2036-12-01", "end": "2037-03-01", "boards": {"xp": {"currency": "XP"}}}},
    "leagues": {"weekly": {"currency": "XP", "promote": 1, "demote": 1, "tiers": [{"title": "One"}, {"title": "Two"}]}},
}
ENTRIES = {
    "currencies": "coins",
    "metrics": "tasks",
    "rules": "task",
    "streaks": "daily",
    "achievements": "three",
    "boards": "xp",
    "vitals": "energy",
    "items": "coffee",
    "rewards": "welcome",
    "guards": "burst",
    "store": "mug",
    "segments": "regulars",
    "boosts": "weekend",
    "tiers": "club",
    "commissions": "sales",
    "quests": "tour",
    "seasons": "winter",
    "leagues": "weekly",
}


def test_the_document_is_valid_openapi_3_1() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


@pytest.mark.parametrize("name", [n for n, s in SCHEMAS.items() if "examples" in s])
def test_each_example_fits_its_schema(name: str) -> None:
    for example in SCHEMAS[name]["examples"]:
        checker(SCHEMAS[name]).validate(example)


@pytest.mark.parametrize("operation", [o for _, _, o in OPERATIONS], ids=IDS)
def test_each_operation_is_told_with_examples(operation: dict[str, Any]) -> None:
    contents = [operation.get("requestBody", {}), *operation["responses"].values()]
    schemas = [part.get("content", {}).get("application/json", {}).get("schema", {}) for part in contents]
    named = [s for s in schemas if s and "anyOf" not in s]
    assert [s for s in named if "examples" not in SCHEMAS.get(s.get("$ref", "").rpartition("/")[2], {})] == []
    assert operation["summary"]
    assert [p["name"] for p in operation["parameters"] if "description" not in p] == []


def test_operations_have_ids_of_their_own() -> None:
    assert len(IDS) == len(set(IDS))


def test_the_document_says_of_each_route_what_the_table_of_roles_says() -> None:
    """The table in test_api.py says by hand who may do what; the document is made from the code."""
    table = {(method, path.partition("?")[0]): roles for method, path, _, roles in ROUTES}
    differing = {route: told for route, roles in table.items() if (told := _told_roles(*route)) != roles}
    assert differing == {}


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
async def test_a_role_may_what_the_document_says_and_nothing_else(
    questline: Instance, method: str, path: str, operation: dict[str, Any]
) -> None:
    if "x-roles" not in operation:
        assert path in PUBLIC or operation["security"] == [{"operator": []}] or {"member": []} in operation["security"]
        return
    app = await questline.app(WHOLE)
    for role in ("ADMIN", "INGEST", "READONLY"):
        key = (await app.post("/v1/keys", json={"role": role})).json()["key"]
        answer = await app.request(method, await _filled(app, path), json=_body(operation), key=key)
        assert (answer.status_code == 403) is (role not in operation["x-roles"]), (role, answer.text)
        assert answer.status_code < 500
    publishable = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    answer = await app.request(method, await _filled(app, path), json=_body(operation), key=publishable)
    sends = operation["tags"] == ["events"] and method == "POST"
    assert (answer.status_code == 403) is not sends, answer.text


@pytest.mark.parametrize(("method", "path", "operation"), OF_ONE_THING, ids=[o[2]["operationId"] for o in OF_ONE_THING])
async def test_another_tenants_key_finds_nothing_and_changes_nothing(
    questline: Instance, method: str, path: str, operation: dict[str, Any]
) -> None:
    mine, other = await questline.app(WHOLE), await questline.app()
    await mine.send("task", "ada", eventId="first", headers={"Prefer": "wait=5"})
    filled = await _filled(mine, path)
    before = await _shown(mine)
    answer = await other.request(method, filled, json=_body(operation))
    if method == "PUT" or operation["operationId"] == "uploadCoupons":
        assert answer.status_code in (200, 422)  # a definition or a pool of its own, of the same name
    elif operation["operationId"] == "mintUserToken":
        assert answer.status_code == 201  # of a user of its own, of the same name
    else:
        assert answer.status_code == 404, answer.text
    assert await _shown(mine) == before


async def test_answers_are_as_the_document_says(questline: Instance) -> None:
    app = await questline.app(WHOLE)
    await app.send("task", "ada", {"difficulty": "hard"}, eventId="first", headers={"Prefer": "wait=5"})
    await app.send("gift", "ada", {"amount": 2**62}, headers={"Prefer": "wait=5"})
    await app.send("task", "bob", eventId="waiting")
    order = ("GET", "POST", "PUT", "PATCH", "DELETE")
    for method, path, operation in sorted(OPERATIONS, key=lambda o: order.index(o[0])):
        if operation["operationId"] == "stream":
            continue
        query = "?metric=XP&userId=ada&around=1" if operation["operationId"] == "getLeaderboard" else ""
        _check(operation, await app.request(method, await _filled(app, path) + query, json=_body(operation)))


async def test_the_page_of_the_api_names_every_operation_and_needs_no_other_host(questline: Instance) -> None:
    answer = await questline.http.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert [id_ for id_ in IDS if f"id='{id_}'" not in answer.text] == []
    assert (
        re.findall(r"(?:src|href)='(?!#|/openapi.json)|(?:src|href)=[^']|url\(|@import|<script|<link", answer.text)
        == []
    )


@pytest.mark.parametrize("path", ["/openapi.json", "/v1/openapi.json"])
async def test_the_document_is_served(questline: Instance, path: str) -> None:
    assert (await questline.http.get(path)).json() == DOCUMENT


async def test_metrics_of_the_program_and_of_the_process_are_told_apart_by_the_prefix(questline: Instance) -> None:
    app = await questline.app(WHOLE)
    assert (await app.get("/v1/metrics")).json()["items"] == PROGRAM["metrics"]
    assert "questline_http_requests_total" in (await app.get("/metrics")).text


def checker(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """A validator of one of the document's schemas."""
    bare = {key: value for key, value in schema.items() if key != "examples"}
    return jsonschema.Draft202012Validator(_absolute(bare), registry=REGISTRY)


def _absolute(value: Any) -> Any:
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    if isinstance(value, dict):
        return {k: f"urn:doc{v}" if k == "$ref" else _absolute(v) for k, v in value.items()}
    return value


def _check(operation: dict[str, Any], answer: httpx.Response) -> None:
    name, status = operation["operationId"], str(answer.status_code)
    assert status in operation["responses"], (name, status, answer.text)
    told = operation["responses"][status]
    if "$ref" in told:
        told = DOCUMENT["components"]["responses"][status]
    if answer.content:
        media = answer.headers["content-type"].split(";")[0]
        assert media in told["content"], (name, media)
        lines = media == "application/x-ndjson"
        checker(told["content"][media]["schema"]).validate(answer.text if lines else answer.json())


def _told_roles(method: str, path: str) -> set[str]:
    exact = [o for m, told, o in OPERATIONS if (m, told) == (method, path)]
    alike = [o for m, told, o in OPERATIONS if m == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", told), path)]
    return set([*exact, *alike][0]["x-roles"])


def _body(operation: dict[str, Any]) -> Any:
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return None
    name = content["application/json"]["schema"].get("$ref", "").rpartition("/")[2]
    return SCHEMAS[name or "Event"]["examples"][0]


async def _filled(app: App, path: str) -> str:
    """Return the path with ids that are there."""
    values = {
        "userId": "ada",
        "eventId": "first",
        "appId": app.app_id,
        "project": app.app_id,
        "number": "1",
        "item": "coffee",
        "quest": "tour",
        "step": "look",
        "achievement": "told",
        "streak": "daily",
        "eventType": "gift",
        "grant": "none-0",
        "grantId": "none-0",
        "fulfilmentId": "none",
        "pool": "spring",
        "incident": "outage-1",
        "organization": "default",
        "memberId": str(UUID(int=1)),
        "member": "nobody@example.com",
        "invitationId": str(UUID(int=1)),
    }
    if "{name}" in path:
        values["name"] = ENTRIES[path.split("/")[2]]
    if "{pool}" in path:
        await app.post("/v1/coupons/spring", json=["SPRING-1"])
    if "{keyId}" in path:
        values["keyId"] = (await app.post("/v1/keys", json={"name": "spare"})).json()["id"]
    if "{replay}" in path:
        values["replay"] = (await app.post("/v1/admin/replay", json={"mode": "republish"})).json()["id"]
    if "{secretId}" in path:
        values["secretId"] = (await app.post("/v1/signing-secrets", json={})).json()["id"]
    return re.sub(r"{(\w+)}", lambda found: values[found[1]], path)


async def _shown(app: App) -> list[Any]:
    """Return what a project shows of itself, but for when its keys were used."""
    paths = ("/v1/program", "/v1/keys", "/v1/users/ada/profile", "/v1/events")
    answers = [(await app.get(path)).json() for path in paths]
    for key in answers[1]["items"]:
        del key["lastUsedAt"]
    return answers
