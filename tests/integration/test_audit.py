"""Every administrative act is in the log, from the transaction that did it, without secrets, and for good."""

from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from conftest_api import PROGRAM, App, Instance

from questline.api.app import RESOURCES
from questline.model.limits import AUDIT_EXPORT_ROWS, AUDIT_VALUE_BYTES_MAX

RULE = {"on": "x", "award": {"coins": 1}}
WHOLE: dict[str, Any] = {
    **PROGRAM,
    "rewards": {"welcome": {"type": "currency", "currency": "coins", "value": 5, "grant": "claim"}},
    "rules": {**PROGRAM["rules"], "hello": {"on": "hello", "rewards": [{"reward": "welcome"}]}},
    "store": {
        "mug": {"title": "Mug", "price": {"coins": 5}, "fulfilment": "manual"},
        "ticket": {"title": "Ticket", "price": {"coins": 5}, "fulfilment": "webhook"},
    },
    "guards": {
        "held": {
            "kind": "rate",
            "on": "risky",
            "times": 1,
            "window": {"duration": 1, "unit": "hours"},
            "action": "hold",
        }
    },
}
# action, method, path, body, the target that is told, what is told after it
ACTS: list[tuple[str, str, str, Any, str, dict[str, Any]]] = [
    ("program.replace",      "PUT",    "/v1/program",                              {**WHOLE, "boards": {}},           "program ",          {"version": 2}),
    ("program.entry.add",    "POST",   "/v1/rules",                                {"name": "new", **RULE},           "rules new",         {"version": 2, "definition": RULE}),
    ("program.entry.set",    "PUT",    "/v1/rules/task",                           RULE,                              "rules task",        {"definition": RULE}),
    ("program.entry.remove", "DELETE", "/v1/rules/gift",                           None,                              "rules gift",        {"definition": None}),
    ("key.create",           "POST",   "/v1/keys",                                 {"name": "till"},                  "key *",             {"name": "till", "role": "INGEST"}),
    ("key.rotate",           "POST",   "/v1/keys/{key}/rotate",                    {},                                "key {key}",         {}),
    ("signing.rotate",       "POST",   "/v1/signing-secrets",                      {},                                "signing-key *",     {"overlapSeconds": 86400}),
    ("signing.remove",       "DELETE", "/v1/signing-secrets/{signing}",            None,                              "signing-key {signing}", {}),
    ("key.revoke",           "DELETE", "/v1/keys/{key}",                           None,                              "key {key}",         {}),
    ("user.block",           "POST",   "/v1/users/ada/block",                      {"reason": "r"},                   "user ada",          {"status": "processed"}),
    ("user.unblock",         "POST",   "/v1/users/ada/unblock",                    {"reason": "r"},                   "user ada",          {"status": "processed"}),
    ("user.mint_token",      "POST",   "/v1/users/ada/token",                      {"expiresIn": 60},                 "user ada",          {"expiresIn": 60}),
    ("user.issue_reset",     "POST",   "/v1/users/ada/password-reset",             None,                              "user ada",          {}),
    ("user.issue_reset",     "POST",   "/v1/users/password-reset",                 {"email": "ada@example.com"},      "user ada",          {}),
    ("review.approve",       "POST",   "/v1/reviews/risky-2/approve",              {},                                "event *",           {"status": "processed"}),
    ("review.deny",          "POST",   "/v1/reviews/risky-2/deny",                 {},                                "event *",           {"status": "processed"}),
    ("streak.restore",       "POST",   "/v1/users/ada/streaks/daily/restore",      {"reason": "ill", "from": "2020-01-01", "until": "2020-01-02"}, "user ada", {}),
    ("grant.revoke",         "POST",   "/v1/rewards/{grant}/revoke",               {},                                "grant {grant}",     {"status": "processed"}),
    ("fulfilment.complete",  "POST",   "/v1/fulfilments/{fulfilment}/complete",    {},                                "fulfilment {fulfilment}", {"status": "processed"}),
    ("fulfilment.fail",      "POST",   "/v1/fulfilments/{fulfilment}/fail",        {},                                "fulfilment {fulfilment}", {"status": "processed"}),
    ("fulfilment.deliver",   "POST",   "/v1/fulfilments/{message}/deliver",        None,                              "fulfilment {message}", {}),
    ("coupons.upload",       "POST",   "/v1/coupons/spring",                       ["A-1", "A-2"],                    "pool spring",       {"codes": 2, "new": 2, "total": 2}),
    ("dead_letters.retry",   "POST",   "/v1/admin/dlq/retry",                      {},                                "dead-letters *",    {"events": 1}),
    ("dead_letters.discard", "POST",   "/v1/admin/dlq/discard",                    {"reason": "a test"},              "dead-letters *",    {"events": 1, "reason": "a test"}),
    ("replay.start",         "POST",   "/v1/admin/replay",                         {"mode": "republish", "reason": "a test"}, "replay *",      {"mode": "republish", "reason": "a test"}),
    ("incident.report",      "POST",   "/v1/incidents",                            {"from": "2025-11-02T20:00:00Z", "until": "2025-11-03T01:00:00Z", "reason": "down"}, "sweep *", {"reason": "down"}),
    ("achievement.award",    "POST",   "/v1/achievements/three/retroactive",       None,                              "sweep *",           {"achievement": "three"}),
]  # fmt: skip


