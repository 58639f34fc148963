"""What became of an event: found by any of its names, listed by user, type and status, explained in full."""

from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from conftest_api import PROGRAM, App, Instance

NOW = {"Prefer": "wait=5"}
ODD_IDS = ["a:b/ü %?#", "/", "a//b", "%2F", "..", "😀", "x" * 256, "a+b&c=d", "profile", "batch"]


@pytest.mark.parametrize("id_", ODD_IDS)
async def test_an_id_of_any_characters_works_in_every_path(questline: Instance, id_: str) -> None:
    app = await questline.app(PROGRAM)
    sent = (await app.send("task", id_, eventId=id_, idempotencyKey=f"key {id_}", headers=NOW)).json()
    in_path = quote(id_, safe="") if id_ != ".." else "%2E%2E"
    profile = await app.get(f"/v1/users/{in_path}/profile")
    history = await app.get(f"/users/{in_path}/history")
    assert (profile.json()["user"]["id"], len(history.json()["items"])) == (id_, 1)
    for name in (in_path, quote(f"key {id_}", safe=""), sent["eventId"]):
        assert (await app.get(f"/v1/events/{name}")).json()["id"] == sent["eventId"]


async def test_an_event_tells_its_attempts_its_decision_and_why_a_rule_did_not_fire(questline: Instance) -> None:
    hard = {"on": "task", "award": {"coins": 9}, "when": {"field": "difficulty", "op": "eq", "value": "hard"}}
    app = await questline.app({**PROGRAM, "rules": {**PROGRAM["rules"], "hard": hard}})
    await app.send("task", "u", {"difficulty": "easy"}, eventId="e", headers=NOW)
    event = (await app.get("/v1/events/e")).json()
    assert (event["status"], event["reason"], event["eventId"], event["userId"]) == ("processed", "PROCESSED", "e", "u")
    assert [(a["number"], a["status"]) for a in event["attempts"]] == [(1, "processed")]
    decision = event["decision"]
    assert decision["programVersion"] == 1
    assert {(t["currency"], t["amount"], t["rule"]) for t in decision["transfers"]} == {
        ("XP", 40, "rule:task"),
        ("coins", 15, "rule:task"),
    }
    verdicts = {(v["kind"], v["name"]): v for v in decision["explanation"]}
    assert verdicts["rules", "task"]["fired"] is True
    assert verdicts["rules", "hard"]["failed"] == {
        "field": "difficulty", "op": "eq", "expected": "hard", "actual": "easy", "missing": False,
    }  # fmt: skip


