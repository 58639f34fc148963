"""Passwords of end users: changed by who knows them, reset once by who forgot them, and in force at once."""

import asyncio
from typing import Any

import httpx
import pytest
from conftest_api import PROGRAM, App, Instance, client_of, several_wait_for

from questline.model.limits import USER_LOGINS_PER_MINUTE

OLD, NEW = "correct horse", "battery staple"
LOGIN = "ada@example.com"


class Ada:
    """A user who has registered, and the app that she is a user of."""

    def __init__(self, questline: Instance, app: App) -> None:
        self.questline = questline
        self.app = app
        self.http = client_of(questline)
        self.session: dict[str, Any] = {}

    @property
    def id(self) -> str:
        return self.session["userId"]

    async def auth(self, what: str, **body: Any) -> httpx.Response:
        named = {"appId": self.app.app_id} if what in ("register", "login") else {}
        return await self.http.post(f"/v1/auth/{what}", json={**named, **body})

    async def log_in(self, password: str = OLD) -> httpx.Response:
        return await self.auth("login", email=LOGIN, password=password)

    async def change(self, current: str = OLD, token: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.session['accessToken']}", **more}
        body = {"currentPassword": current, "newPassword": NEW}
        return await self.http.post("/v1/auth/password", json=body, headers=headers)

    async def forgot(self) -> str:
        answer = await self.app.post(f"/v1/users/{self.id}/password-reset")
        assert answer.status_code == 201, answer.text
        return answer.json()["token"]

    async def reset(self, token: str, password: str = NEW) -> httpx.Response:
        return await self.auth("reset", token=token, newPassword=password)

    async def lives(self, session: dict[str, Any]) -> bool:
        """Whether a session can be continued; it is, with its next tokens."""
        answer = await self.auth("refresh", refreshToken=session["refreshToken"])
        session |= answer.json()
        return answer.status_code == 200

    async def acts(self, action: str) -> list[dict[str, Any]]:
        return (await self.app.get("/v1/audit", params={"action": action})).json()["items"]


async def registered(questline: Instance, login: str = LOGIN) -> Ada:
    ada = Ada(questline, await questline.app(PROGRAM))
    answer = await ada.auth("register", email=login, password=OLD)
    assert answer.status_code == 201, answer.text
    ada.session = answer.json()
    return ada


async def test_who_changes_their_password_logs_in_with_the_new_one_and_keeps_this_session_alone(
    questline: Instance,
) -> None:
    ada = await registered(questline)
    other = (await ada.log_in()).json()
    assert await ada.lives(ada.session)  # refreshed, and still the same session
    assert (await ada.change()).status_code == 204
    assert [await ada.lives(ada.session), await ada.lives(other)] == [True, False]
    assert [(await ada.log_in(password)).status_code for password in (OLD, NEW)] == [401, 200]


async def test_a_token_of_no_session_keeps_none(questline: Instance) -> None:
    ada = await registered(questline)
    minted = (await ada.app.post(f"/v1/users/{ada.id}/token", json={})).json()["accessToken"]
    assert (await ada.change(token=minted)).status_code == 204
    assert not await ada.lives(ada.session)


async def test_a_wrong_password_changes_nothing(questline: Instance) -> None:
    ada = await registered(questline)
    wrong = await ada.change("not the password")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "unauthorized")
    assert await ada.lives(ada.session)
    assert [(await ada.log_in(password)).status_code for password in (OLD, NEW)] == [200, 401]


async def test_of_two_changes_from_one_password_one_is_made(questline: Instance) -> None:
    ada = await registered(questline)
    assert sorted(a.status_code for a in await asyncio.gather(ada.change(), ada.change())) == [204, 401]


@pytest.mark.parametrize("named", ["by their id", "by what they log in with"])
async def test_who_forgot_their_password_chooses_another_by_a_token_that_their_server_asked_for(
    questline: Instance, named: str
) -> None:
    ada = await registered(questline)
    other = (await ada.log_in()).json()
    if named == "by their id":
        issued = await ada.app.post(f"/v1/users/{ada.id}/password-reset")
    else:  # as it is compared: in another case and form, it is answered as it is stored
        issued = await ada.app.post("/v1/users/password-reset", json={"email": "ADA@ｅxample.com"})
    told = issued.json()
    assert (issued.status_code, told["userId"], told["login"]) == (201, ada.id, LOGIN)
    assert await ada.lives(other)  # to have a token made changes nothing yet
    assert (await ada.reset(told["token"])).status_code == 204
    assert [await ada.lives(ada.session), await ada.lives(other)] == [False, False]
    assert [(await ada.log_in(password)).status_code for password in (OLD, NEW)] == [401, 200]


