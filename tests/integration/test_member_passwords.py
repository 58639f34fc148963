"""Passwords of members: who forgot theirs comes back by a token that an operator makes, and by nobody else's."""

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from conftest_api import Instance, client_of, several_wait_for
from test_tenants import OPERATOR, PASSWORD, Org, made

from questline.model.limits import LOGINS_PER_MINUTE

_names = itertools.count(1)
NEW = "staple of some length"


class Ola:
    """A member of an organization, whose owner she is."""

    def __init__(self, questline: Instance, org: Org) -> None:
        self.questline = questline
        self.org = org
        self.id = org.ids["ola"]
        self.email = f"ola@{org.name}.org"

    async def forgot(self) -> str:
        answer = await self.org.call("operator", "POST", f"/v1/admin/members/{self.id}/password-reset")
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    async def reset(self, token: str, password: str = NEW) -> httpx.Response:
        body = {"token": token, "newPassword": password}
        return await client_of(self.questline).post("/v1/members/reset", json=body)

    async def log_in(self, password: str) -> httpx.Response:
        body = {"email": self.email, "password": password}
        return await client_of(self.questline).post("/v1/members/login", json=body)

    async def change(self, token: str, password: str, new: str) -> httpx.Response:
        return await client_of(self.questline).post(
            "/v1/members/me/password",
            json={"password": password, "newPassword": new},
            headers={"Authorization": f"Bearer {token}"},
        )

    async def acts(self, org: Org | None = None) -> list[tuple[str, str, str]]:
        path = f"{(org or self.org).path}/audit"
        items = (await self.org.call("operator", "GET", path, None)).json()["items"]
        return [(act["action"], act["actor"], act["target"]["id"]) for act in items if "member" in act["action"]]


async def a_member(questline: Instance) -> Ola:
    return Ola(questline, await made(questline, f"forgetful-{next(_names)}", ("ola", "owner"), ("adi", "admin")))


@pytest.mark.parametrize("named", ["id", "email", "email in another case"])
async def test_an_operator_gives_a_member_a_way_back_which_ends_all_sessions(questline: Instance, named: str) -> None:
    ola = await a_member(questline)
    member = {"id": ola.id, "email": ola.email, "email in another case": ola.email.upper()}[named]
    issued = (await ola.org.call("operator", "POST", f"/v1/admin/members/{member}/password-reset")).json()
    assert (issued["memberId"], issued["email"]) == (ola.id, ola.email)
    assert (await ola.org.call("ola", "GET", "/v1/members/me")).status_code == 200  # nothing has changed yet
    assert (await ola.reset(issued["token"])).status_code == 204
    assert (await ola.org.call("ola", "GET", "/v1/members/me")).status_code == 401
    assert (await ola.org.call("ola", "GET", "/v1/program", tenant=ola.org.name)).status_code == 401
    assert (await ola.org.call("adi", "GET", "/v1/members/me")).status_code == 200
    assert (await ola.log_in(NEW)).status_code == 200


async def test_nobody_but_an_operator_makes_one(questline: Instance) -> None:
    ola = await a_member(questline)
    path = f"/v1/admin/members/{ola.org.ids['adi']}/password-reset"
    senders: Iterable[dict[str, str]] = (
        {},
        {"Authorization": f"Bearer {ola.org.tokens['ola']}"},
        {"Authorization": f"Bearer {ola.org.tokens['ola']}", "X-Tenant-Id": ola.org.name},
        {"X-API-Key": ola.org.key},
        {"X-Admin-Token": "operator-of-the-test"},
    )
    assert [(await ola.org.http.post(path, headers=headers)).status_code for headers in senders] == [401] * 5
    assert await questline.owner.fetchval("SELECT count(*) FROM member_password_resets") == 0


@pytest.mark.parametrize("member", ["nobody@x.org", "00000000-0000-0000-0000-000000000000", "ola", "%20"])
async def test_a_member_who_is_not_there_is_not_found(questline: Instance, member: str) -> None:
    answer = await questline.http.post(f"/v1/admin/members/{member}/password-reset", headers=OPERATOR)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


