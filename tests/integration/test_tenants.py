"""Organizations, members and projects: who may do what, from when on, and until when."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from conftest_api import Instance, client_of, running_instance, until

from questline.assembly import running_api
from questline.model.limits import LOGINS_PER_MINUTE, PASSWORD_CHARS_MAX
from questline.model.permissions import MEMBER_SCOPES, MemberRole, Scope
from questline.settings import Settings
from questline.store.embedded import EmbeddedPostgres
from tests.conftest import fresh_database

HOW_TO = Path(__file__).parents[2] / "docs/how-to/organizations-and-keys.md"
PASSWORD = "correct horse battery"
OPERATOR = {"X-Admin-Token": "operator-of-the-tests"}


class Org:
    """An organization with a project and members, each logged in once."""

    def __init__(self, http: httpx.AsyncClient, owner: Any, name: str) -> None:
        self.http = http
        self.owner = owner  # the database's
        self.name = name
        self.path = f"/v1/organizations/{name}"
        self.key = ""
        self.tokens: dict[str, str] = {}
        self.ids: dict[str, str] = {}

    async def call(
        self, who: str, method: str, path: str, body: Any = None, tenant: str | None = None
    ) -> httpx.Response:
        """Send a request as the operator, as a member by their first name, or as nobody (``)."""
        headers = OPERATOR if who == "operator" else {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        if tenant is not None:
            headers = {**headers, "X-Tenant-Id": tenant}
        return await self.http.request(method, path, json=body, headers=headers)

    async def join(self, token: str, name: str, password: str = PASSWORD) -> httpx.Response:
        return await self.http.post("/v1/invitations/accept", json={"token": token, "name": name, "password": password})

    async def session_of(self, name: str) -> str:
        """Begin a session without the cost of a password and the bound on logins."""
        token = "qm_" + sha256(f"{self.name} {name}".encode()).hexdigest()
        await self.owner.execute(
            "INSERT INTO member_sessions (token_hash, member_id, expires_at) VALUES (sha256($1), $2, now() + interval '1 hour')",
            token.encode(), self.ids[name],
        )  # fmt: skip
        return token

    async def roles(self) -> dict[str, str]:
        items = (await self.call("operator", "GET", f"{self.path}/members")).json()["items"]
        return {item["name"]: item["role"] for item in items}


async def made(questline: Instance, name: str, *people: tuple[str, str]) -> Org:
    """An organization with a project of the same name and the people given, by name and role."""
    # Each comes from an address of its own, for which logins are bounded.
    org = Org(client_of(questline), questline.owner, name)
    assert (await org.call("operator", "POST", "/v1/organizations", {"id": name, "name": name})).status_code == 201
    project = await org.call("operator", "POST", f"{org.path}/projects", {"id": name, "name": name})
    assert project.status_code == 201, project.text
    org.key = project.json()["bootstrapApiKey"]
    for person, role in people:
        await questline.owner.execute(
            """WITH m AS (INSERT INTO members (id, email, name, password_hash) VALUES (gen_random_uuid(), $1, $2, 'none')
                          RETURNING id)
               INSERT INTO memberships SELECT o.id, m.id, $3, now() FROM organizations o, m WHERE slug = $4""",
            f"{person}@{name}.org", person, role, name,
        )  # fmt: skip
        org.ids[person] = str(
            await questline.owner.fetchval("SELECT id FROM members WHERE email = $1", f"{person}@{name}.org")
        )
        org.tokens[person] = await org.session_of(person)
    return org


REQUESTS: list[tuple[str, str, Any, Scope]] = [
    ("GET",    "{org}",                      None,                         Scope.ORGANIZATION_READ),
    ("GET",    "{org}/projects",             None,                         Scope.ORGANIZATION_READ),
    ("GET",    "{org}/members",              None,                         Scope.MEMBERS_READ),
    ("GET",    "{org}/invitations",          None,                         Scope.MEMBERS_READ),
    ("GET",    "{org}/audit",                None,                         Scope.AUDIT_READ),
    ("GET",    "{org}/audit/export",         None,                         Scope.AUDIT_READ),
    ("POST",   "{org}/invitations",          {"email": "new@x.org"},       Scope.MEMBERS_WRITE),
    ("POST",   "{org}/projects",             {"id": "Not A Slug", "name": "x"}, Scope.PROJECTS_WRITE),
    ("DELETE", "{org}/projects/none",        None,                         Scope.PROJECTS_WRITE),
    ("PATCH",  "{org}",                      {"name": "Other"},            Scope.ORGANIZATION_WRITE),
    ("GET",    "/v1/projects/{name}",        None,                         Scope.PROJECT_READ),
    ("PATCH",  "/v1/projects/{name}",        {"name": "Other"},            Scope.PROJECT_WRITE),
    ("GET",    "/v1/projects/{name}/api-keys", None,                       Scope.KEYS_READ),
    ("POST",   "/v1/projects/{name}/api-keys", {"role": "ADMIN"},          Scope.KEYS_WRITE),
    ("POST",   "/v1/signing-secrets",        {},                           Scope.KEYS_WRITE),
    ("GET",    "/v1/users/u/profile",        None,                         Scope.USERS_READ),
    ("PUT",    "/v1/program",                {},                           Scope.PROGRAM_WRITE),
    ("POST",   "/v1/events",                 {"type": "t", "userId": "u"}, Scope.EVENTS_WRITE),
]  # fmt: skip


async def test_a_members_role_means_in_each_route_what_the_table_says(questline: Instance) -> None:
    org = await made(questline, "roles", ("ola", "owner"), ("adi", "admin"), ("ana", "analyst"))
    for method, path, body, scope in REQUESTS:
        url = path.format(org=org.path, name=org.name)
        for person, role in (("ola", MemberRole.OWNER), ("adi", MemberRole.ADMIN), ("ana", MemberRole.ANALYST)):
            status = (await org.call(person, method, url, body, tenant=org.name)).status_code
            assert (status == 403) is (scope not in MEMBER_SCOPES[role]), (method, url, role, status)
            assert status not in (401, 500)
        assert (await org.call("", method, url, body)).status_code == 401


async def test_a_member_finds_nothing_of_an_organization_that_is_not_theirs(questline: Instance) -> None:
    mine = await made(questline, "mine", ("ola", "owner"))
    other = await made(questline, "theirs", ("eve", "owner"))
    mine.tokens["eve"] = other.tokens["eve"]
    for method, path, body, _ in REQUESTS:
        answer = await mine.call("eve", method, path.format(org=mine.path, name=mine.name), body, tenant=mine.name)
        assert answer.status_code in (401, 404), (method, path, answer.text)
    for path in (f"{mine.path}/members/{mine.ids['ola']}", f"{other.path}/members/{mine.ids['ola']}"):
        assert (await mine.call("eve", "DELETE", path)).status_code == 404
    assert (await mine.call("eve", "DELETE", f"{other.path}/projects/{mine.name}")).status_code == 404
    assert await mine.roles() == {"ola": "owner"}
    seen = (await mine.call("eve", "GET", "/v1/organizations")).json()["items"]
    assert [(item["id"], item["role"]) for item in seen] == [("theirs", "owner")]
    for headers in ({"X-API-Key": mine.key}, {"Authorization": f"Bearer {mine.key}"}):
        assert (await questline.http.get(f"{mine.path}/members", headers=headers)).status_code == 401


async def test_an_invitation_is_accepted_once_by_who_has_its_token(questline: Instance) -> None:
    org = await made(questline, "invites")
    invited = (
        await org.call("operator", "POST", f"{org.path}/invitations", {"email": "Ada@Example.com", "role": "owner"})
    ).json()
    answers = await asyncio.gather(*(org.join(invited["token"], "Ada") for _ in range(4)))
    assert sorted(a.status_code for a in answers) == [201, 404, 404, 404]
    assert await org.roles() == {"Ada": "owner"}
    listed = (await org.call("operator", "GET", f"{org.path}/invitations")).json()["items"]
    assert [(i["email"], i["open"], i["acceptedAt"] is None) for i in listed] == [("ada@example.com", False, False)]
    stored = await questline.owner.fetch("SELECT invitations::text AS row FROM invitations")
    assert not any(invited["token"] in row["row"] for row in stored)


@pytest.mark.parametrize("ending", ["revoked", "over", "archived"])
async def test_an_invitation_that_has_ended_is_worth_nothing(questline: Instance, ending: str) -> None:
    org = await made(questline, f"ending-{ending}")
    invited = (await org.call("operator", "POST", f"{org.path}/invitations", {"email": "x@y.org"})).json()
    if ending == "revoked":
        path = f"{org.path}/invitations/{invited['invitation']['id']}"
        assert [(await org.call("operator", "DELETE", path)).status_code for _ in range(2)] == [204, 404]
    elif ending == "over":
        await questline.owner.execute("UPDATE invitations SET expires_at = now() WHERE email = 'x@y.org'")
    else:
        assert (await org.call("operator", "DELETE", org.path)).status_code == 409  # it has a project in use
        assert (await org.call("operator", "DELETE", f"{org.path}/projects/{org.name}")).status_code == 204
        assert (await org.call("operator", "DELETE", org.path)).status_code == 204
    assert (await org.join(invited["token"], "X")).status_code == 404
    assert await org.roles() == {}


@pytest.mark.parametrize("email", ["ada", "@x.org", "a b@x.org", "ada@x.org\n", "İ@x.org", "a" * 250 + "@x.org"])
async def test_nobody_is_invited_at_what_is_no_address(questline: Instance, email: str) -> None:
    await questline.app()  # whose organization is the default one
    path = "/v1/organizations/default/invitations"
    answer = await questline.http.post(path, json={"email": email}, headers=OPERATOR)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "email")


async def test_who_is_a_member_elsewhere_joins_with_the_password_they_have(questline: Instance) -> None:
    first, second = await made(questline, "first"), await made(questline, "second")
    tokens = [
        (await org.call("operator", "POST", f"{org.path}/invitations", {"email": "both@x.org", "role": role})).json()[
            "token"
        ]
        for org, role in ((first, "owner"), (second, "analyst"))
    ]
    assert (await first.join(tokens[0], "Bo")).status_code == 201
    assert (await second.join(tokens[1], "Bo", "another password")).status_code == 401
    assert (await second.join(tokens[1], "Bo")).status_code == 201
    again = (await first.call("operator", "POST", f"{first.path}/invitations", {"email": "both@x.org"})).json()["token"]
    assert (await first.join(again, "Bo")).json()["code"] == "conflict"
    assert (await first.roles(), await second.roles()) == ({"Bo": "owner"}, {"Bo": "analyst"})


async def test_the_last_owner_stays_even_when_two_leave_at_the_same_moment(questline: Instance) -> None:
    org = await made(questline, "owners", ("ola", "owner"), ("olu", "owner"), ("adi", "admin"), ("ana", "analyst"))
    member = {name: f"{org.path}/members/{id_}" for name, id_ in org.ids.items()}
    assert (await org.call("adi", "DELETE", member["ola"])).status_code == 403
    assert (await org.call("adi", "PATCH", member["ana"], {"role": "owner"})).status_code == 403
    assert (
        await org.call("adi", "POST", f"{org.path}/invitations", {"email": "o@x.org", "role": "owner"})
    ).status_code == 403
    assert (await org.call("adi", "PATCH", member["ana"], {"role": "admin"})).status_code == 204
    answers = await asyncio.gather(
        org.call("ola", "DELETE", member["olu"]), org.call("olu", "PATCH", member["ola"], {"role": "analyst"})
    )
    roles = await org.roles()
    assert sorted(a.status_code for a in answers) in ([204, 404], [204, 409], [204, 403])
    assert list(roles.values()).count("owner") == 1
    last = next(name for name, role in roles.items() if role == "owner")
    for answer in (
        await org.call("operator", "DELETE", member[last]),
        await org.call("operator", "PATCH", member[last], {"role": "admin"}),
        await org.call(last, "DELETE", member[last]),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "last-owner")


@pytest.mark.parametrize("how", ["role", "removed", "logout", "archived"])
async def test_what_a_member_may_no_longer_do_is_refused_at_once_in_another_process(
    questline: Instance, database: Any, how: str
) -> None:
    org = await made(questline, f"losing-{how}", ("ola", "owner"), ("adi", "admin"))
    async with running_api(Settings(dsn=database.app_dsn, dev=True)) as app:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t") as http:
            there = Org(http, questline.owner, org.name)
            there.tokens = org.tokens
            keys = f"/v1/projects/{org.name}/api-keys"
            assert (await there.call("adi", "GET", keys)).status_code == 200  # it is remembered there now
            member = f"{org.path}/members/{org.ids['adi']}"
            done = {
                "role": ("ola", "PATCH", member, {"role": "analyst"}),
                "removed": ("ola", "DELETE", member, None),
                "logout": ("adi", "POST", "/v1/members/logout", None),
                "archived": ("ola", "DELETE", f"{org.path}/projects/{org.name}", None),
            }[how]
            assert (await org.call(*done)).status_code == 204
            assert (await org.call("adi", "GET", keys)).status_code in (401, 403)

            async def refused() -> bool:
                return (await there.call("adi", "GET", keys)).status_code in (401, 403)

            loop = asyncio.get_running_loop()
            changed_at = loop.time()
            await until(refused)
            assert loop.time() - changed_at < 30  # a session would be remembered for longer


async def test_an_archived_project_refuses_its_keys_and_comes_back_whole(questline: Instance) -> None:
    org = await made(questline, "archive", ("ola", "owner"))
    event = {"type": "t", "userId": "u"}
    key = {"X-API-Key": org.key}
    project = f"{org.path}/projects/{org.name}"
    statuses = [(await org.http.post("/v1/events", json=event, headers=key)).status_code]
    for method, path in (("DELETE", project), ("POST", f"{project}/restore")):
        assert (await org.call("ola", method, path)).status_code == 204
        assert (await org.call("ola", method, path)).status_code == 204  # it is so already
        statuses.append((await org.http.post("/v1/events", json=event, headers=key)).status_code)
    assert statuses == [202, 401, 202]
    acts = (await org.call("ola", "GET", f"{org.path}/audit")).json()["items"]
    assert [act["action"] for act in acts[:2]] == ["project.restore", "project.archive"]
    assert {act["actor"] for act in acts[:2]} == {f"member:{org.ids['ola']}"}


async def test_a_changed_setting_is_in_force_with_the_next_request(questline: Instance) -> None:
    org = await made(questline, "setting", ("ola", "owner"))
    key = {"Authorization": f"Bearer {org.tokens['ola']}"}
    publishable = await org.call("ola", "POST", f"/v1/projects/{org.name}/api-keys", {"type": "publishable"})
    event = {"type": "secretly", "userId": "u"}
    sent = [
        (await org.http.post("/v1/events", json=event, headers={"X-API-Key": publishable.json()["key"]})).status_code
    ]
    patched = await org.http.patch(
        f"/v1/projects/{org.name}", headers=key,
        json={"settings": {"trustedTypes": ["secretly"]}, "webhookSecret": "s3cret", "defaultTimezone": "Asia/Tokyo"},
    )  # fmt: skip
    assert (patched.status_code, patched.json()["defaultTimezone"]) == (200, "Asia/Tokyo")
    sent.append(
        (await org.http.post("/v1/events", json=event, headers={"X-API-Key": publishable.json()["key"]})).status_code
    )
    assert sent == [202, 403]
    bad = await org.http.patch(f"/v1/projects/{org.name}", headers=key, json={"settings": {"dedupeStrategy": "magic"}})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "settings.dedupeStrategy")
    act = (await org.call("ola", "GET", f"{org.path}/audit?action=project.update")).json()["items"][0]
    assert (act["before"]["defaultTimezone"], act["after"]["webhookSecret"]) == ("UTC", "(hidden)")


async def test_a_setting_that_does_not_exist_is_refused_and_one_that_is_stored_stays(questline: Instance) -> None:
    org = await made(questline, "misspelt")
    wrong = {"corsOrgins": ["https://a.example"], "signedEvent": "required", "zzz": 1, "registration": "closed"}
    hints = {
        "settings.corsOrgins": "did you mean 'corsOrigins'",
        "settings.signedEvent": "did you mean 'signedEvents'",
        "settings.zzz": "there are dedupeStrategy, ",
    }
    path, key = f"/v1/projects/{org.name}", {"X-API-Key": org.key}
    body = {"id": "misspelt-2", "name": "x", "settings": wrong}
    for answer in (
        await org.call("operator", "POST", "/v1/apps", body),
        await org.call("operator", "POST", f"{org.path}/projects", body),
        await org.http.patch(path, headers=key, json={"settings": wrong}),
    ):
        found = {error["field"]: error["message"] for error in answer.json()["errors"]}
        assert (answer.status_code, found.keys()) == (422, hints.keys())
        assert all(hint in found[field] for field, hint in hints.items()), found
    await questline.owner.execute(
        """UPDATE projects SET settings = '{"corsOrgins": ["https://a.example"]}' WHERE app_id = 'misspelt'"""
    )
    stays = await org.http.patch(path, headers=key, json={"settings": {"registration": "closed"}})
    assert (stays.status_code, stays.json()["settings"].keys()) == (200, {"corsOrgins", "registration"})
    gone = await org.http.patch(path, headers=key, json={"settings": {"corsOrgins": None, "nothing": None}})
    assert (gone.status_code, gone.json()["settings"]) == (200, {"registration": "closed"})


async def test_a_login_is_bounded_and_says_not_which_half_was_wrong(postgres: EmbeddedPostgres) -> None:
    """One process, which has the tries for itself."""
    async with fresh_database(postgres) as alone, running_instance(alone) as questline:
        org, http = await made(questline, "logins"), questline.http
        ada = {"email": "ada@logins.org", "role": "owner"}
        invited = await org.call("operator", "POST", f"{org.path}/invitations", ada)
        assert (await org.join(invited.json()["token"], "Ada")).status_code == 201
        login = {"email": "ada@logins.org", "password": PASSWORD}
        right = await http.post("/v1/members/login", json={**login, "email": "ADA@logins.org"})
        token = {"Authorization": f"Bearer {right.json()['token']}"}
        wrong = [
            await http.post("/v1/members/login", json={**login, **other})
            for other in ({"password": "wrong"}, {"email": "nobody@logins.org"})
        ]
        assert [a.status_code for a in wrong] == [401, 401]
        assert wrong[0].json() == wrong[1].json()
        changed = await http.post(
            "/v1/members/me/password",
            json={"password": PASSWORD, "newPassword": "ö" * PASSWORD_CHARS_MAX},
            headers=token,
        )
        assert changed.status_code == 204
        assert (await http.post("/v1/members/login", json=login)).status_code == 401
        login["password"] = "ö" * PASSWORD_CHARS_MAX
        assert (await http.post("/v1/members/login", json=login)).status_code == 200
        assert (await http.get("/v1/members/me", headers=token)).json()["email"] == "ada@logins.org"
        guess = {"token": "qi_guess", "name": "x", "password": PASSWORD}
        while (last := await http.post("/v1/invitations/accept", json=guess)).status_code == 404:
            pass
        for answer in (last, await http.post("/v1/members/login", json=login)):
            assert (answer.status_code, answer.json()["code"]) == (429, "rate-limited")
            assert int(answer.headers["retry-after"]) <= 60 // LOGINS_PER_MINUTE


async def test_an_invitation_is_no_way_to_guess_the_password_of_whom_it_invites(postgres: EmbeddedPostgres) -> None:
    async with fresh_database(postgres) as alone, running_instance(alone) as questline:
        org, email = await made(questline, "guessed"), "ada@guessed.org"
        first = await org.call("operator", "POST", f"{org.path}/invitations", {"email": email, "role": "owner"})
        assert (await org.join(first.json()["token"], "Ada")).status_code == 201
        other = await made(questline, "guessing")
        invited = await other.call("operator", "POST", f"{other.path}/invitations", {"email": email})
        found = []
        for n in range(LOGINS_PER_MINUTE + 3):
            async with client_of(questline) as elsewhere:
                guess = {"token": invited.json()["token"], "name": "x", "password": f"wrong-guess-{n:04d}"}
                found.append(await elsewhere.post("/v1/invitations/accept", json=guess))
        assert [a.status_code for a in found] == [401] * LOGINS_PER_MINUTE + [429] * 3
        assert int(found[-1].headers["retry-after"]) <= 60 // LOGINS_PER_MINUTE
        login = await org.http.post("/v1/members/login", json={"email": email, "password": PASSWORD})
        assert login.status_code == 429


async def test_a_wrong_operators_token_is_refused(questline: Instance) -> None:
    for given in ("", "guess", "operator-of-the-test"):
        answer = await questline.http.get("/v1/organizations", headers={"X-Admin-Token": given})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


async def test_a_member_says_which_project_they_mean(questline: Instance) -> None:
    org = await made(questline, "meaning", ("ola", "owner"))
    answer = await org.call("ola", "GET", "/v1/program")
    assert (answer.status_code, "X-Tenant-Id" in answer.json()["detail"]) == (400, True)
    assert (await org.call("ola", "GET", "/v1/program", tenant="roles")).status_code == 401
    assert (await org.call("ola", "GET", "/v1/program", tenant="meaning")).status_code == 200


async def test_the_pages_examples_do_what_the_page_says(questline: Instance) -> None:
    http = (await made(questline, "page")).http
    known = {"ADMIN": OPERATOR["X-Admin-Token"], "NEXT_YEAR": f"{datetime.now(UTC) + timedelta(days=200):%FT00:00:00Z}"}
    blocks = re.findall(r"^```http\n(.*?)^```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 10
    for block in blocks:
        text, _, told = re.sub(r"\$([A-Z_]+)", lambda n: known.get(n[1], n[0]), block).rpartition("# ")
        head, _, body = text.partition("\n\n")
        (method, path), *headers = (line.split(" ", 1) for line in head.splitlines())
        status, *named = told.split()
        answer = await http.request(
            method,
            path,
            content=body,
            headers={n.rstrip(":"): v for n, v in headers} | {"Content-Type": "application/json"},
        )
        assert answer.status_code == int(status), (block, answer.text)
        for pair in named:
            place, _, name = pair.partition("=$")
            value: Any = msgspec.json.decode(answer.content)
            for member in place.split("."):
                value = value[member]
            known[name] = value