async def test_a_token_is_stored_by_its_hash_alone(questline: Instance) -> None:
    ada = await registered(questline)
    token = await ada.forgot()
    assert token.startswith("qp_")
    assert len(bytes.fromhex(token.removeprefix("qp_"))) == 32
    rows = [row[0] for row in await questline.owner.fetch("SELECT r::text FROM password_resets r")]
    assert len(rows) > 0
    assert not any(token.removeprefix("qp_") in row for row in rows)


ENDINGS = ["used", "replaced", "over", "password changed", "project archived", "unknown", "of no form"]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_token_that_does_not_hold_is_refused_as_one_that_never_was(questline: Instance, ending: str) -> None:
    ada = await registered(questline)
    token = await ada.forgot()
    if ending == "used":
        assert (await ada.reset(token, OLD)).status_code == 204
    elif ending == "replaced":
        assert await ada.forgot() != token
    elif ending == "over":
        await questline.owner.execute(
            "UPDATE password_resets r SET expires_at = now() FROM users u WHERE u.id = user_id AND external_id = $1",
            ada.id,
        )
    elif ending == "password changed":
        assert (await ada.change()).status_code == 204
    elif ending == "project archived":
        await questline.owner.execute("UPDATE projects SET archived_at = now() WHERE app_id = $1", ada.app.app_id)
    else:
        token = "qp_" + "0" * 64 if ending == "unknown" else "é"
    answer = await ada.reset(token, "another one")
    told = {name: value for name, value in answer.json().items() if name != "correlationId"}
    assert told == {
        "type": "urn:questline:problem:not-found",
        "title": "There is no such thing here",
        "status": 404,
        "code": "not-found",
        "detail": "there is no such reset, or it was used, or is over: ask for another",
    }
    await questline.owner.execute("UPDATE projects SET archived_at = NULL WHERE app_id = $1", ada.app.app_id)
    assert (await ada.log_in("another one")).status_code == 401


async def test_of_16_resets_with_one_token_at_once_one_is_made(questline: Instance) -> None:
    ada = await registered(questline)
    token = await ada.forgot()

    async def reset(n: int) -> httpx.Response:
        body = {"token": token, "newPassword": f"password {n}"}
        return await client_of(questline).post("/v1/auth/reset", json=body)

    async with several_wait_for(questline.owner, "SELECT FROM credentials FOR UPDATE"):
        resets = [asyncio.create_task(reset(n)) for n in range(16)]
    answers = await asyncio.gather(*resets)
    assert sorted(a.status_code for a in answers) == [204] + [404] * 15
    [won] = [n for n, answer in enumerate(answers) if answer.status_code == 204]
    assert (await ada.log_in(f"password {won}")).status_code == 200
    assert len(await ada.acts("user.reset_password")) == 1


async def test_a_login_with_the_old_password_does_not_outlive_a_reset_that_comes_while_it_is_checked(
    questline: Instance,
) -> None:
    ada = await registered(questline)
    async with several_wait_for(questline.owner, "UPDATE credentials SET password_hash = 'another'", 1):
        login = asyncio.create_task(ada.log_in())
    assert (await login).status_code == 401


async def test_who_has_no_login_here_has_no_password_to_change_or_to_reset(questline: Instance) -> None:
    ada = await registered(questline)
    minted = (await ada.app.post("/v1/users/eve/token", json={})).json()["accessToken"]
    answers = [
        (await ada.change(token=minted), 409, "no-login"),
        (await ada.app.post("/v1/users/eve/password-reset"), 409, "no-login"),
        (await ada.app.post("/v1/users/nobody/password-reset"), 404, "not-found"),
        (await ada.app.post("/v1/users/password-reset", json={"username": "eve"}), 404, "not-found"),
    ]
    assert [(a.status_code, a.json()["code"]) for a, *_ in answers] == [(status, code) for _, status, code in answers]


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ({"role": "ADMIN"}, 201),
        ({"role": "ADMIN", "scopes": ["tokens:write"]}, 201),
        ({"role": "ADMIN", "scopes": ["users:write", "users:read", "keys:write"]}, 403),
        ({"role": "INGEST"}, 403),
        ({"role": "READONLY"}, 403),
        ({"type": "publishable"}, 403),
    ],
)
async def test_who_may_make_tokens_of_users_may_have_passwords_reset(
    questline: Instance, key: dict[str, Any], status: int
) -> None:
    ada = await registered(questline)
    made = (await ada.app.post("/v1/keys", json=key)).json()["key"]
    by_id = await ada.app.post(f"/v1/users/{ada.id}/password-reset", key=made)
    by_login = await ada.app.post("/v1/users/password-reset", json={"email": LOGIN}, key=made)
    assert [by_id.status_code, by_login.status_code] == [status, status]


