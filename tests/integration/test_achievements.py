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


async def test_what_cannot_be_reported_or_seen_is_a_problem(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for name, status, code in (
        ("curse", 404, "unknown-achievement"), ("busy", 422, "invalid-command"),
    ):  # fmt: skip
        answer = await app.post(f"/v1/achievements/{name}/progress", json={"userId": "ada", "amount": 1})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await app.get("/v1/users/ada/achievements/hidden")).status_code == 404
    assert (await app.get("/v1/users/nobody/achievements/course")).status_code == 404
    await app.post("/v1/achievements/hidden/progress", json={"userId": "ada", "amount": 1})
    assert (await app.get("/v1/users/ada/achievements/hidden")).json()["unlocked"] is True
