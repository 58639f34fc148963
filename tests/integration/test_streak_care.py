"""Streak care over HTTP: what is paused, restored or chosen is kept, shown and explained."""

from datetime import UTC, datetime, timedelta
from typing import Any

from conftest_api import App, Instance

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "streaks": {
        "daily": {"on": "e", "milestones": {"3": {"award": {"coins": 7}}}},
        "weekly": {"on": "w", "every": "week", "days": 2, "personal": True},
    },
}


def days_ago(number: float) -> str:
    return (datetime.now(UTC) - timedelta(days=number)).isoformat()


def date_in(number: int) -> str:
    return (datetime.now(UTC) + timedelta(days=number)).date().isoformat()


async def active(app: App, user: str, *ago: float, type_: str = "e") -> None:
    for number in ago:
        await app.send(type_, user, occurredAt=days_ago(number), headers={"Prefer": "wait=5"})


async def streak(app: App, user: str, name: str = "daily") -> dict[str, Any]:
    return next(s for s in (await app.profile(user))["streaks"] if s["streak"] == name)


async def test_a_broken_streak_is_restored_once_with_its_reason_kept(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await active(app, "ada", 6, 5, 0)
    path, body = "/v1/users/ada/streaks/daily/restore", {"reason": "our app was down"}
    answers = [await app.post(path, json=body, headers={"Idempotency-Key": "r1"}) for _ in range(2)]
    assert [(a.status_code, a.json()["duplicate"]) for a in answers] == [(200, False), (200, True)]
    assert answers[0].json()["outcome"] == answers[1].json()["outcome"]
    assert ((await streak(app, "ada"))["current"], await app.balance("ada", "coins")) == (3, 7)
    assert (await app.post(path, json=body)).json()["code"] == "streak-not-broken"
    event = (await app.get(f"/v1/events/{answers[0].json()['eventId']}")).json()
    assert (event["payload"]["reason"], event["payload"]["by"][:4]) == ("our app was down", "key:")
    notice = (await app.get("/v1/users/ada/notices")).json()["items"]
    assert {n["type"] for n in notice} == {"streak.restored", "streak.milestone"}


async def test_a_pause_protects_until_its_last_day(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.post("/v1/users/bob/streaks/daily/pause", json={"until": date_in(9)})
    assert answer.status_code == 200, answer.text
    await active(app, "bob", 1)
    shown = await streak(app, "bob")
    assert (shown["current"], shown["activeNow"], shown["protectedUntil"]) == (1, False, date_in(9))
    for body in ({"until": date_in(-1)}, {"from": date_in(-3), "until": date_in(3)}, {"until": "9999-12-31"}, {}):
        assert (await app.post("/v1/users/bob/streaks/daily/pause", json=body)).status_code == 422
    assert (await app.post("/v1/users/bob/streaks/nightly/pause", json={"until": date_in(9)})).status_code == 404


async def test_a_users_own_target_and_day_start_are_kept(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await active(app, "cid", 0, type_="w")
    assert (await streak(app, "cid", "weekly"))["daysNeeded"] == 2
    for what, body in (("target", {"days": 5}), ("day-start", {"hours": 0})):
        answer = await app.post(f"/v1/users/cid/streaks/weekly/{what}", json=body)
        assert answer.status_code == 200, answer.text
        assert (await app.post(f"/v1/users/cid/streaks/daily/{what}", json=body)).status_code == 422
    shown = await streak(app, "cid", "weekly")
    assert (shown["current"], shown["daysNeeded"], shown["daysActive"]) == (0, 2, 1)
    row = await questline.owner.fetchrow("SELECT * FROM streak_choices ORDER BY user_id DESC LIMIT 1")
    assert row["targets"].endswith(",5]]")
    assert row["day_starts"].endswith(",0]]")