async def test_another_projects_key_has_nobodys_password_reset_and_a_reset_is_of_its_own_project(
    questline: Instance,
) -> None:
    ada, namesake = await registered(questline), await registered(questline)
    by_id = await namesake.app.post(f"/v1/users/{ada.id}/password-reset")
    by_login = await namesake.app.post("/v1/users/password-reset", json={"email": LOGIN})
    assert (by_id.status_code, by_login.json()["userId"]) == (404, namesake.id)
    assert (await ada.reset(by_login.json()["token"])).status_code == 204
    assert [(await one.log_in(NEW)).status_code for one in (ada, namesake)] == [401, 200]


async def test_passwords_are_tried_ten_times_a_minute_by_one_address_and_of_one_user(questline: Instance) -> None:
    ada = await registered(questline)
    other = await registered(questline)

    body = {"currentPassword": "wrong", "newPassword": NEW}
    bearer = {"Authorization": f"Bearer {ada.session['accessToken']}"}
    tries = range(USER_LOGINS_PER_MINUTE + 1)
    # At once: they come back one by one, and a check of a password takes its time.
    of_one_user = await asyncio.gather(
        *(client_of(questline).post("/v1/auth/password", json=body, headers=bearer) for _ in tries)
    )
    from_one_address = await asyncio.gather(*(other.reset(f"qp_{n}") for n in tries))
    for answers, status in ((of_one_user, 401), (from_one_address, 404)):
        assert sorted(a.status_code for a in answers) == [status] * USER_LOGINS_PER_MINUTE + [429]
        [refused] = [a for a in answers if a.status_code == 429]
        assert 0 < int(refused.headers["Retry-After"]) <= 60 // USER_LOGINS_PER_MINUTE


async def test_the_log_tells_who_had_a_password_reset_and_what_the_user_did(questline: Instance) -> None:
    ada = await registered(questline)
    token = await ada.forgot()
    assert (await ada.reset(token)).status_code == 204
    ada.session = (await ada.log_in(NEW)).json()
    await ada.log_in(NEW)
    assert (await ada.change(NEW)).status_code == 204
    [issued], [reset], [changed] = [
        await ada.acts(f"user.{act}") for act in ("issue_reset", "reset_password", "change_password")
    ]
    assert issued["actor"].startswith("key:")
    assert list(issued["after"]) == ["expiresAt"]
    assert [(act["actor"], act["after"]) for act in (reset, changed)] == [("user", {"sessionsEnded": 1})] * 2
    assert {(act["target"]["id"], act["appId"]) for act in (issued, reset, changed)} == {(ada.id, ada.app.app_id)}
    stored = "".join(row[0] for row in await questline.owner.fetch("SELECT audit_log::text FROM audit_log"))
    assert not any(word in stored for word in (token, OLD, NEW, LOGIN, ada.id))


async def test_what_cannot_be_written_down_is_not_done(questline: Instance) -> None:
    ada = await registered(questline)
    token = await ada.forgot()
    await questline.owner.execute("ALTER TABLE audit_log ADD CONSTRAINT no_more CHECK (false) NOT VALID")
    try:
        assert [(await ada.reset(token)).status_code, (await ada.change()).status_code] == [500, 500]
    finally:
        await questline.owner.execute("ALTER TABLE audit_log DROP CONSTRAINT no_more")
    assert (await ada.log_in()).status_code == 200
    assert (await ada.reset(token)).status_code == 204


async def test_a_token_is_made_once_under_an_idempotency_key_and_of_passwords_nothing_is_kept(
    questline: Instance,
) -> None:
    ada = await registered(questline)
    key = {"Idempotency-Key": "once"}
    answers = [await ada.app.post(f"/v1/users/{ada.id}/password-reset", headers=key) for _ in range(2)]
    assert [(a.status_code, a.json().get("code")) for a in answers] == [(201, None), (409, "reply-not-kept")]
    kept = await questline.owner.fetchval("SELECT count(*) FROM kept_replies")
    assert [(await ada.change(**key)).status_code for _ in range(2)] == [204, 401]
    assert await questline.owner.fetchval("SELECT count(*) FROM kept_replies") == kept


async def test_a_reset_names_the_mailbox_that_registered_and_not_one_that_its_folded_name_is(
    questline: Instance,
) -> None:
    ada = await registered(questline, "Ada@straße.example")
    for typed in ("ada@strasse.example", "ADA@STRASSE.example"):
        told = (await ada.app.post("/v1/users/password-reset", json={"email": typed})).json()
        assert (told["userId"], told["login"]) == (ada.id, "Ada@straße.example")
    await questline.owner.execute(
        "UPDATE credentials SET registered_as = NULL"
    )  # as of those who came before it was kept
    assert (await ada.app.post("/v1/users/password-reset", json={"email": "ada@strasse.example"})).json()[
        "login"
    ] is None
