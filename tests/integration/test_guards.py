"""Guards over HTTP: what is held is applied once when it is approved, and what a block takes away comes back as it was."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from conftest_api import App, Instance

from questline.control import board_rebuild
from questline.engine.compile import compile_program
from questline.model.principal import Project
from questline.processing.sightings import Sightings
from questline.store.pool import connect

HOUR = {"duration": 1, "unit": "hours"}
PROGRAM: dict[str, Any] = {
    "currencies": {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}, "coins": {"kind": "currency"}},
    "metrics": {"runs": {"on": "run", "count": True}},
    "rules": {"run": {"on": "run", "award": {"XP": {"field": "metres"}, "coins": 5}}},
    "streaks": {"daily": {"on": "run"}},
    "boards": {
        "xp": {"currency": "XP", "periods": ["daily", "all-time"]},
        "runs": {"metric": "runs", "periods": ["weekly", "all-time"], "ties": "competition"},
    },
    "guards": {
        "impossible": {"kind": "bounds", "on": "run", "field": "metres", "max": 1000, "action": "hold", "score": 30},
        "odd": {"kind": "bounds", "on": "run", "field": "metres", "max": 900, "score": 5},
        "absurd": {"kind": "bounds", "on": "run", "field": "metres", "max": 1000000, "action": "block"},
        "farm": {"kind": "spread", "on": "visit", "field": "device", "users": 3, "window": HOUR, "action": "refuse"},
        "dear": {"kind": "bounds", "on": "$spend", "field": "amount", "max": 3, "action": "hold"},
    },
    "suspicion": {"decay": {"points": 1, "every": 1, "unit": "days"}},
}
THEN = datetime(2026, 1, 5, 10, tzinfo=UTC)


async def run(app: App, user: str, metres: int, *, at: datetime = THEN, **more: Any) -> dict[str, Any]:
    """Send a run and wait for what became of it."""
    headers = {"Prefer": "wait=10"}
    answer = await app.send("run", user, {"metres": metres}, occurredAt=at.isoformat(), headers=headers, **more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def waiting(app: App) -> list[dict[str, Any]]:
    return (await app.get("/v1/reviews")).json()["items"]


async def rows_of_boards(app: App, table: str = "board_entries") -> list[Any]:
    """Every entry of the project, times included."""
    found = await app.instance.owner.fetch(
        f"""SELECT b.board, b.period, u.external_id, -e.lead, e.reached_at
            FROM {table} e JOIN board_periods b ON b.id = e.board_period JOIN users u ON u.id = e.user_id
            JOIN projects p ON p.id = e.project_id WHERE p.app_id = $1 ORDER BY 1, 2, 3""",
        app.app_id,
    )
    return [tuple(row) for row in found]


async def rebuild(app: App, what: Any) -> Any:
    """Run a rebuild, or a comparison, of the project's boards."""
    row = await app.instance.owner.fetchrow("SELECT id, organization_id FROM projects WHERE app_id = $1", app.app_id)
    project = Project(row["id"], row["organization_id"], app.app_id, app.app_id, "UTC", 1)
    conn = await connect(app.instance.settings.dsn)
    try:
        return await what(conn, project, compile_program(PROGRAM, 1))
    finally:
        await conn.close()