async def test_an_event_is_explained_by_the_version_that_decided_it(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.send("task", "u", eventId="before", headers=NOW)
    await app.put("/v1/program", json={**PROGRAM, "rules": {"other": {"on": "task", "award": {"coins": 1}}}})
    await app.send("task", "u", eventId="after", headers=NOW)
    rules = {
        name: [
            v["name"]
            for v in (await app.get(f"/v1/events/{name}")).json()["decision"]["explanation"]
            if v["kind"] == "rules"
        ]
        for name in ("before", "after")
    }
    assert rules == {"before": ["task"], "after": ["other"]}


async def test_an_event_is_explained_by_what_the_user_was_then_and_the_values_that_counted(questline: Instance) -> None:
    def tier(value: str) -> dict[str, str]:
        return {"field": "user.tier", "op": "eq", "value": value}

    program = {
        "currencies": {"coins": {"kind": "currency"}},
        "metrics": {"km": {"on": "task", "sum": "v"}, "silver": {"on": "task", "when": tier("silver"), "count": True}},
        "rules": {
            "vip": {"on": "task", "when": tier("gold"), "award": {"coins": 100}},
            "nonvip": {"on": "task", "when": tier("silver"), "award": {"coins": 1}},
        },
    }
    app = await questline.app(program)
    await app.post("/v1/users", json={"id": "u", "attributes": {"tier": "silver"}})
    await app.send("task", "u", {"v": "abc"}, eventId="e1", headers=NOW)
    changed = await app.post("/v1/users", json={"id": "u", "attributes": {"tier": "gold"}})
    assert changed.json()["attributes"] == {"tier": "gold"}
    decision = (await app.get("/v1/events/e1")).json()["decision"]
    failed = {"field": "user.tier", "op": "eq", "expected": "gold", "actual": "silver", "missing": False}
    assert {v["name"]: (v["fired"], v["failed"], v["note"]) for v in decision["explanation"]} == {
        "km": (False, None, "v is no number"),
        "silver": (True, None, ""),
        "vip": (False, failed, ""),
        "nonvip": (True, None, ""),
    }
    assert decision["trace"]["reads"] == {"user.tier": "silver"}


@pytest.fixture
async def mixed(questline: Instance) -> App:
    """A project with an event of each status: two processed, one refused, one dead letter, one waiting; and a neighbour's."""
    app = await questline.app(PROGRAM)
    await app.send("task", "ada", eventId="done", headers=NOW)
    await app.send("gift", "bob", {"amount": 2**62}, eventId="full", headers=NOW)
    await app.send("gift", "bob", {"amount": 1}, eventId="overflow", headers=NOW)
    await app.send("task", "ada", eventId="dead")
    await _bury(questline, app, "dead")
    await app.send("task", "ada", eventId="waits")
    await (await questline.app(PROGRAM)).send("task", "ada", eventId="foreign", headers=NOW)
    return app


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["waits", "dead", "overflow", "full", "done"]),
        ("?type=gift", ["overflow", "full"]),
        ("?status=pending", ["waits"]),
        ("?status=processed", ["full", "done"]),
        ("?status=refused", ["overflow"]),
        ("?status=failed", ["dead"]),
        ("?userId=ada", ["waits", "dead", "done"]),
        ("?userId=bob&status=refused", ["overflow"]),
        ("?userId=ada&status=pending", ["waits"]),
        ("?userId=ada&status=failed", ["dead"]),
        ("?userId=ada&type=gift", []),
        ("?type=task&status=processed", ["done"]),
        ("?userId=nobody", []),
    ],
)
async def test_events_are_listed_by_user_type_and_status(mixed: App, query: str, expected: list[str]) -> None:
    items = (await mixed.get(f"/v1/events{query}")).json()["items"]
    assert [item["eventId"] for item in items] == expected


@pytest.mark.parametrize("query", ["", "userId=ada&", "status=processed&", "status=pending&"])
async def test_pages_of_events_follow_on_without_gap_or_repeat(questline: Instance, query: str) -> None:
    app = await questline.app(PROGRAM)
    waits = "pending" in query
    for n in range(5):
        await app.send("task", "ada", eventId=str(n), headers={} if waits else NOW)
    seen, cursor = [], ""
    while cursor is not None:
        page = (await app.get(f"/v1/events?{query}limit=2{cursor and f'&cursor={cursor}'}")).json()
        seen += [item["eventId"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert seen == ["4", "3", "2", "1", "0"]


async def test_history_pages_follow_on_and_each_change_names_its_rule(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for n in range(4):
        await app.send("task", "ada", eventId=str(n), headers=NOW)
    first = (await app.get("/v1/users/ada/history?limit=3")).json()
    rest = (await app.get(f"/v1/users/ada/history?limit=3&cursor={first['nextCursor']}")).json()
    assert ([len(first["items"]), len(rest["items"])], rest["nextCursor"]) == ([3, 1], None)
    third = first["items"][1]
    transferred = {c["currency"] for c in third["changes"] if c["kind"] == "transfer"}
    unlocked = {c["achievement"] for c in third["changes"] if c["kind"] == "unlock"}
    assert (transferred, unlocked) == ({"XP", "coins"}, {"three"})
    assert {c["rule"] for c in third["changes"] if c["kind"] == "transfer"} == {"rule:task", "achievement:three"}
    assert (third["programVersion"], third["reason"], third["rules"]) == (1, "PROCESSED", ["task"])


async def _bury(questline: Instance, app: App, event_id: str) -> None:
    """Make a dead letter of a waiting event, as a worker does with one that cannot be applied."""
    id_ = (await app.get(f"/v1/events/{event_id}")).json()["id"]
    owner: asyncpg.Connection = questline.owner
    row: Any = await owner.fetchrow("DELETE FROM outbox WHERE event_id = $1 RETURNING project_id, user_hash", id_)
    await owner.execute(
        "INSERT INTO dead_letters VALUES ($1, $2, $3, 'ENGINE_ERROR', 'made by a test', 1, now())",
        row["project_id"], id_, row["user_hash"],
    )  # fmt: skip