async def prepared(questline: Instance) -> tuple[App, dict[str, str]]:
    """A project in which every act can be done, and the ids of what it is done to."""
    app = await questline.app(WHOLE)
    ids = {"key": (await app.post("/v1/keys", json={"name": "spare"})).json()["id"]}
    ids["signing"] = (await app.post("/v1/signing-secrets", json={})).json()["id"]
    waited = {"headers": {"Prefer": "wait=5"}}
    await app.send("gift", "ada", {"amount": 50}, **waited)
    await app.send("hello", "ada", **waited)
    for n in (1, 2):
        await app.send("risky", "ada", eventId=f"risky-{n}", **waited)
    ids["grant"] = (await app.get("/v1/users/ada/rewards")).json()["items"][0]["grant"]
    for item in ("mug", "ticket"):
        redeemed = await app.post(f"/v1/store/{item}/redeem", json={"userId": "ada"})
        assert redeemed.status_code == 200, redeemed.text
    await questline.owner.execute(
        "INSERT INTO dead_letters (project_id, event_id, user_hash, reason, message, attempts, failed_at) "
        "SELECT project_id, e.id, 0, 'STORE_ERROR', '', 1, now() FROM events e JOIN projects p ON p.id = project_id "
        "WHERE p.app_id = $1 AND type = 'gift'",
        app.app_id,
    )
    await give_login(questline, app, "ada")
    of_item = {one["item"]: one["fulfilment"] for one in (await app.get("/v1/fulfilments")).json()["items"]}
    ids |= {"fulfilment": of_item["mug"], "message": of_item["ticket"]}
    return app, ids


async def give_login(questline: Instance, app: App, user: str) -> None:
    """Let a user log in by their id at example.com, with a password that nobody knows."""
    await questline.owner.execute(
        """INSERT INTO credentials (project_id, login, user_id, password_hash)
           SELECT u.project_id, u.external_id || '@example.com', u.id, 'none' FROM users u JOIN projects p ON p.id = u.project_id
           WHERE p.app_id = $1 AND u.external_id = $2""",
        app.app_id, user,
    )  # fmt: skip


async def acts(app: App, **query: Any) -> list[dict[str, Any]]:
    answer = await app.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


@pytest.mark.parametrize(("action", "method", "path", "body", "target", "after"), ACTS, ids=[a[0] for a in ACTS])
async def test_an_act_is_written_with_who_did_what_to_what(
    questline: Instance, action: str, method: str, path: str, body: Any, target: str, after: dict[str, Any]
) -> None:
    app, ids = await prepared(questline)
    before = await acts(app)
    path, target = path.format(**ids), target.format(**ids)
    answer = await app.request(method, path, json=body, headers={"X-Correlation-Id": "ticket-7"})
    assert answer.status_code < 300 or action == "streak.restore", answer.text
    new = [act for act in await acts(app) if act not in before]
    assert [act["action"] for act in new] == [action]
    act = new[0]
    told = f"{act['target']['kind']} {act['target']['id']}"
    assert told == target or (target.endswith("*") and told.startswith(target[:-1])), told
    mine = next(k for k in (await app.get("/v1/keys")).json()["items"] if k["name"] == "bootstrap")
    assert (act["actor"], act["correlationId"], act["appId"]) == (f"key:{mine['id']}", "ticket-7", app.app_id)
    assert act["address"] == "127.0.0.1"
    assert {name: act["after"].get(name) for name in after} == after


def test_the_table_has_every_act_of_a_project() -> None:
    named = {
        h.opt["act"] for h in RESOURCES if h.opt.get("act") and h.opt.get("scope") and "project" not in h.opt["act"]
    }
    named = {act for act in named if act.split(".")[0] not in ("organization", "member", "invitation")}
    assert {a[0] for a in ACTS} == named


