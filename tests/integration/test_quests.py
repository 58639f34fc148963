"""Quests over HTTP: commands, races, and the sweep that ends what nobody looks at."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from conftest_api import App, Instance, until

from questline.processing.quest_ends import QuestEnds
from questline.store.ids import EventIds

USER = {"userId": "ada"}
WAIT = {"Prefer": "wait=5"}
NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)
COINS = [{"currency": "coins", "value": 10}]
PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}, "XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}},
    "metrics": {"tasks": {"on": "task", "count": True}},
    "rules": {"task": {"on": "task", "award": {"XP": 50}}},
    "quests": {
        "tour": {
            "title": "Tour",
            "autoStart": False,
            "autoComplete": False,
            "rewards": COINS,
            "steps": [{"id": "sign", "rewards": COINS}, {"id": "two", "on": "task", "count": 2}],
        },
        "after": {
            "title": "After",
            "prerequisites": [{"quest": "tour"}],
            "steps": [{"id": "level", "requirements": [{"level": "XP", "threshold": 2}]}],
            "rewards": COINS,
        },
        "hour": {
            "title": "In an hour",
            "timeLimit": {"duration": 1, "unit": "hours"},
            "steps": [{"id": "s", "on": "look", "count": 2}],
        },
        "a b/c": {"title": "Named oddly", "steps": [{"id": "d e"}]},
    },
}


async def quest(app: App, name: str, user: str = "ada") -> dict[str, Any]:
    return next(q for q in (await app.profile(user))["quests"] if q["quest"] == name)


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


async def test_a_quest_is_started_worked_on_and_completed_and_opens_the_next(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    assert code(await app.post("/v1/quests/tour/steps/sign/complete", json=USER)) == (409, "quest-state")
    assert code(await app.post("/v1/quests/x/start", json=USER)) == (404, "unknown-quest")
    started = await app.post("/v1/quests/tour/start", json=USER, headers={"Idempotency-Key": "k"})
    again = await app.post("/v1/quests/tour/start", json=USER, headers={"Idempotency-Key": "k"})
    assert (started.json()["duplicate"], again.json()) == (False, {**started.json(), "duplicate": True})
    await app.send("task", "ada", headers=WAIT)
    signed = (await app.post("/v1/quests/tour/steps/sign/complete", json=USER)).json()["outcome"]
    assert signed["balances"] == {"coins": 10}
    view = await quest(app, "tour")
    assert (view["status"], view["progress"]) == ("IN_PROGRESS", 0.75)
    assert [(s["step"], s["complete"], s["open"], s["progress"]) for s in view["steps"]] == [
        ("sign", True, False, 1.0),
        ("two", False, True, 0.5),
    ]
    assert code(await app.post("/v1/quests/tour/complete", json=USER)) == (409, "requirement-not-met")
    await app.send("task", "ada", headers=WAIT)
    done = (await app.post("/v1/quests/tour/complete", json=USER)).json()["outcome"]
    assert done["balances"] == {"coins": 30}
    assert [(r["name"], r["after"]["status"]) for r in done["records"]] == [
        ("tour", "COMPLETED"),
        ("after", "COMPLETED"),
    ]
    assert ((await quest(app, "after"))["times"], (await quest(app, "after"))["progress"]) == (1, 1.0)
    notices = (await app.get("/v1/users/ada/notices")).json()["items"]
    told = [n["type"] for n in notices if n["type"].startswith("quest.")]
    assert Counter(told) == {"quest.started": 2, "quest.step_completed": 3, "quest.completed": 2}
    history = (await app.get("/v1/users/ada/history")).json()["items"][0]
    assert [c["name"] for c in history["changes"] if c["kind"] == "quest"] == ["tour", "after"]


async def test_a_path_names_two_things_whatever_they_are_called(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.post("/v1/quests/a%20b%2Fc/steps/d%20e/complete", json=USER)
    assert answer.status_code == 200, answer.text
    assert (await quest(app, "a b/c"))["status"] == "COMPLETED"


async def test_64_completions_at_once_pay_once(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.post("/v1/quests/tour/start", json=USER)
    for path, balance in (("/v1/quests/tour/steps/sign/complete", 10), ("/v1/quests/tour/complete", 30)):
        answers = await asyncio.gather(*(app.post(path, json=USER) for _ in range(64)))
        assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 63}
        assert await app.balance("ada", "coins") == balance
        for _ in range(2):
            await app.send("task", "ada", headers=WAIT)
    repeats = {"Idempotency-Key": "same"}
    answers = await asyncio.gather(
        *(app.post("/v1/quests/hour/start", json={"userId": "bob"}, headers=repeats) for _ in range(64))
    )
    assert Counter(answer.json()["duplicate"] for answer in answers) == {False: 1, True: 63}


async def test_what_is_overdue_is_expired_on_read_and_then_by_a_bounded_sweep(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    users = [f"user-{n}" for n in range(5)]
    for user in users:
        await app.send("look", user, occurredAt=(NINE - timedelta(hours=1)).isoformat(), headers=WAIT)
    assert [(await quest(app, "hour", user))["status"] for user in users] == ["EXPIRED"] * 5
    assert await stored(questline, app) == {"IN_PROGRESS": 5}

    def sweep(now: datetime, rows: int = 2) -> QuestEnds:
        return QuestEnds(questline.settings.dsn, lambda: now, EventIds().new, rows_max=rows)

    assert await sweep(NINE - timedelta(seconds=1)).run_once() == 0
    bounded = sweep(NINE)
    assert [await bounded.run_once() for _ in range(3)] == [2, 2, 1]
    assert await sweep(NINE, 10).run_once() == 5  # still waiting to be applied: found again, sent no second time
    await questline.drain()
    assert await stored(questline, app) == {"EXPIRED": 5}
    assert await sweep(NINE, 10).run_once() == 0
    history = (await app.get("/v1/users/user-0/history")).json()["items"]
    assert [(row["type"], row["occurredAt"]) for row in history if row["type"].startswith("$")] == [
        ("$quest_expire", "2026-01-05T09:00:00Z")
    ]
    notices = (await app.get("/v1/users/user-0/notices")).json()["items"]
    assert [n["type"] for n in notices] == ["quest.expired", "quest.started"]
    assert (await quest(app, "hour", "user-0"))["endedAt"] == "2026-01-05T09:00:00Z"


async def test_a_run_that_an_event_has_ended_first_is_left_alone_by_the_sweep(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    at = (NINE - timedelta(hours=1)).isoformat()
    await app.send("look", "ada", occurredAt=at, headers=WAIT)
    ends = QuestEnds(questline.settings.dsn, lambda: NINE, EventIds().new)
    await ends.run_once()
    await app.send("look", "ada", occurredAt=at, eventId="late", headers=WAIT)  # applied after the sweep's event
    assert (await quest(app, "hour"))["status"] == "EXPIRED"
    other = await questline.app(PROGRAM)
    await other.send("look", "ada", occurredAt=at, headers=WAIT)
    await other.send("look", "ada", occurredAt=at, eventId="late", headers=WAIT)  # late, and in time by its own clock
    await ends.run_once()
    await questline.drain()
    assert (await quest(other, "hour"))["status"] == "COMPLETED"


async def test_a_worker_ends_what_is_overdue_without_being_asked(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.send("look", "ada", occurredAt=NINE.isoformat(), headers=WAIT)

    async def ended() -> bool:
        return await stored(questline, app) == {"EXPIRED": 1}

    async with questline.worker():
        await until(ended)


async def test_an_event_explains_which_steps_it_could_count_for(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.send("look", "ada", eventId="mine", headers=WAIT)
    explained = (await app.get("/v1/events/mine")).json()["decision"]["explanation"]
    assert explained == [
        {"kind": "quests", "name": "hour.s", "fired": True, "failed": None, "note": "counts where the step is open"}
    ]


async def stored(questline: Instance, app: App) -> dict[str, int]:
    rows = await questline.owner.fetch(
        "SELECT q.status, count(*) FROM quests q JOIN projects p ON p.id = q.project_id WHERE p.app_id = $1 GROUP BY 1",
        app.app_id,
    )
    return {row["status"]: row["count"] for row in rows}


async def test_quests_are_edited_over_rest_and_every_error_names_its_path(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    new = {"name": "daily", "title": "Daily", "type": "daily", "steps": [{"id": "s", "on": "task"}]}
    assert (await app.post("/v1/quests", json=new)).status_code == 201
    assert (await app.get("/v1/quests/daily")).json()["definition"]["type"] == "daily"
    wrong = {"title": "Daily", "steps": [{"id": "s", "requirements": [{"metric": "taskz"}]}]}
    answer = await app.put("/v1/quests/daily", json=wrong)
    assert [error["path"] for error in answer.json()["errors"]] == ["quests.daily.steps[0].requirements[0].metric"]
    await app.send("task", "ada", headers=WAIT)
    assert ((await quest(app, "daily"))["status"], (await quest(app, "daily"))["times"]) == ("COMPLETED", 1)
    assert (await app.request("DELETE", "/v1/quests/daily")).status_code == 204
    await app.send("task", "ada", headers=WAIT)
    assert [q["quest"] for q in (await app.profile("ada"))["quests"]] == ["tour", "after", "hour", "a b/c"]
