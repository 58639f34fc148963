"""Replays: what was never applied is applied once; what was applied otherwise is compensated, once, and shown before."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from conftest_api import App, Instance, until
from ledger import misbooked
from poison import Poison

from questline.assembly import now
from questline.control.board_rebuild import compare
from questline.processing import replays as processing_replays
from questline.processing.programs import ProgramCache
from questline.processing.replays import Replays
from questline.store import replays, system_events
from questline.store.ids import EventIds
from questline.store.pool import connect
from questline.store.projects import find

PROGRAM: dict[str, Any] = {
    "currencies": {
        "XP": {
            "kind": "xp",
            "levels": {"curve": "sqrt", "base": 100, "rewards": {"2": {"award": {"gems": 1}}}},
        },
        "coins": {"kind": "currency"},
        "gems": {"kind": "currency"},
    },
    "metrics": {"tasks": {"on": "task", "count": True}},
    "rules": {"task": {"on": "task", "award": {"coins": 10, "XP": 50}, "limit": {"times": 3, "per": "ever"}}},
    "achievements": {
        "two": {
            "title": "Two",
            "requirements": [{"metric": "tasks", "threshold": 2}],
            "rewards": [{"currency": "coins", "value": 100}],
        }
    },
    "boards": {"coins": {"currency": "coins", "periods": ["all-time"]}},
}


def changed(coins: int, xp: int) -> dict[str, Any]:
    return {**PROGRAM, "rules": {"task": {**PROGRAM["rules"]["task"], "award": {"coins": coins, "XP": xp}}}}


async def settled(questline: Instance) -> None:
    """Run a worker until nothing waits and no replay is under way."""

    async def nothing_waits() -> bool:
        return not await questline.owner.fetchval(
            "SELECT EXISTS (SELECT FROM outbox UNION ALL SELECT FROM retries "
            "UNION ALL SELECT FROM replays WHERE finished_at IS NULL)"
        )

    async with questline.worker():
        await until(nothing_waits)


async def replay(questline: Instance, app: App, **body: Any) -> dict[str, Any]:
    """Run a replay to its end."""
    answer = await app.post("/v1/admin/replay", json=body)
    assert answer.status_code == 202, answer.text
    await settled(questline)
    view = (await app.get(f"/v1/admin/replays/{answer.json()['id']}")).json()
    assert (view["status"], view["progress"]) == ("finished", 1.0)
    return view


async def preview(app: App, **body: Any) -> dict[str, Any]:
    answer = await app.post("/v1/admin/replay", json={**body, "dryRun": True})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def balances(app: App, user: str) -> dict[str, int]:
    return {b["currency"]: b["amount"] for b in (await app.profile(user))["balances"]}


async def played(questline: Instance) -> App:
    """Four tasks of ada's and one of bob's: 30 coins and 150 XP by rules, level 2 with a gem, and 100 for an achievement."""
    app = await questline.app(PROGRAM)
    items = [{"type": "task", "userId": "ada", "eventId": f"a{n}"} for n in range(4)]
    await app.post("/v1/events/batch", json=[*items, {"type": "task", "userId": "bob", "eventId": "b0"}])
    await settled(questline)
    assert await balances(app, "ada") == {"XP": 150, "coins": 130, "gems": 1}
    return app


async def test_to_republish_what_was_processed_has_no_effect(questline: Instance) -> None:
    app = await played(questline)
    before = [await balances(app, user) for user in ("ada", "bob")]
    view = await replay(questline, app, mode="republish")
    assert (view["examined"], view["events"], view["changed"]) == (5, 5, 0)
    assert [await balances(app, user) for user in ("ada", "bob")] == before


async def test_dead_letters_and_what_the_queue_has_lost_are_applied_once(questline: Instance, poison: Poison) -> None:
    app = await questline.app(PROGRAM)
    dead = (await app.send("task", "ada", eventId="dead")).json()["eventId"]
    await poison.give(dead, "23514")
    await questline.drain()
    await poison.heal()
    lost = (await app.send("task", "bob", eventId="lost")).json()["eventId"]
    await questline.owner.execute("DELETE FROM outbox WHERE event_id = $1", lost)
    waiting = (await app.send("task", "eve", eventId="waiting")).json()["eventId"]
    seen = await preview(app, mode="republish")
    assert (seen["events"], seen["changed"], seen["nextCursor"]) == (3, 2, None)
    assert await questline.owner.fetchval("SELECT count(*) FROM outbox WHERE event_id = $1", waiting) == 1
    only = await preview(app, mode="republish", userId="bob", status="failed")
    assert only["changed"] == 0
    answers = await asyncio.gather(*(app.post("/v1/admin/replay", json={"mode": "republish"}) for _ in range(3)))
    await settled(questline)
    views = [(await app.get(f"/v1/admin/replays/{a.json()['id']}")).json() for a in answers]
    assert sum(view["changed"] for view in views) == 2
    assert [(await balances(app, user))["coins"] for user in ("ada", "bob", "eve")] == [10, 10, 10]


async def test_a_replay_keeps_to_its_limit_its_type_and_its_time(questline: Instance) -> None:
    app = await played(questline)
    await app.put("/v1/program", json=changed(20, 50))
    received = (await app.get("/v1/events/a2")).json()["receivedAt"]
    assert (await preview(app, mode="reprocess", limit=1))["totals"] == {"coins": 10}
    assert (await preview(app, mode="reprocess", type="other"))["totals"] == {}
    assert (await preview(app, mode="reprocess", userId="bob"))["totals"] == {"coins": 10}
    assert (await preview(app, mode="reprocess", to="2020-01-01T00:00:00Z"))["events"] == 0
    assert (await preview(app, mode="reprocess", **{"from": received}))["events"] > 0


async def test_the_difference_is_shown_first_and_then_paid_by_transfers_that_name_their_event(
    questline: Instance,
) -> None:
    app = await played(questline)
    await app.put("/v1/program", json=changed(25, 200))
    seen = await preview(app, mode="reprocess")
    assert await balances(app, "ada") == {"XP": 150, "coins": 130, "gems": 1}
    assert (seen["programVersion"], seen["totals"]) == (2, {"XP": 600, "coins": 60})
    assert sorted(seen["differences"], key=lambda difference: difference["userId"]) == [
        {"userId": "ada", "events": 3, "amounts": {"XP": 450, "coins": 45}},  # the fourth is beyond the rule's limit
        {"userId": "bob", "events": 1, "amounts": {"XP": 150, "coins": 15}},
    ]
    view = await replay(questline, app, mode="reprocess", reason="too little")
    assert (view["events"], view["changed"]) == (5, 4)
    assert await balances(app, "ada") == {"XP": 600, "coins": 175, "gems": 1}  # the level's gem is not given again
    assert await balances(app, "bob") == {"XP": 200, "coins": 25, "gems": 1}  # and given to whom it was due
    a0 = (await app.get("/v1/events/a0")).json()["id"]
    rules = await questline.owner.fetch("SELECT rule FROM transfers WHERE rule = $1", f"compensation:{a0}")
    assert len(rules) == 2
    assert await misbooked(questline.owner) == []


async def test_a_repeated_or_resumed_reprocessing_pays_nothing_twice(questline: Instance) -> None:
    app = await played(questline)
    await app.put("/v1/program", json=changed(25, 50))
    first, second = [(await app.post("/v1/admin/replay", json={"mode": "reprocess"})).json()["id"] for _ in range(2)]
    service = Replays(questline.settings.dsn, ProgramCache(), now, EventIds().new)
    await service.run_once(batches=1)  # and the worker dies
    await settled(questline)
    assert await balances(app, "ada") == {"XP": 150, "coins": 175, "gems": 1}
    changes = [(await app.get(f"/v1/admin/replays/{id_}")).json()["changed"] for id_ in (first, second)]
    assert changes == [4, 0]
    assert (await preview(app, mode="reprocess"))["totals"] == {}
    assert (await preview(app, mode="reprocess", version=1))["totals"] == {"coins": -60}


async def test_a_batch_that_fails_half_way_leaves_nothing_and_is_done_again(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await played(questline)
    await app.put("/v1/program", json=changed(25, 50))
    await app.post("/v1/admin/replay", json={"mode": "reprocess"})
    send = system_events.send

    async def dying(conn: Any, events: Any) -> Any:
        await send(conn, events)
        raise ConnectionError("the worker died")

    service = Replays(questline.settings.dsn, ProgramCache(), now, EventIds().new)
    monkeypatch.setattr(system_events, "send", dying)
    with pytest.raises(ConnectionError):
        await service.run_once()
    monkeypatch.setattr(system_events, "send", send)
    await settled(questline)
    assert (await balances(app, "ada"))["coins"] == 175


async def test_what_was_too_much_is_taken_back_unlocks_and_levels_stay_and_boards_follow(questline: Instance) -> None:
    app = await played(questline)
    spent = await app.post("/v1/currency/spend", json={"userId": "ada", "currency": "coins", "amount": 125})
    assert spent.status_code == 201
    await app.put("/v1/program", json=changed(1, 10))
    await replay(questline, app, mode="reprocess")
    profile = await app.profile("ada")
    assert await balances(app, "ada") == {"XP": 30, "coins": 0, "gems": 1}
    debt = await questline.owner.fetchval("SELECT max(debt) FROM balances b JOIN projects p ON p.id = b.project_id "
                                          "WHERE p.app_id = $1 AND currency = 'coins'", app.app_id)  # fmt: skip
    assert debt == 27 - 5
    assert [a["achievement"] for a in profile["achievements"] if a["unlocked"]] == ["two"]
    assert [level["level"] for level in profile["levels"]] == [2]
    board = (await app.get("/v1/leaderboards?metric=coins&period=all-time")).json()
    assert [(entry["userId"], entry["score"]) for entry in board["entries"]] == [("ada", 103), ("bob", 1)]
    conn = await connect(questline.settings.dsn)
    row = await find(conn, app.app_id)
    assert row is not None
    programs = await ProgramCache().in_force(conn, [row.project.id])
    assert await compare(conn, row.project, programs[row.project.id]) == []
    await conn.close()


async def test_what_the_sender_said_of_the_circumstances_is_read_again(questline: Instance) -> None:
    app = await questline.app(
        {
            "currencies": {"coins": {"kind": "currency"}},
            "rules": {"phone": {"on": "task", "when": {"field": "event.context.device", "op": "eq", "value": "phone"},
                                "award": {"coins": 10}}},
        }
    )  # fmt: skip
    await app.send("task", "ada", context={"device": "phone"})
    await settled(questline)
    assert await balances(app, "ada") == {"coins": 10}
    assert (await preview(app, mode="reprocess"))["totals"] == {}


async def test_what_a_page_said_of_a_user_pays_nothing_when_events_are_decided_again(questline: Instance) -> None:
    gold = {"field": "user.plan", "op": "eq", "value": "gold"}
    app = await questline.app(
        PROGRAM | {"metrics": {"gold": {"on": "task", "count": True, "when": gold}}, "achievements": {},
                   "boards": {"gold": {"metric": "gold", "periods": ["all-time"]}},
                   "rules": {"gold": {"on": "task", "when": gold, "award": {"coins": 1_000}}}}
    )  # fmt: skip
    key = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    await app.post("/v1/identify", json={"userId": "ada", "traits": {"plan": "gold"}}, key=key)
    await app.send("task", "ada")
    await settled(questline)
    assert (await preview(app, mode="reprocess"))["totals"] == {}
    conn = await connect(questline.settings.dsn)
    row = await find(conn, app.app_id)
    assert row is not None
    program = (await ProgramCache().in_force(conn, {row.project.id}))[row.project.id]
    assert await compare(conn, row.project, program) == []
    await conn.close()


async def test_what_cannot_be_replayed_is_said(questline: Instance) -> None:
    app, other = await played(questline), await questline.app(PROGRAM)
    made = (await app.post("/v1/admin/replay", json={"mode": "republish"})).json()["id"]
    bodies = {
        404: [{"mode": "reprocess", "version": 9}, {"mode": "reprocess", "userId": "nobody"}],
        422: [{"mode": "reprocess", "status": "failed"}, {"mode": "again"}],
        403: [{"mode": "republish", "project": other.app_id}],
    }
    for status, several in bodies.items():
        assert [(await app.post("/v1/admin/replay", json=body)).status_code for body in several] == [status] * len(
            several
        )
    assert (await other.get(f"/v1/admin/replays/{made}")).status_code == 404
    assert [r["id"] for r in (await app.get("/v1/admin/replays")).json()["items"]] == [made]
    await settled(questline)


def happens_while_folding(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[Any]]) -> None:
    """Let something happen once, when the first event of a history was read."""
    history, done = replays.history, []

    async def interrupted(*arguments: Any) -> AsyncGenerator[replays.Applied, None]:
        async for applied in history(*arguments):
            yield applied
            if not done:
                done.append(await happens())

    monkeypatch.setattr(replays, "history", interrupted)


async def one_batch(questline: Instance) -> None:
    await Replays(questline.settings.dsn, ProgramCache(), now, EventIds().new).run_once(batches=1)


@pytest.mark.parametrize(
    "body", [{"mode": "reprocess"}, {"mode": "backfill", "metric": "tasks"}], ids=["reprocess", "backfill"]
)
async def test_nobody_is_locked_while_histories_are_folded(
    questline: Instance, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    app = await played(questline)
    free = []

    async def can_be_locked() -> None:
        async with questline.owner.transaction():
            lock = "SELECT u.external_id FROM users u JOIN projects p ON p.id = u.project_id WHERE p.app_id = $1"
            free.extend(await questline.owner.fetch(f"{lock} FOR UPDATE OF u SKIP LOCKED", app.app_id))

    happens_while_folding(monkeypatch, can_be_locked)
    assert (await app.post("/v1/admin/replay", json=body)).status_code == 202
    await one_batch(questline)
    assert sorted(user for (user,) in free) == ["ada", "bob"]
    await settled(questline)


async def test_what_is_applied_while_histories_are_folded_is_replayed_as_well(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM)
    await app.send("task", "ada")
    await settled(questline)
    await app.send("task", "ada")  # received before the replay, and applied when that has begun
    for program in (changed(coins=20, xp=50), PROGRAM):
        assert (await app.put("/v1/program", json=program)).status_code == 200
    happens_while_folding(monkeypatch, questline.drain)
    answer = await app.post("/v1/admin/replay", json={"mode": "reprocess", "version": 2})
    assert answer.status_code == 202
    await one_batch(questline)
    await settled(questline)
    assert (await balances(app, "ada"))["coins"] == 2 * 20 + 100


async def test_nobody_is_passed_over_behind_a_history_that_grew_while_it_was_folded(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM)
    for user in ("ada", "bob"):
        await app.send("task", user)
    await settled(questline)
    before = await balances(app, "bob")
    await app.send("task", "ada")
    for program in (changed(coins=20, xp=50), PROGRAM):
        assert (await app.put("/v1/program", json=program)).status_code == 200
    monkeypatch.setattr(processing_replays, "REPLAY_FOLDED_EVENTS", 2)  # one of each fits, and not two and one
    happens_while_folding(monkeypatch, questline.drain)
    assert (await app.post("/v1/admin/replay", json={"mode": "reprocess", "version": 2})).status_code == 202
    for _ in range(3):
        await one_batch(questline)
        await settled(questline)
    assert (await balances(app, "bob"))["coins"] == before["coins"] + 10
    assert (await balances(app, "ada"))["coins"] == 2 * 20 + 100


async def test_a_batch_of_histories_ends_with_the_user_who_makes_it_long(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await played(questline)
    monkeypatch.setattr(processing_replays, "REPLAY_FOLDED_EVENTS", 3)
    first = await preview(app, mode="reprocess")
    assert (first["examined"], first["events"]) == (1, 4)
    rest = await preview(app, mode="reprocess", cursor=first["nextCursor"])
    assert (rest["examined"], rest["events"], rest["nextCursor"]) == (1, 1, None)
    view = await replay(questline, app, mode="reprocess")
    assert (view["examined"], view["events"]) == (2, 5)


async def test_one_dry_run_at_a_time_is_worked_on_and_others_are_told_so(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await played(questline)
    told = []

    async def another() -> None:
        body = {"mode": "reprocess", "dryRun": True}
        told.append(await app.post("/v1/admin/replay", json=body))
        told.append(await app.post("/v1/admin/replay", json=body, headers={"Idempotency-Key": "k"}))

    happens_while_folding(monkeypatch, another)
    await preview(app, mode="reprocess")
    assert [(answer.status_code, answer.json()["code"]) for answer in told] == [(503, "overloaded")] * 2
    await preview(app, mode="reprocess")