async def test_a_refused_act_is_told_as_refused_and_one_that_cannot_be_is_not_told(questline: Instance) -> None:
    app, ids = await prepared(questline)
    before = len(await acts(app))
    assert (await app.post(f"/v1/rewards/{ids['grant']}/revoke", json={})).status_code == 200
    assert (await app.post(f"/v1/rewards/{ids['grant']}/revoke", json={})).status_code == 409
    assert (await app.post("/v1/rewards/none/revoke", json={})).status_code == 404
    assert (await app.post("/v1/rules", json={"name": "task", **RULE})).status_code == 409
    assert (await app.put("/v1/rules/new", json={"award": 7})).status_code == 422
    assert (await app.put("/v1/rules/gift", json=WHOLE["rules"]["gift"])).status_code == 200  # which changed nothing
    preview = {"from": "2025-11-02T20:00:00Z", "until": "2025-11-03T01:00:00Z", "reason": "down"}
    assert (await app.post("/v1/incidents?preview=true", json=preview)).status_code == 200
    new = (await acts(app))[: len(await acts(app)) - before]
    assert [(act["action"], act["after"]["status"]) for act in new] == [
        ("grant.revoke", "refused"),
        ("grant.revoke", "processed"),
    ]
    assert new[0]["after"]["reason"] == "NOT_PENDING"


async def test_a_repeat_under_the_same_key_is_no_second_act(questline: Instance) -> None:
    app, _ = await prepared(questline)
    answers = [
        await app.post("/v1/users/ada/block", json={"reason": "r"}, headers={"Idempotency-Key": "once"})
        for _ in range(3)
    ]
    blocked = await acts(app, action="user.block")
    assert [answer.json()["duplicate"] for answer in answers] == [False, True, True]
    assert [act["eventId"] for act in blocked] == [answers[0].json()["eventId"]]
    assert await acts(app, targetKind="user", target="ada") == blocked


@pytest.mark.parametrize(
    ("method", "path", "body", "shown"),
    [
        ("POST", "/v1/keys", {"name": "unseen"}, "/v1/keys"),
        ("PUT", "/v1/rules/task", RULE, "/v1/program"),
        ("POST", "/v1/users/ada/block", {"reason": "r"}, "/v1/users/ada/profile"),
        ("POST", "/v1/coupons/spring", ["A"], "/v1/stocks"),
        ("POST", "/v1/users/new/token", {}, "/v1/users/ada/profile"),
    ],
)
async def test_what_cannot_be_written_down_is_not_done(
    questline: Instance, method: str, path: str, body: Any, shown: str
) -> None:
    app, _ = await prepared(questline)
    before = (await app.get(shown)).json()
    await questline.owner.execute("ALTER TABLE audit_log ADD CONSTRAINT no_more CHECK (false) NOT VALID")
    try:
        assert (await app.request(method, path, json=body)).status_code >= 500
    finally:
        await questline.owner.execute("ALTER TABLE audit_log DROP CONSTRAINT no_more")
    assert _undated((await app.get(shown)).json()) == _undated(before)


def _undated(value: Any) -> Any:
    return [{**k, "lastUsedAt": None} for k in value["items"]] if "lastUsedAt" in str(value) else value


async def test_who_has_tokens_made_for_a_user_is_told_once_a_day_and_place(questline: Instance) -> None:
    app = await questline.app()
    other = (await app.post("/v1/keys", json={"role": "ADMIN", "scopes": ["tokens:write"]})).json()
    elsewhere = httpx.ASGITransport(app=questline.asgi, client=("192.0.2.7", 1))
    for _ in range(3):
        for user in ("ada", "grace@example.com"):
            assert (await app.post(f"/v1/users/{user}/token", json={})).status_code == 201
        assert (await app.post("/v1/users/ada/token", json={}, key=other["key"])).status_code == 201
        async with httpx.AsyncClient(transport=elsewhere, base_url="http://t") as http:
            answer = await http.post("/v1/users/ada/token", json={}, headers={"X-API-Key": app.key})
            assert answer.status_code == 201
    told = [(act["actor"], act["target"]["id"], act["address"]) for act in await acts(app, action="user.mint_token")]
    mine = told[-1][0]
    assert sorted(told) == sorted(
        [
            (mine, "ada", "127.0.0.1"),
            (mine, "ada", "192.0.2.7"),
            (mine, "grace@example.com", "127.0.0.1"),
            (f"key:{other['id']}", "ada", "127.0.0.1"),
        ]
    )
    assert [act["target"]["id"] for act in await acts(app, targetKind="user", target="grace@example.com")] == [
        "grace@example.com"
    ]
    stored = await questline.owner.fetch("SELECT audit_log::text FROM audit_log")
    assert not any("grace@example.com" in row[0] for row in stored)


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"])
async def test_the_log_is_changed_by_nobody(questline: Instance, database: Any, statement: str) -> None:
    await questline.app()
    conn = await asyncpg.connect(database.app_dsn)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await conn.execute(statement)
    await conn.close()
    with pytest.raises(asyncpg.RestrictViolationError):
        await questline.owner.execute(statement)


