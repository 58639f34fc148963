"""Applying events: once, in order, together or not at all."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest
from conftest_api import PROGRAM, App, Instance, until
from ledger import misbooked

from questline.processing import apply
from questline.store import effects
from questline.store.statements import statements


async def state_of(app: App, user: str) -> dict[str, Any]:
    """Everything a user has, without times and ids."""
    profile = await app.profile(user)
    return {
        "balances": {b["currency"]: b["amount"] for b in profile["balances"]},
        "levels": {level["track"]: level["level"] for level in profile["levels"]},
        "longest": {s["streak"]: s["longest"] for s in profile["streaks"]},
        "unlocked": [a["achievement"] for a in profile["achievements"] if a["unlocked"]],
        "metrics": {m["metric"]: m["value"] for m in profile["metrics"]},
    }


async def test_a_users_third_event_is_applied_like_the_first(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for n in range(3):
        await app.send("task", "ada", eventId=str(n))
        await questline.drain()
        expected = {"XP": 40 * (n + 1), "coins": 15 * (n + 1) + (100 if n == 2 else 0)}
        assert (await state_of(app, "ada"))["balances"] == expected
    assert await state_of(app, "ada") == {
        "balances": {"XP": 120, "coins": 145}, "levels": {"XP": 2}, "longest": {"daily": 1}, "unlocked": ["three"],
        "metrics": {"tasks": 3},
    }  # fmt: skip


async def test_a_waited_event_answers_with_what_it_changed(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.send("task", "ada", eventId="1", headers={"Prefer": "wait=5"})
    body = answer.json()
    assert (answer.status_code, answer.headers["preference-applied"], body["status"]) == (200, "wait=5", "processed")
    assert body["outcome"]["balances"] == {"XP": 40, "coins": 15}
    again = await app.send("task", "ada", eventId="1", headers={"Prefer": "wait=5"})
    assert (again.json()["duplicate"], again.json()["outcome"]) == (True, body["outcome"])


async def test_a_command_comes_after_all_that_was_acknowledged_before(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for n in range(5):
        await app.send("gift", "ada", {"amount": 10}, eventId=str(n))
    answer = await app.post("/v1/currency/spend", json={"userId": "ada", "currency": "coins", "amount": 50})
    assert (answer.status_code, answer.json()["balance"]) == (201, 0)


async def test_64_spends_at_once_never_overdraw(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.send("gift", "ada", {"amount": 100}, headers={"Prefer": "wait=5"})
    body = {"userId": "ada", "currency": "coins", "amount": 10}
    answers = await asyncio.gather(*(app.post("/v1/currency/spend", json=body) for _ in range(64)))
    codes = sorted(a.status_code for a in answers)
    assert codes == [201] * 10 + [409] * 54
    assert {a.json().get("code") for a in answers if a.status_code == 409} == {"insufficient-balance"}
    assert await app.balance("ada", "coins") == 0
    assert await misbooked(questline.owner) == []


async def test_a_spend_under_one_key_is_taken_once_and_a_refusal_is_replayed(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.send("gift", "ada", {"amount": 30}, headers={"Prefer": "wait=5"})
    body = {"userId": "ada", "currency": "coins", "amount": 20}
    first, second = [await app.post("/v1/currency/spend", json=body, headers={"Idempotency-Key": "a"}) for _ in "12"]
    assert (first.status_code, second.json()) == (201, {**first.json(), "duplicate": True})
    refused = await app.post("/v1/currency/spend", json=body, headers={"Idempotency-Key": "b"})
    await app.send("gift", "ada", {"amount": 30}, headers={"Prefer": "wait=5"})
    replayed = await app.post("/v1/currency/spend", json=body, headers={"Idempotency-Key": "b"})
    assert (refused.status_code, replayed.status_code, replayed.json()["duplicate"]) == (409, 409, True)
    other = await app.post("/v1/currency/spend", json={**body, "amount": 1}, headers={"Idempotency-Key": "a"})
    assert other.json()["code"] == "idempotency-key-reused"
    assert await app.balance("ada", "coins") == 40


async def test_a_poisoned_event_is_a_dead_letter_and_the_999_beside_it_are_applied(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM)
    decide = apply.decide

    def poisoned(program: Any, state: Any, event: Any) -> Any:
        if event.payload.get("poison"):
            raise ZeroDivisionError("division by zero")
        return decide(program, state, event)

    monkeypatch.setattr(apply, "decide", poisoned)
    items = [
        {"type": "task", "userId": f"u{n % 50}", "eventId": str(n), "payload": {"poison": n == 500}}
        for n in range(1000)
    ]
    await app.post("/v1/events/batch", json=items)
    await questline.drain()
    dead = (await app.get("/v1/events/500")).json()
    assert (dead["status"], dead["reason"], "division by zero" in dead["message"]) == ("failed", "ENGINE_ERROR", True)
    assert [a["status"] for a in dead["attempts"]] == ["failed"]
    total = sum([(await state_of(app, f"u{n}"))["metrics"]["tasks"] for n in range(50)])
    assert total == 999


async def test_an_event_the_database_refuses_is_found_among_its_batch(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM)
    trace_of = effects.trace_of

    def broken(decision: Any, user: Any) -> str:
        return "no json" if user.user == "u7" else trace_of(decision, user)

    monkeypatch.setattr(effects, "trace_of", broken)
    items = [{"type": "task", "userId": f"u{n}", "eventId": f"x{n}"} for n in range(100)]
    await app.post("/v1/events/batch", json=items)
    await questline.drain()
    statuses = [(await app.get(f"/v1/events/x{n}")).json()["status"] for n in range(100)]
    assert [n for n, status in enumerate(statuses) if status != "processed"] == [7]
    assert (await app.get("/v1/events/x7")).json()["reason"] == "STORE_ERROR"
    assert await misbooked(questline.owner) == []


STATEMENTS = ["users.lock", "outbox.take", "state.balances", "effects.add_transfers", "boards.add_points"]


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_a_crash_after_any_statement_converges_to_one_effect(
    questline: Instance, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    app = await questline.app(PROGRAM)
    aggregate, name = statement.split(".")
    crashed = asyncio.Event()
    words = max((line for line in statements(aggregate)[name].splitlines() if "$" not in line), key=len)
    execute = asyncpg.Connection._execute

    async def crashing(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        result = await execute(self, query, *arguments, **more)
        if words in query and not crashed.is_set():
            crashed.set()
            self.terminate()  # the process is gone right after the statement
            raise ConnectionError("crashed")
        return result

    monkeypatch.setattr(asyncpg.Connection, "_execute", crashing)
    await app.post("/v1/events/batch", json=[{"type": "task", "userId": "ada", "eventId": str(n)} for n in range(3)])
    await questline.drain()
    assert crashed.is_set()
    assert (await state_of(app, "ada"))["balances"] == {"XP": 120, "coins": 145}
    assert await misbooked(questline.owner) == []


async def test_two_workers_share_the_partitions_and_apply_everything_once(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    lines = [json.dumps({"type": "task", "userId": f"u{n % 200}", "eventId": str(n)}) for n in range(4_000)]
    async with questline.worker(), questline.worker():
        await app.post("/v1/ingest/stream?results=errors", content="\n".join(lines))
        await until(questline._is_drained)
    totals = [(await state_of(app, f"u{n}"))["metrics"]["tasks"] for n in range(200)]
    assert totals == [20] * 200
    assert await misbooked(questline.owner) == []


async def test_one_projects_spike_does_not_delay_anothers_event(questline: Instance) -> None:
    spike, quiet = await questline.app(PROGRAM), await questline.app(PROGRAM)
    lines = "\n".join(json.dumps({"type": "task", "userId": f"u{n}", "eventId": str(n)}) for n in range(6_000))
    await spike.post("/v1/ingest/stream?results=errors", content=lines)
    await quiet.send("task", "ada", eventId="q")

    async def quiet_is_done() -> bool:
        return (await quiet.get("/v1/events/q")).json()["status"] == "processed"

    async with questline.worker():
        await until(quiet_is_done)
        waiting = await questline.owner.fetchval("SELECT count(*) FROM outbox")
        await until(questline._is_drained)
    assert waiting > 0


async def test_a_late_event_mends_a_streak(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for day in (1, 2, 4, 5, 3):
        await app.send("task", "ada", occurredAt=f"2026-01-0{day}T12:00:00Z", headers={"Prefer": "wait=5"})
    assert (await state_of(app, "ada"))["longest"] == {"daily": 5}


async def test_history_names_event_rule_version_and_reason_of_every_change(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for n in range(3):
        await app.send("task", "ada", eventId=str(n), headers={"Prefer": "wait=5"})
    page = (await app.get("/v1/users/ada/history?limit=1")).json()
    [item] = page["items"]
    assert (item["type"], item["status"], item["reason"], item["programVersion"], item["rules"]) == (
        "task", "processed", "PROCESSED", 1, ["task"],
    )  # fmt: skip
    kinds = [
        (c["kind"], c.get("rule") or c.get("achievement") or c.get("metric") or c.get("track")) for c in item["changes"]
    ]
    assert kinds == [
        ("transfer", "rule:task"), ("transfer", "rule:task"), ("transfer", "achievement:three"), ("level", "XP"),
        ("unlock", "three"), ("tier", None), ("metric", "tasks"),
    ]  # fmt: skip
    rest = (await app.get(f"/v1/users/ada/history?cursor={page['nextCursor']}")).json()
    assert (len(rest["items"]), rest["nextCursor"]) == (2, None)


async def test_an_event_explains_the_rule_that_did_not_fire(questline: Instance) -> None:
    rules = {
        "hard": {"on": "task", "when": {"all": [{"field": "difficulty", "op": "eq", "value": "hard"}, {"field": "n", "op": "gt", "value": 3}]}, "award": {"coins": 1}},
        "rich": {"on": "task", "when": {"field": "balance.coins", "op": "gte", "value": 5}, "award": {"coins": 1}},
        "once": {"on": "task", "award": {"coins": 1}, "limit": {"times": 1, "per": "ever"}},
    }  # fmt: skip
    app = await questline.app({"currencies": {"coins": {"kind": "currency"}}, "rules": rules})
    await app.send("task", "ada", {}, headers={"Prefer": "wait=5"})
    await app.send("task", "ada", {"difficulty": "hard", "n": 2}, eventId="e", headers={"Prefer": "wait=5"})
    found = {v["name"]: v for v in (await app.get("/v1/events/e")).json()["decision"]["explanation"]}
    assert found["hard"]["failed"] == {"field": "n", "op": "gt", "expected": 3, "actual": 2, "missing": False}
    assert found["rich"]["failed"]["actual"] == 1
    assert (found["once"]["fired"], "limit of 1 per ever" in found["once"]["note"]) == (False, True)


async def test_a_new_program_version_applies_from_the_next_event_on_and_keeps_what_was_won(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for n in range(3):
        await app.send("task", "ada", eventId=str(n), headers={"Prefer": "wait=5"})
    changed = {**PROGRAM, "rules": {"task": {"on": "task", "award": {"XP": 1}}}, "achievements": {}}
    assert (await app.put("/v1/program", json=changed)).headers["etag"] == '"2"'
    await app.send("task", "ada", eventId="4", headers={"Prefer": "wait=5"})
    assert (await state_of(app, "ada"))["balances"] == {"XP": 121, "coins": 145}
    kept = await questline.owner.fetchval(
        "SELECT count(*) FROM achievements a JOIN projects p ON p.id = a.project_id WHERE p.app_id = $1", app.app_id
    )
    assert kept == 1
