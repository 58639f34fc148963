"""Achievements over HTTP: rolling windows kept in the database, reported progress, and where a user stands."""

import asyncio
from typing import Any

from conftest_api import Instance

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "metrics": {"runs": {"on": "run", "count": True}, "meters": {"on": "run", "sum": "meters"}},
    "achievements": {
        "busy": {
            "title": "Busy",
            "requirements": [{"metric": "runs", "threshold": 3, "timeframe": {"duration": 2, "unit": "days"}}],
            "rewards": [{"currency": "coins", "value": 5}],
        },
        "far": {
            "title": "Far",
            "requirements": [{"metric": "meters", "threshold": 10, "timeframe": {"duration": 3, "unit": "hours"}}],
        },
        "course": {
            "title": "Course",
            "requirements": [{"progress": "course"}],
            "tiers": [{"threshold": 2, "rewards": [{"currency": "coins", "value": 1}]}, {"threshold": 8}],
        },
        "hidden": {"title": "Hidden", "secret": True, "requirements": [{"progress": "hidden"}]},
    },
}


async def test_a_late_event_completes_a_window_of_the_past(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for at in ("2026-01-05T10:00:00Z", "2026-01-07T10:00:00Z", "2026-01-06T10:00:00Z", "2026-01-05T12:00:00Z"):
        assert await app.balance("ada", "coins") == 0 if at != "2026-01-05T10:00:00Z" else True
        answer = await app.send("run", "ada", {"meters": 2.5}, occurredAt=at, headers={"Prefer": "wait=5"})
    assert answer.json()["outcome"]["unlocks"] == [{"achievement": "busy", "tier": 1, "times": 1}]
    assert await app.balance("ada", "coins") == 5
    kept = await questline.owner.fetch("SELECT unit, buckets FROM metric_windows WHERE metric = 'meters'")
    assert [(row["unit"], row["buckets"].count("2.5")) for row in kept] == [("hours", 1)]
    history = (await app.get("/v1/users/ada/history")).json()["items"][0]["changes"]
    assert {change["kind"] for change in history} == {"transfer", "unlock", "metric"}


async def test_32_reports_at_once_add_up_and_a_repeat_counts_once(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    path = "/v1/achievements/course/progress"
    bodies = [{"userId": "ada", "amount": 0.25, "idempotencyKey": str(n % 16)} for n in range(32)]
    answers = await asyncio.gather(*(app.post(path, json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    standing = (await app.get("/v1/users/ada/achievements/course")).json()
    assert (standing["tier"], standing["progress"], standing["requirements"][0]["value"]) == (1, 0.5, 4)
    assert [(unlock["tier"], unlock["times"]) for unlock in standing["history"]] == [(1, 1)]
    done = await app.post(path, json={"userId": "ada", "value": 8.5})
    assert done.json()["outcome"]["records"][0]["after"]["value"] == 8.5
    page = (await app.get("/v1/users/ada/achievements/course?limit=1")).json()
    rest = (await app.get(f"/v1/users/ada/achievements/course?cursor={page['nextCursor']}")).json()
    assert [unlock["tier"] for unlock in (*page["history"], *rest["history"])] == [2, 1]
    assert (rest["progress"], rest["nextCursor"]) == (1.0, None)


ALL_KINDS: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}, "xp": {"kind": "xp", "levels": {"curve": "table", "table": [0, 10, 20, 99]}}},
    "rules": {"run": {"on": "run", "award": {"coins": 2, "xp": {"field": "meters", "round": "floor"}}}},
    "metrics": {"meters": {"on": "run", "sum": "meters"}, "others": {"on": "other", "count": True}},
    "streaks": {"daily": {"on": "run", "every": "day"}},
    "achievements": {
        "all": {
            "title": "All",
            "requirements": [
                {"metric": "meters", "threshold": 40}, {"currency": "coins", "threshold": 8}, {"level": "xp", "threshold": 4},
                {"streak": "daily", "threshold": 2}, {"achievement": "once", "threshold": 2}, {"progress": "all", "threshold": 4},
                {"quest": "jog"}, {"metric": "meters", "threshold": 5, "timeframe": {"duration": 1, "unit": "days"}},
            ],
        },
        "once": {"title": "Once", "requirements": [{"metric": "meters", "threshold": 1}]},
    },
    "quests": {"jog": {"title": "Jog", "steps": [{"id": "one", "requirements": [{"metric": "meters", "threshold": 20}]}]}},
}  # fmt: skip


async def test_how_progress_came_about_is_told_event_by_event(questline: Instance) -> None:
    app = await questline.app(ALL_KINDS)
    wait = {"Prefer": "wait=5"}
    path = "/v1/users/ada/achievements/all/progress"
    first = (await app.send("run", "ada", {"meters": 10}, occurredAt="2026-01-05T10:00:00Z", headers=wait)).json()[
        "eventId"
    ]
    await app.send("other", "ada", headers=wait)
    second = (await app.send("run", "ada", {"meters": 12.5}, occurredAt="2026-01-06T10:00:00Z", headers=wait)).json()[
        "eventId"
    ]
    await app.post("/v1/achievements/all/progress", json={"userId": "ada", "amount": 3})
    points = (await app.get(path)).json()["items"]
    told = [(p["eventId"], p["kind"], p["value"], p["progress"]) for p in points]
    assert told[0][1:] == ("progress", 3, 0.75)
    assert set(told[1:]) == {
        (second, "metric", 22.5, 0.5625), (second, "currency", 4, 0.5), (second, "level", 3, 0.75),
        (second, "streak", 2, 1.0), (second, "quest", 1, 1.0),
        (first, "metric", 10, 0.25), (first, "currency", 2, 0.25), (first, "level", 2, 0.5), (first, "streak", 1, 0.5),
        (first, "achievement", 1, 0.5), (first, "quest", 0, 0.0),
    }  # fmt: skip
    assert [p["at"][:10] for p in points[1:]] == ["2026-01-06"] * 5 + ["2026-01-05"] * 6
    standing = (await app.get("/v1/users/ada/achievements/all")).json()["requirements"]
    newest = {(p["kind"], p["name"]): p["progress"] for p in reversed(points)}
    assert newest == {(r["kind"], r["name"]): r["progress"] for r in standing if r["timeframe"] is None}
    page = (await app.get(f"{path}?limit=1")).json()
    rest = (await app.get(f"{path}?limit=7&cursor={page['nextCursor']}")).json()
    assert page["items"] + rest["items"] == points


async def test_what_cannot_be_reported_or_seen_is_a_problem(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for name, status, code in (
        ("curse", 404, "unknown-achievement"), ("busy", 422, "invalid-command"),
    ):  # fmt: skip
        answer = await app.post(f"/v1/achievements/{name}/progress", json={"userId": "ada", "amount": 1})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    for path in ("ada/achievements/hidden", "nobody/achievements/course", "ada/achievements/none"):
        assert (await app.get(f"/v1/users/{path}")).status_code == 404
        assert (await app.get(f"/v1/users/{path}/progress")).status_code == 404
    await app.post("/v1/achievements/hidden/progress", json={"userId": "ada", "amount": 1})
    assert (await app.get("/v1/users/ada/achievements/hidden")).json()["unlocked"] is True
