"""Streak care over HTTP: what is paused, restored or chosen is kept, shown and explained."""

from datetime import UTC, datetime, timedelta
from typing import Any

from conftest_api import App, Instance

from questline.assembly import now
from questline.processing.programs import ProgramCache
from questline.processing.sweeps import Sweeps
from questline.store.ids import EventIds

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


async def test_who_moves_the_day_start_to_and_fro_is_not_protected_by_it(questline: Instance) -> None:
    program = {**PROGRAM, "streaks": {"daily": {"on": "e", "personal": True}}}
    app = await questline.app(program)
    await active(app, "dan", 1, 2)
    path = "/v1/users/dan/streaks/daily/day-start"
    answers = [await app.post(path, json={"hours": hours}) for hours in (23, 0) * 17]
    assert [answer.status_code for answer in answers] == [200] * 32 + [422] * 2
    assert answers[-1].json()["code"] == "limit-reached"
    shown = await streak(app, "dan")
    assert (shown["current"], shown["protectedUntil"]) == (2, None)


def incident(first: int, last: int, **more: Any) -> dict[str, Any]:
    """The days from so many ago to so many ago, whole."""
    begin, end = (
        (datetime.now(UTC) - timedelta(days=n)).replace(hour=0, minute=0, second=0, microsecond=0)
        for n in (first, last - 1)
    )
    return {"from": begin.isoformat(), "until": end.isoformat(), "reason": "down", "id": "outage", **more}


async def test_an_incident_is_looked_at_first_and_then_mends_every_streak_it_broke_once(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await active(app, "broken", 5, 4, 1, 0)  # three and two days ago were the outage
    await active(app, "again", 4, 0)
    await active(app, "whole", 5, 4, 3, 2, 1, 0)
    await active(app, "long-gone", 90, 89)
    body = incident(3, 2)
    seen = (await app.post("/v1/incidents?preview=true", json=body)).json()
    assert (seen["examined"], seen["found"], seen["sample"], seen["cost"]) == (4, 1, ["broken"], {"coins": 7})
    assert (seen["sweep"], (await streak(app, "broken"))["current"]) == (None, 2)

    started = await app.post("/v1/incidents", json=body)
    assert (started.status_code, started.json()["status"]) == (202, "running")
    await service(questline).run_once(batches=1)
    assert (await app.get("/v1/incidents/outage")).json()["status"] == "running"
    assert (await app.post("/v1/incidents", json=body)).status_code == 202  # the same, asked again
    assert (await app.post("/v1/incidents", json=incident(9, 8))).json()["code"] == "conflict"
    await service(questline).run_once()
    await questline.drain()
    assert [(await streak(app, user))["current"] for user in ("broken", "again", "whole", "long-gone")] == [4, 1, 6, 0]
    assert await app.balance("broken", "coins") == 7
    shown = (await app.get("/v1/incidents")).json()["items"]
    assert [(one["name"], one["status"], one["examined"], one["sent"]) for one in shown] == [
        ("outage", "finished", 4, 3)
    ]
    assert shown[0]["startedBy"].startswith("key:")

    await active(app, "again", 1)  # late: the day before yesterday and the one before that are excused already
    assert (await streak(app, "again"))["current"] == 3
    await app.post("/v1/incidents", json=body)
    assert await service(questline).run_once() == 0


async def test_a_user_whose_zone_is_no_longer_known_is_left_out_of_a_sweep_and_keeps_nobody_waiting(
    questline: Instance,
) -> None:
    app = await questline.app(PROGRAM)
    for user in ("ada", "lost", "zoe"):
        await active(app, user, 5, 4, 1, 0)
    await questline.owner.execute("UPDATE users SET timezone = 'Mars/Phobos' WHERE external_id = 'lost'")
    await app.post("/v1/incidents", json=incident(3, 2))
    await service(questline).run_once()
    await questline.owner.execute("UPDATE users SET timezone = NULL WHERE external_id = 'lost'")
    shown = (await app.get("/v1/incidents/outage")).json()
    assert (shown["status"], shown["examined"], shown["sent"]) == ("finished", 3, 2)
    await questline.drain()


async def test_an_incident_that_cannot_be_is_a_problem(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    table = [
        (incident(2, 3),                                  422, "invalid-request"),
        (incident(2, 0),                                  422, "invalid-request"),  # until midnight to come
        (incident(400, 2),                                422, "invalid-request"),
        (incident(3, 2, streaks=["nightly"]),             404, "unknown-streak"),
        (incident(3, 2, reason=""),                       422, "invalid-request"),
        ({"from": "2026-01-01", "until": "2026-01-02", "reason": "r"}, 422, "invalid-request"),
    ]  # fmt: skip
    for body, status, code in table:
        answer = await app.post("/v1/incidents", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), body
    assert (await app.get("/v1/incidents/none")).status_code == 404


def service(questline: Instance) -> Sweeps:
    return Sweeps(questline.settings.dsn, ProgramCache(), now, EventIds().new, batch_users=2)
