"""A program after a program: what users have under a name goes on, or the change is refused with the way out."""

from typing import Any

import httpx
from conftest_api import Instance, questline

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