async def test_a_held_event_waits_and_is_on_no_board(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    held = await run(app, "ada", 2000, eventId="run-1")
    assert (held["status"], held["reason"], held["outcome"]["transfers"]) == ("held", "GUARD_HELD", [])
    again = await run(app, "ada", 2000, eventId="run-1")
    assert (again["status"], again["duplicate"], again["outcome"]) == ("held", True, held["outcome"])
    listed = await waiting(app)
    assert [(r["eventId"], r["externalId"], r["userId"], r["payload"]) for r in listed] == [
        (held["eventId"], "run-1", "ada", {"metres": 2000})
    ]
    assert [(g["guard"], g["action"], g["values"], g["score"]) for g in listed[0]["guards"]] == [
        ("impossible", "hold", {"value": 2000, "max": 1000}, 35),
        ("odd", "flag", {"value": 2000, "max": 900}, 35),
    ]
    shown = (await app.get("/v1/events/run-1")).json()
    assert (shown["status"], shown["attempts"][0]["status"]) == ("held", "held")
    assert shown["review"] == {"status": "waiting", "reason": "", "decidedBy": None}
    explained = {v["name"]: v["fired"] for v in shown["decision"]["explanation"] if v["kind"] == "guards"}
    assert explained == {"impossible": True, "odd": True, "absurd": False}
    assert [e["id"] for e in (await app.get("/v1/events?status=held")).json()["items"]] == [held["eventId"]]
    assert await rows_of_boards(app) == []
    assert (await app.balance("ada", "coins"), (await app.profile("ada"))["suspicion"] >= 0) == (0, True)


async def test_approving_many_times_at_once_applies_the_event_once_and_as_of_its_time(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    held = await run(app, "ada", 2000, eventId="run-1")
    body = {"reason": "a known athlete"}
    answers = await asyncio.gather(*(app.post("/v1/reviews/run-1/approve", json=body) for _ in range(16)))
    assert {a.status_code for a in answers} == {200}
    assert Counter(a.json()["duplicate"] for a in answers) == {True: 15, False: 1}
    assert len({a.json()["decidedBy"] for a in answers}) == 1
    outcomes = [a.json()["outcome"] for a in answers]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0]["balances"] == {"XP": 2000, "coins": 5}
    assert await app.balance("ada", "coins") == 5
    assert await rows_of_boards(app) == [
        ("runs", "2026-W02", "ada", 1, THEN), ("runs", "all-time", "ada", 1, THEN),
        ("xp", "2026-01-05", "ada", 2000, THEN), ("xp", "all-time", "ada", 2000, THEN),
    ]  # fmt: skip
    assert await rebuild(app, board_rebuild.compare) == []
    shown = (await app.get("/v1/events/run-1")).json()
    by = answers[0].json()["decidedBy"]
    assert (shown["status"], shown["review"]) == (
        "processed",
        {"status": "approved", "reason": "a known athlete", "decidedBy": by},
    )
    history = (await app.get("/v1/users/ada/history")).json()["items"]
    applied = next(item for item in history if item["eventId"] == by)
    assert (applied["type"], applied["occurredAt"]) == ("$approve", "2026-01-05T10:00:00Z")
    assert [c["rule"] for c in applied["changes"] if c["kind"] == "transfer"] == ["rule:run", "rule:run"]
    first = next(item for item in history if item["eventId"] == held["eventId"])
    assert [(c["guard"], c["action"]) for c in first["changes"] if c["kind"] == "guard"] == [
        ("impossible", "hold"),
        ("odd", "flag"),
    ]
    assert await waiting(app) == []


async def test_of_approve_and_deny_at_once_one_decides_and_the_other_is_told(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for n in range(6):
        await run(app, "ada", 2000, eventId=f"run-{n}")
        verbs = ["approve", "deny"] * 3
        answers = await asyncio.gather(*(app.post(f"/v1/reviews/run-{n}/{verb}", json={}) for verb in verbs))
        status = (await app.get(f"/v1/events/run-{n}")).json()["review"]["status"]
        won = "approve" if status == "approved" else "deny"
        expected = [200 if verb == won else 409 for verb in verbs]
        assert [a.status_code for a in answers] == expected
        assert {a.json()["code"] for a in answers if a.status_code == 409} == {"already-reviewed"}
    approved = len((await app.get("/v1/reviews?status=approved")).json()["items"])
    assert approved + len((await app.get("/v1/reviews?status=denied")).json()["items"]) == 6
    assert await app.balance("ada", "coins") == 5 * approved


async def test_a_denied_event_is_kept_with_its_trace_and_without_effect(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await run(app, "ada", 2000, eventId="run-1")
    before = (await app.get("/v1/events/run-1")).json()
    denied = await app.post("/v1/reviews/run-1/deny", json={"reason": "a bot"})
    assert (denied.status_code, denied.json()["status"]) == (200, "denied")
    shown = (await app.get("/v1/events/run-1")).json()
    assert (shown["status"], shown["reason"], shown["review"]["reason"]) == ("refused", "REVIEW_DENIED", "a bot")
    assert (shown["payload"], shown["decision"]["trace"]) == (before["payload"], before["decision"]["trace"])
    assert (await app.balance("ada", "coins"), await rows_of_boards(app)) == (0, [])
    assert (await app.post("/v1/reviews/nothing/deny", json={})).status_code == 404
    assert (await app.post("/v1/reviews/run-1/approve", json={})).json()["code"] == "already-reviewed"


async def test_a_flagged_event_is_applied_and_noted(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    flagged = await run(app, "ada", 950, at=datetime.now(UTC) - timedelta(seconds=5))
    assert (flagged["status"], [g["guard"] for g in flagged["outcome"]["guards"]]) == ("processed", ["odd"])
    history = (await app.get("/v1/users/ada/history")).json()["items"]
    assert [c for c in history[0]["changes"] if c["kind"] == "guard"] == [
        {
            "kind": "guard",
            "guard": "odd",
            "of": "bounds",
            "action": "flag",
            "values": {"value": 950, "max": 900},
            "score": 5,
        }
    ]
    notices = (await app.get("/v1/users/ada/notices")).json()["items"]
    assert ("guard.flagged", "odd") in [(n["type"], n["data"].get("guard")) for n in notices]
    profile = await app.profile("ada")
    assert (profile["suspicion"], await app.balance("ada", "XP")) == (5, 950)


async def test_a_held_command_is_answered_409_and_runs_when_it_is_approved(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await run(app, "ada", 10)
    body = {"userId": "ada", "currency": "coins", "amount": 4, "idempotencyKey": "hat"}
    answers = [await app.post("/v1/currency/spend", json=body) for _ in range(2)]
    assert [(a.status_code, a.json()["code"], a.json()["duplicate"]) for a in answers] == [
        (409, "guard-held", False),
        (409, "guard-held", True),
    ]
    assert await app.balance("ada", "coins") == 5
    approved = await app.post(f"/v1/reviews/{answers[0].json()['eventId']}/approve", json={})
    assert (approved.json()["outcome"]["balances"], await app.balance("ada", "coins")) == ({"coins": 1}, 1)
    again = await app.post("/v1/currency/spend", json=body)
    assert (again.status_code, again.json()["balance"], again.json()["duplicate"]) == (201, 1, True)


async def test_an_approval_that_cannot_be_applied_leaves_the_event_waiting(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await run(app, "ada", 10)
    body = {"userId": "ada", "currency": "coins"}
    held = (await app.post("/v1/currency/spend", json={**body, "amount": 4})).json()["eventId"]
    assert (await app.post("/v1/currency/spend", json={**body, "amount": 3})).status_code == 201
    refused = await app.post(f"/v1/reviews/{held}/approve", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient-balance")
    assert [r["eventId"] for r in await waiting(app)] == [held]


async def test_a_blocked_users_standing_leaves_the_boards_and_comes_back_as_it_was(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for day in range(3):
        for n, user in enumerate(("ada", "bob", "cyd", "dan")):
            await run(app, user, 100 * (n + 1 + day), at=THEN + timedelta(days=day, minutes=n))
    whole = await rows_of_boards(app)
    top = (await app.get("/v1/leaderboards?metric=xp&periodKey=all-time&userId=bob")).json()
    assert (top["total"], top["me"]["rank"]) == (4, 3)

    blocked = await app.post("/v1/users/cyd/block", json={"reason": "a bot"})
    assert (blocked.status_code, blocked.json()["blocked"]) == (200, True)
    assert await rows_of_boards(app) == [row for row in whole if row[2] != "cyd"]
    page = (await app.get("/v1/leaderboards?metric=xp&periodKey=all-time&userId=bob")).json()
    assert (page["total"], page["me"]["rank"], [e["userId"] for e in page["entries"]]) == (3, 2, ["dan", "bob", "ada"])
    assert await rebuild(app, board_rebuild.compare) == []
    refused = await run(app, "cyd", 100, at=THEN)
    assert (refused["status"], refused["reason"]) == ("refused", "USER_BLOCKED")
    assert (
        await app.post("/v1/currency/spend", json={"userId": "cyd", "currency": "coins", "amount": 1})
    ).status_code == 403
    assert (await app.profile("cyd"))["user"]["blocked"] is True

    assert (await app.post("/v1/users/cyd/unblock", json={"reason": "was none"})).status_code == 200
    assert await rows_of_boards(app) == whole
    assert (await app.get("/v1/leaderboards?metric=xp&periodKey=all-time&userId=bob")).json() == top
    assert await rebuild(app, board_rebuild.compare) == []
    history = (await app.get("/v1/users/cyd/history")).json()["items"]
    audited = [
        (item["type"], change["after"]["reason"])
        for item in history
        for change in item["changes"]
        if change["kind"] == "block"
    ]
    assert audited == [("$unblock", "was none"), ("$block", "a bot")]
    assert (await run(app, "cyd", 1, at=THEN))["status"] == "processed"


async def test_what_scores_while_a_user_is_hidden_counts_beside_the_boards_and_returns_with_the_rest(
    questline: Instance,
) -> None:
    store = {"mug": {"price": {"coins": 1}, "fulfilment": "manual"}}
    sorry = {"on": "$fulfilment_fail", "award": {"XP": 3}}
    app = await questline.app({**PROGRAM, "rules": {**PROGRAM["rules"], "sorry": sorry}, "store": store})
    for user in ("ada", "bob"):
        await run(app, user, 100)
    sold = (await app.post("/v1/store/mug/redeem", json={"userId": "ada"})).json()["eventId"]
    await app.post("/v1/users/ada/block", json={"reason": "a bot"})
    assert (await app.post(f"/v1/fulfilments/{sold}/fail", json={"note": "none left"})).status_code == 200
    assert {row[2] for row in await rows_of_boards(app)} == {"bob"}
    assert await rebuild(app, board_rebuild.compare) == []
    assert (await app.post("/v1/users/ada/unblock", json={"reason": "was none"})).status_code == 200
    page = (await app.get("/v1/leaderboards?metric=xp&periodKey=all-time")).json()
    assert [(e["userId"], e["score"]) for e in page["entries"]] == [("ada", 103), ("bob", 100)]
    assert await rebuild(app, board_rebuild.compare) == []


async def test_a_rebuild_keeps_hidden_entries_hidden_and_mends_them(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for user in ("ada", "bob"):
        await run(app, user, 100)
    whole = await rows_of_boards(app)
    await app.post("/v1/users/ada/block", json={"reason": "a bot"})
    hidden = await rows_of_boards(app, "board_hidden")
    assert hidden == [row for row in whole if row[2] == "ada"]
    await questline.owner.execute(
        "UPDATE board_hidden SET lead = lead - 7 WHERE project_id = (SELECT id FROM projects WHERE app_id = $1)",
        app.app_id,
    )
    assert len(await rebuild(app, board_rebuild.compare)) == len(hidden)
    assert await rebuild(app, board_rebuild.rebuild) == len(hidden)
    assert await rows_of_boards(app, "board_hidden") == hidden
    assert await rebuild(app, board_rebuild.compare) == []
    await app.post("/v1/users/ada/unblock", json={"reason": "was none"})
    assert await rows_of_boards(app) == whole


async def test_a_block_that_keeps_the_standing_can_be_changed_to_one_that_removes_it(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await run(app, "ada", 100)
    whole = await rows_of_boards(app)
    seen = []
    for path, body in (
        ("block", {"reason": "x", "standing": "keep"}), ("block", {"reason": "x", "standing": "remove"}),
        ("block", {"reason": "x", "standing": "remove"}), ("block", {"reason": "x", "standing": "keep"}), ("unblock", {"reason": "x"}),
    ):  # fmt: skip
        assert (await app.post(f"/v1/users/ada/{path}", json=body)).status_code == 200
        seen.append(await rows_of_boards(app))
    assert seen == [whole, [], [], whole, whole]


async def test_a_guard_blocks_by_itself_and_an_operator_undoes_it(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await run(app, "ada", 100)
    whole = await rows_of_boards(app)
    for n in range(3):  # through the queue, in one batch
        await app.send(
            "run", "ada", {"metres": 2_000_000 if n == 1 else 10}, eventId=f"run-{n}", occurredAt=THEN.isoformat()
        )
    await questline.drain()
    statuses = [(await app.get(f"/v1/events/run-{n}")).json()["reason"] for n in range(3)]
    assert statuses == ["PROCESSED", "USER_BLOCKED", "USER_BLOCKED"]
    assert await rows_of_boards(app) == []
    await app.post("/v1/users/ada/unblock", json={"reason": "a broken sensor"})
    assert [row[:4] for row in await rows_of_boards(app)] == [
        (*row[:3], row[3] + (10 if row[0] == "xp" else 1)) for row in whole
    ]
    assert await rebuild(app, board_rebuild.compare) == []


async def test_users_who_come_at_once_from_one_device_see_each_other(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    headers = {"Prefer": "wait=20"}
    async with questline.worker():  # some through the queue, some waited for: they meet at the same device all the same
        waited = [
            app.send(
                "visit", f"user-{n}", {"device": "d"}, occurredAt=THEN.isoformat(), headers=headers if n % 2 else {}
            )
            for n in range(40)
        ]
        await asyncio.gather(*waited)
    await questline.drain()
    events = (await app.get("/v1/events?limit=200")).json()["items"]
    assert Counter(e["reason"] for e in events) == {"PROCESSED": 3, "GUARD_REFUSED": 37}


async def test_a_clients_events_of_the_past_are_compared_with_each_other_while_one_of_now_is_there(
    questline: Instance,
) -> None:
    guards = {
        "burst": {"kind": "rate", "on": "tap", "times": 3, "window": HOUR, "action": "refuse"},
        "leap": {"kind": "jump", "on": "score", "field": "n", "by": 100, "action": "refuse"},
        "farm": {**PROGRAM["guards"]["farm"], "on": "tap", "users": 1},
    }
    app = await questline.app({**PROGRAM, "guards": guards})
    made = await app.post("/v1/keys", json={"type": "publishable"})

    async def statuses(user: str, type_: str, *facts: tuple[datetime, dict[str, Any]]) -> list[str]:
        ids = []
        for at, payload in facts:
            event = {"type": type_, "userId": user, "payload": payload, "occurredAt": at.isoformat()}
            answer = await app.request("POST", "/v1/events", key=made.json()["key"], json=event)
            ids.append(answer.json()["eventId"])
        await questline.drain()
        return [(await app.get(f"/v1/events/{id_}")).json()["status"] for id_ in ids]

    past = [THEN - timedelta(days=1) + timedelta(milliseconds=n) for n in range(6)]
    taps = [(THEN, {"device": "a"}), *((at, {"device": "b"}) for at in past)]
    assert await statuses("ada", "tap", *taps) == ["processed"] * 4 + ["refused"] * 3
    shared = [(past[0], {"device": "a"}), (past[1], {"device": "b"})]
    assert await statuses("bob", "tap", *shared) == ["processed", "refused"]

    await statuses("cyd", "score", (THEN, {"n": 10}))
    await questline.owner.execute(  # as it was written before values were kept with their times
        "UPDATE guard_marks SET marks = json_build_array(json_build_array(marks->0->0, '')), value = 10 WHERE guard = 'leap'"
    )
    scores = [(at, {"n": n}) for at, n in zip(past, (500, 20, 130, 90), strict=False)]
    assert await statuses("cyd", "score", *scores) == ["refused", "processed", "refused", "processed"]


async def test_many_users_with_many_shared_values_at_once_are_judged_right_and_none_fails(questline: Instance) -> None:
    """Users are locked before values, and both in one order, so that no two transactions wait for each other."""
    guards = {
        "devices": {**PROGRAM["guards"]["farm"], "users": 2},
        "orders": {
            "kind": "duplicate",
            "on": "visit",
            "fields": ["order"],
            "across": "users",
            "window": HOUR,
            "action": "refuse",
        },
        "own": {"kind": "spread", "on": "visit", "field": "device", "values": 3, "window": HOUR, "action": "refuse"},
    }
    metrics = {**PROGRAM["metrics"], "visits": {"on": "visit", "count": True}}
    app = await questline.app({**PROGRAM, "guards": guards, "metrics": metrics})
    facts = [(f"user-{n % 12}", f"device-{n * 7 % 9}", n * 5 % 80) for n in range(240)]
    async with questline.worker():
        sent = [
            app.send("visit", user, {"device": device, "order": order}, eventId=str(n), occurredAt=THEN.isoformat(),
                     headers={"Prefer": "wait=20"} if n % 3 == 0 else {})
            for n, (user, device, order) in enumerate(facts)
        ]  # fmt: skip
        assert {answer.status_code for answer in await asyncio.gather(*sent)} <= {200, 202}
    await questline.drain()
    applied = await questline.owner.fetch(
        """SELECT e.external_user, e.payload->>'device', e.payload->>'order' FROM decisions d
           JOIN events e ON e.project_id = d.project_id AND e.id = d.event_id JOIN projects p ON p.id = d.project_id
           WHERE p.app_id = $1 AND e.type = 'visit' AND d.status = 'processed'""",
        app.app_id,
    )
    users_of: dict[str, set[str]] = {}
    devices_of: dict[str, set[str]] = {}
    for user, device, _ in applied:
        users_of.setdefault(device, set()).add(user)
        devices_of.setdefault(user, set()).add(device)
    assert max(map(len, users_of.values())) <= 2
    assert max(map(len, devices_of.values())) <= 3
    assert max(Counter(order for _, _, order in applied).values()) == 1
    assert (await app.get("/v1/events?status=failed")).json()["items"] == []
    counted = [(await app.profile(f"user-{n}"))["metrics"] for n in range(12)]
    assert sum(found[0]["value"] for found in counted if found) == len(applied) > 10
    database = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await questline.owner.fetchval(database) == 0


async def test_what_guards_know_of_shared_values_is_forgotten_when_its_time_is_over(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for user in ("ada", "bob"):
        await app.send("visit", user, {"device": "d"}, occurredAt=THEN.isoformat(), headers={"Prefer": "wait=5"})
    count = "SELECT count(*) FROM sightings WHERE project_id = (SELECT id FROM projects WHERE app_id = $1)"
    left = []
    now = datetime.now(UTC)
    for hours in (1.9, 2.1):
        await Sightings(questline.settings.dsn, lambda later=timedelta(hours=hours): now + later).run_once()
        left.append(await questline.owner.fetchval(count, app.app_id))
    assert left == [1, 0]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x", "standing": "gone"}, {"reason": "x", "more": 1}])
async def test_a_block_says_why(questline: Instance, body: dict[str, Any]) -> None:
    app = await questline.app(PROGRAM)
    await run(app, "ada", 1)
    answer = await app.post("/v1/users/ada/block", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert (await app.post("/v1/users/nobody/block", json={"reason": "x"})).status_code == 404


async def test_a_crash_behind_any_statement_of_a_review_or_a_block_leaves_all_or_nothing(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request is cut behind its first, second, third ... statement, and repeated until it is answered."""
    execute = asyncpg.Connection._execute
    left = [0]  # statements until the crash; below zero: none

    async def crashing(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        result = await execute(self, query, *arguments, **more)
        if self.is_in_transaction() and not query.lstrip().upper().startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            left[0] -= 1
            if left[0] == 0:
                self.terminate()
                raise ConnectionError("crashed")
        return result

    app = await questline.app(PROGRAM)
    requests = [("/v1/reviews/{run}/approve", {}), ("/v1/users/{user}/block", {"reason": "x"}), ("/v1/users/{user}/unblock", {"reason": "x"})]  # fmt: skip
    crashes, after = 0, 0
    monkeypatch.setattr(asyncpg.Connection, "_execute", crashing)
    while crashes == after:  # until a whole round went through without a crash
        user, run_id = f"user-{after}", f"run-{after}"
        await run(app, user, 2000, eventId=run_id)
        after += 1
        crashed = False
        for path, body in requests:
            left[0] = after
            while (answer := await app.post(path.format(run=run_id, user=user), json=body)).status_code != 200:
                assert answer.status_code == 503, answer.text
                crashed = True
            left[0] = 0
        crashes += crashed
        assert (await app.balance(user, "XP"), await app.balance(user, "coins")) == (2000, 5)
    assert crashes > 10
    assert await rows_of_boards(app, "board_hidden") == []
    assert await rebuild(app, board_rebuild.compare) == []
    assert len(await waiting(app)) == 0