async def test_no_secret_is_in_the_log(questline: Instance) -> None:
    body = {
        "id": "secretive", "name": "S", "webhookUrl": "https://hook:pa55@example.com/x?sig=51gnature", "webhookSecret": "wh5ecret",
    }  # fmt: skip
    made = (await questline.http.post("/v1/apps", json=body)).json()
    app = App(questline, "secretive", made["bootstrapApiKey"])
    key = (await app.post("/v1/keys", json={"name": "till"})).json()
    rotated = (await app.post(f"/v1/keys/{key['id']}/rotate", json={})).json()["key"]
    text = (await app.get("/v1/audit/export")).text
    rows = await questline.owner.fetch("SELECT audit_log::text FROM audit_log")
    everything = text + "".join(row[0] for row in rows)
    for secret in (made["bootstrapApiKey"], key["key"], rotated["key"], "pa55", "51gnature", "wh5ecret"):
        assert secret not in everything
    assert [msgspec.json.decode(line)["action"] for line in text.splitlines()] == [
        "key.rotate",
        "key.create",
        "project.create",
    ]


async def test_a_word_of_a_user_is_in_their_event_and_not_in_the_log(questline: Instance) -> None:
    app, _ = await prepared(questline)
    await app.send("task", "grace@example.com", headers={"Prefer": "wait=5"})
    await app.post("/v1/users/grace@example.com/block", json={"reason": "r"})
    assert (await acts(app))[0]["target"] == {"kind": "user", "id": "grace@example.com"}
    stored = await questline.owner.fetch("SELECT audit_log::text FROM audit_log")
    assert not any("grace@example.com" in row[0] for row in stored)


async def test_a_large_value_is_told_by_its_size(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    rule = {"on": "x", "when": {"field": "f", "op": "in", "value": ["v" * 100] * 200}, "award": {"coins": 1}}
    assert (await app.put("/v1/rules/large", json=rule)).status_code == 200
    after = (await acts(app))[0]["after"]
    assert (after["tooLarge"], after["bytes"] > AUDIT_VALUE_BYTES_MAX) == (True, True)


async def test_the_log_is_read_by_pages_and_exported_whole(questline: Instance) -> None:
    app, other = await questline.app(), await questline.app()
    await other.post("/v1/keys", json={"name": "not mine"})
    count = AUDIT_EXPORT_ROWS + 5
    await questline.owner.execute(
        """INSERT INTO audit_log (project_id, organization_id, id, actor, action, target_kind, target, correlation_id, address)
           SELECT p.id, p.organization_id, lpad(to_hex(n), 32, '0')::uuid, 'operator', 'test.' || n % 2, 'key', n::text, '', ''
           FROM projects p, generate_series(1, $2) n WHERE app_id = $1""",
        app.app_id, count,
    )  # fmt: skip
    exported = [msgspec.json.decode(line) for line in (await app.get("/v1/audit/export")).text.splitlines()]
    assert [act["target"]["id"] for act in exported[1:]] == [str(n) for n in range(count, 0, -1)]
    pages, cursor = [], None
    while cursor is not None or not pages:
        page = (await app.get("/v1/audit", params={"limit": 200, **({"cursor": cursor} if cursor else {})})).json()
        pages += page["items"]
        cursor = page["nextCursor"]
    assert pages == exported
    assert len(await acts(app, action="test.1", limit=200)) == 200
    assert [act["target"]["id"] for act in await acts(app, target="17")] == ["17"]
    assert await acts(app, until="2020-01-01T00:00:00Z") == []
    reader = (await app.post("/v1/keys", json={"role": "READONLY"})).json()["key"]
    assert (await app.get("/v1/audit", key=reader)).status_code == 403


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("since", "2020-01-01T00:00:00"),  # without a zone
        ("since", "yesterday"),
        ("until", "5.8e16"),
        ("until", "253402300800"),  # the first second of the year 10000
        ("until", "nan"),
        ("since", ""),
        ("targetKind", "k" * 300),
        ("actor", "a" * 300),
    ],
)
async def test_a_choice_that_cannot_be_is_refused_by_its_name(questline: Instance, parameter: str, value: str) -> None:
    app = await questline.app()
    answer = await app.get("/v1/audit", params={parameter: value})
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)
    assert answer.json()["detail"].startswith(f"{parameter} ")


async def test_who_creates_a_project_is_written_down(questline: Instance) -> None:
    answers: list[httpx.Response] = []
    for app_id, headers in (("by-operator", {"X-Admin-Token": "operator-of-the-tests"}), ("by-anybody", {})):
        answers.append(await questline.http.post("/v1/apps", json={"id": app_id, "name": "x"}, headers=headers))
    logs = [await acts(App(questline, "", answer.json()["bootstrapApiKey"])) for answer in answers]
    assert [(log[0]["actor"], log[0]["target"]) for log in logs] == [
        ("operator", {"kind": "project", "id": "by-operator"}),
        ("developer", {"kind": "project", "id": "by-anybody"}),
    ]
