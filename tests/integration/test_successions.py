"""A program after a program: what users have under a name goes on, or the change is refused with the way out."""

import json
from importlib.resources import files
from typing import Any

import httpx
from conftest_api import App, Instance, questline

__all__ = ["questline"]

Json = dict[str, Any]
STREAK: Json = {"on": "e"}
QUEST: Json = {"title": "Q", "type": "daily", "steps": [{"id": "s", "on": "e"}]}
WEEKLY: Json = {"streaks": {"s": {**STREAK, "every": "week"}}, "quests": {"q": {**QUEST, "type": "weekly"}}}
REFUSED = [
    ("quests.q.type", "cannot become 'weekly': the runs that users have under this name are counted by 'daily'; "
     "leave it, or give what is new another name"),
    ("streaks.s.every", "cannot become 'week': the streaks that users have under this name are counted by 'day'; "
     "leave it, or give what is new another name"),
]  # fmt: skip


def stepped(steps: dict[str, int], tiers: list[float]) -> Json:
    """Steps and tiers that pay a gem each; `iron` and what is between others comes with a newer program."""
    gem = {"rewards": [{"currency": "gems", "value": 1}]}
    return {
        "currencies": {"coins": {"kind": "currency"}, "gems": {"kind": "currency"}},
        "metrics": {"done": {"on": "e", "count": True}},
        "rules": {"pay": {"on": "e", "award": {"coins": {"field": "n"}}}},
        "tiers": {
            "club": {"earned": "coins", "steps": [{"name": n, "at": at, **(gem if at else {})} for n, at in steps.items()]}
        },
        "achievements": {
            "doer": {"title": "Doer", "requirements": [{"metric": "done"}], "tiers": [{"threshold": t, **gem} for t in tiers]}
        },
    }  # fmt: skip


OLD = stepped({"bronze": 0, "silver": 100, "gold": 1000}, [1, 2.5])
NEW = stepped({"bronze": 0, "iron": 50, "silver": 100, "gold": 1000}, [0.5, 1, 2, 2.5])


async def earns(app: App, n: int) -> list[Json]:
    """Send an event, and return the records that it changed."""
    answer = await app.send("e", "ada", {"n": n}, headers={"Prefer": "wait=5"})
    assert answer.status_code == 200, answer.text
    records: list[Json] = answer.json()["outcome"]["records"]
    return records


async def standing(app: App) -> tuple[str, int, int]:
    """The step, the tier of the achievement, and the gems paid for both."""
    profile = (await app.get("/v1/users/ada/profile")).json()
    [club], [doer] = profile["tiers"], profile["achievements"]
    assert (await app.get("/v1/users/ada/achievements/doer")).json()["tier"] == doer["tier"]
    return club["step"], doer["tier"], await app.balance("ada", "gems")


async def marks(app: App) -> Json:
    """What lies beside the places of a project's rows."""
    rows = await app.instance.owner.fetch(
        "SELECT tier AS name, marks::text AS mark, project_id FROM tiers "
        "UNION ALL SELECT achievement, mark::text, project_id FROM achievements"
    )
    project = await app.instance.owner.fetchval("SELECT id FROM projects WHERE app_id = $1", app.app_id)
    return {row["name"]: json.loads(row["mark"]) for row in rows if row["project_id"] == project}


def errors(answer: httpx.Response) -> list[tuple[str, str]]:
    return sorted((error["path"], error["message"]) for error in answer.json()["errors"])


async def test_other_periods_under_a_name_are_refused_by_plan_and_put_with_the_path_and_the_way_out(
    questline: Instance,
) -> None:
    app = await questline.app({"streaks": {"s": STREAK}, "quests": {"q": QUEST}})
    assert errors(await app.post("/v1/program/plan", json=WEEKLY)) == REFUSED
    put = await app.put("/v1/program", json=WEEKLY)
    assert (put.status_code, errors(put)) == (422, REFUSED)
    assert errors(await app.put("/v1/streaks/s", json=WEEKLY["streaks"]["s"])) == REFUSED[1:]
    assert (await app.get("/v1/streaks/s")).json()["definition"] == STREAK
    assert (await app.put("/v1/streaks/other", json=WEEKLY["streaks"]["s"])).status_code == 200


async def test_a_definition_that_was_taken_out_comes_back_in_its_own_periods_alone(questline: Instance) -> None:
    app = await questline.app({"streaks": {"s": STREAK}, "quests": {"q": QUEST}})
    assert (await app.put("/v1/program", json={})).status_code == 200
    assert errors(await app.post("/v1/program/plan", json=WEEKLY)) == REFUSED
    assert errors(await app.put("/v1/program", json=WEEKLY)) == REFUSED
    assert (await app.put("/v1/program", json={"streaks": {"s": STREAK}, "quests": {"q": QUEST}})).status_code == 200
    other = await questline.app({})
    assert (await other.put("/v1/program", json=WEEKLY)).status_code == 200


async def test_steps_and_tiers_between_others_move_nobody_and_are_paid_to_nobody_twice(questline: Instance) -> None:
    app = await questline.app(OLD)
    for n in (500, 600, 1):
        await earns(app, n)
    assert await standing(app) == ("gold", 2, 4)
    assert (await app.put("/v1/program", json=NEW)).status_code == 200
    assert await standing(app) == ("gold", 4, 4)
    [record] = await earns(app, 1)
    assert record["after"] == {"step": 3, "best": 3, "earned": 1102}
    assert await standing(app) == ("gold", 4, 4)


async def test_rows_of_an_older_release_are_marked_by_the_latest_program_that_had_their_names(
    questline: Instance,
) -> None:
    app, gone = await questline.app(OLD), await questline.app(OLD)
    for one in (app, gone):
        for n in (500, 600, 1):
            await earns(one, n)
    assert (await gone.put("/v1/program", json={**OLD, "tiers": {}, "achievements": {}})).status_code == 200
    written = await marks(app), await marks(gone)
    await questline.owner.execute("UPDATE tiers SET marks = NULL; UPDATE achievements SET mark = NULL")
    migration = files("questline.store").joinpath("migrations/0033_marks.sql").read_text(encoding="utf-8")
    await questline.owner.execute(migration[migration.index("WITH latest") :])
    assert (await marks(app), await marks(gone)) == written
    assert written[0] == written[1] == {"club": [[2, "gold", 1000], [2, "gold", 1000]], "doer": [2, 2.5]}
    for one in (app, gone):
        assert (await one.put("/v1/program", json=NEW)).status_code == 200
        assert await standing(one) == ("gold", 4, 4)
        await earns(one, 1)
        assert await standing(one) == ("gold", 4, 4)


async def test_a_place_that_a_worker_of_an_older_release_moved_holds_without_its_mark(questline: Instance) -> None:
    app = await questline.app(OLD)
    for n in (150, 1):
        await earns(app, n)
    assert await standing(app) == ("silver", 1, 2)
    await questline.owner.execute(
        "UPDATE tiers SET step = 2, best = 2, earned = 1200; UPDATE achievements SET tier = 2"
    )
    assert await standing(app) == ("gold", 2, 2)
    await earns(app, 1)
    assert await standing(app) == ("gold", 2, 2)