@pytest.mark.parametrize("ending", ["used", "replaced", "over", "password changed", "unknown", "of no form"])
async def test_a_token_that_does_not_hold_is_refused_as_one_that_never_was(questline: Instance, ending: str) -> None:
    ola = await a_member(questline)
    assert (await ola.reset(await ola.forgot(), PASSWORD)).status_code == 204
    token = await ola.forgot()
    if ending == "used":
        assert (await ola.reset(token, PASSWORD)).status_code == 204
    elif ending == "replaced":
        assert await ola.forgot() != token
    elif ending == "over":
        await questline.owner.execute("UPDATE member_password_resets SET expires_at = now()")
    elif ending == "password changed":
        session = (await ola.log_in(PASSWORD)).json()["token"]
        assert (await ola.change(session, PASSWORD, PASSWORD)).status_code == 204
    else:
        token = "qp_" + "0" * 64 if ending == "unknown" else "é"
    answer = await ola.reset(token)
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "there is no such reset, or it was used, or is over: ask for another",
    )
    assert [(await ola.log_in(password)).status_code for password in (PASSWORD, NEW)] == [200, 401]


async def test_of_many_resets_with_one_token_at_once_one_is_made(questline: Instance) -> None:
    ola = await a_member(questline)
    token = await ola.forgot()
    async with several_wait_for(questline.owner, "SELECT FROM members FOR UPDATE"):
        resets = [asyncio.create_task(ola.reset(token, f"password number {n}")) for n in range(12)]
    answers = await asyncio.gather(*resets)
    assert sorted(a.status_code for a in answers) == [204] + [404] * 11
    [won] = [n for n, answer in enumerate(answers) if answer.status_code == 204]
    assert (await ola.log_in(f"password number {won}")).status_code == 200
    stored = await questline.owner.fetchval("SELECT string_agg(r::text, '') FROM member_password_resets r")
    assert token.removeprefix("qp_") not in (stored or "")


async def test_of_two_changes_from_one_password_one_is_made(questline: Instance) -> None:
    ola = await a_member(questline)
    assert (await ola.reset(await ola.forgot(), PASSWORD)).status_code == 204
    sessions = [(await ola.log_in(PASSWORD)).json()["token"] for _ in range(2)]
    answers = await asyncio.gather(*(ola.change(token, PASSWORD, NEW) for token in sessions))
    assert sorted(a.status_code for a in answers) == [204, 401]


async def test_a_login_with_the_old_password_does_not_outlive_a_reset_that_comes_while_it_is_checked(
    questline: Instance,
) -> None:
    ola = await a_member(questline)
    assert (await ola.reset(await ola.forgot(), PASSWORD)).status_code == 204
    async with several_wait_for(questline.owner, "UPDATE members SET password_hash = 'another'", 1):
        login = asyncio.create_task(ola.log_in(PASSWORD))
    assert (await login).status_code == 401


async def test_tokens_are_tried_ten_times_a_minute_by_one_address(questline: Instance) -> None:
    http = client_of(questline)
    guess: dict[str, Any] = {"token": "qp_guess", "newPassword": NEW}
    # At once: they come back one by one, and the hash of a password takes its time.
    tries = (http.post("/v1/members/reset", json=guess) for _ in range(LOGINS_PER_MINUTE + 1))
    answers = await asyncio.gather(*tries)
    assert sorted(a.status_code for a in answers) == [404] * LOGINS_PER_MINUTE + [429]
    [refused] = [a for a in answers if a.status_code == 429]
    assert 0 < int(refused.headers["Retry-After"]) <= 60 // LOGINS_PER_MINUTE


async def test_each_organization_of_a_member_is_told_and_no_other(questline: Instance) -> None:
    ola, second, stranger = await a_member(questline), await a_member(questline), await a_member(questline)
    await questline.owner.execute(
        "INSERT INTO memberships SELECT organization_id, $1, 'analyst', now() FROM memberships WHERE member_id = $2",
        ola.id, second.id,
    )  # fmt: skip
    token = await ola.forgot()
    assert (await ola.reset(token)).status_code == 204
    session = (await ola.log_in(NEW)).json()["token"]
    assert (await ola.change(session, NEW, PASSWORD)).status_code == 204
    told = [
        ("member.change_password", f"member:{ola.id}", ola.id),
        ("member.reset_password", f"member:{ola.id}", ola.id),
        ("member.issue_reset", "operator", ola.id),
    ]
    assert [await one.acts() for one in (ola, second, stranger)] == [told, told, []]
    stored = "".join(row[0] for row in await questline.owner.fetch("SELECT audit_log::text FROM audit_log"))
    assert not any(secret in stored for secret in (token, NEW, PASSWORD))


async def test_of_a_member_of_no_organization_the_default_one_is_told(questline: Instance) -> None:
    ola = await a_member(questline)
    await questline.owner.execute("DELETE FROM memberships WHERE member_id = $1", ola.id)
    await ola.forgot()
    items = (await ola.org.call("operator", "GET", "/v1/organizations/default/audit")).json()["items"]
    assert ("member.issue_reset", ola.id) in [(act["action"], act["target"]["id"]) for act in items]
