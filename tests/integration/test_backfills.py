"""Backfills: a metric, or a timeframe over one, that came after its events is what it would have been, and counts each once."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest_api import App, Instance, until
from test_replays import preview, replay, settled

from questline.assembly import now
from questline.control.board_rebuild import compare
from questline.engine.commands import COMMANDS
from questline.engine.decide import decide_again
from questline.model.event import BACKFILL
from questline.model.limits import REPLAY_EVENTS_AT_ONCE
from questline.processing.programs import ProgramCache
from questline.processing.replays import Replays
from questline.store.ids import EventIds
from questline.store.pool import connect
from questline.store.projects import find

OLD: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "metrics": {"all": {"on": "*", "count": True}},
}
HARD = {"field": "difficulty", "op": "eq", "value": "hard"}
KINDS: dict[str, dict[str, Any]] = {
    "count": {"count": True},
    "sum": {"sum": "v"},
    "min": {"min": "v"},
    "max": {"max": "v"},
    "last": {"last": "v"},
    "distinct": {"distinct": "v"},
}


def with_metrics(*, days: int | None = None, **metrics: dict[str, Any]) -> dict[str, Any]:
    """The program with metrics that are new, each with a board, and looked at through days if there are any."""
    program = {**OLD, "metrics": {**OLD["metrics"], **metrics}}
    whole = {name for name, metric in metrics.items() if {"min", "last", "distinct"} & metric.keys()}
    periods = {name: ["all-time"] if name in whole else ["weekly", "all-time"] for name in metrics}
    program["boards"] = {name: {"metric": name, "periods": periods[name]} for name in metrics}
    ranks = {name: {"metric": name} for name in metrics if name not in whole}
    if ranks:
        program["seasons"] = {"ever": {"start": "2020-01-01", "end": "2120-01-01", "boards": ranks}}
        program["leagues"] = {name: {**ranked, "tiers": [{}, {}]} for name, ranked in ranks.items()}
    if days is not None:
        requirement = {"threshold": 1_000, "timeframe": {"duration": days, "unit": "days"}}
        program["achievements"] = {
            name: {"title": name, "requirements": [{"metric": name, **requirement}]} for name in metrics
        }
    return program


AT = datetime.now(UTC).replace(microsecond=0)
Row = tuple[str, float, Any, str]  # user, days before AT, value, difficulty
ROWS: list[Row] = [
    ("ada", 40, 5, "hard"),
    ("ada", 9, 2.5, "hard"),
    ("ada", 3, 5, "easy"),
    ("bob", 1, "text", "hard"),
    ("ada", 20, 0.1, "hard"),  # late
    ("ada", 1, 2.5, "hard"),
    ("bob", 0, 7, "hard"),
    ("bob", 0, None, "hard"),
]


async def told(app: App, rows: list[Row]) -> None:
    """Send rows as events, and have them applied."""
    items = [
        {
            "type": "task",
            "userId": user,
            "payload": {"v": value, "difficulty": difficulty},
            "occurredAt": (AT - timedelta(days=days, seconds=len(rows) - place)).isoformat(),
        }
        for place, (user, days, value, difficulty) in enumerate(rows)
    ]
    for first in range(0, len(items), 1_000):
        answer = await app.post("/v1/events/batch", json=items[first : first + 1_000])
        assert {item["status"] for item in answer.json()["results"]} == {"accepted"}, answer.text
    await settled(app.instance)


async def apply(app: App, program: dict[str, Any]) -> None:
    answer = await app.put("/v1/program", json=program)
    assert answer.status_code == 200, answer.text


async def kept(app: App) -> dict[str, list[tuple[Any, ...]]]:
    """All that metrics are: their values, seen values, windows, and scores on boards with the time each was reached."""
    tables = {
        "metrics": "SELECT user_id, metric, value, last_at FROM metrics",
        "values": "SELECT user_id, metric, value_hash FROM metric_values",
        "windows": "SELECT user_id, metric, unit, buckets FROM metric_windows",
        "leagues": "SELECT user_id, league, week, score, reached_at FROM league_members",
        "boards": "SELECT e.user_id, p.board, p.period, -e.lead, e.reached_at FROM board_entries e "
        "JOIN board_periods p ON p.project_id = e.project_id AND p.id = e.board_period",
    }
    found = {}
    for name, query in tables.items():
        alias = "e." if name == "boards" else ""
        rows = await app.instance.owner.fetch(
            f"""SELECT u.external_id, found.* FROM ({query}
                WHERE {alias}project_id = (SELECT id FROM projects WHERE app_id = $1)) AS found
                JOIN users u ON u.id = found.user_id""",
            app.app_id,
        )
        found[name] = sorted((row[0], *tuple(row)[2:]) for row in rows)
    return found


async def agree(app: App) -> bool:
    """Tell whether the boards are those of a program that has always been in force."""
    conn = await connect(app.instance.settings.dsn)
    row = await find(conn, app.app_id)
    assert row is not None
    programs = await ProgramCache().in_force(conn, [row.project.id])
    differences = await compare(conn, row.project, programs[row.project.id])
    await conn.close()
    return not differences


async def backfill(app: App, metric: str, **body: Any) -> dict[str, Any]:
    """Look at a backfill, do it, and return what was done, which is what was said."""
    said = await preview(app, mode="backfill", metric=metric, **body)
    done = await replay(app.instance, app, mode="backfill", metric=metric, **body)
    assert (done["events"], done["changed"]) == (said["events"], said["changed"])
    return said


async def always(questline: Instance, program: dict[str, Any], rows: list[Row]) -> dict[str, list[tuple[Any, ...]]]:
    """What a program makes of events that came after it."""
    app = await questline.app(program)
    await told(app, rows)
    return await kept(app)


async def value(app: App, user: str, metric: str) -> float | None:
    found = {one["metric"]: one["value"] for one in (await app.profile(user))["metrics"]}
    return found.get(metric)


@pytest.mark.parametrize("when", [None, HARD], ids=["all", "hard"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_metric_is_what_it_would_be_had_it_always_been_there(
    questline: Instance, kind: str, when: dict[str, Any] | None
) -> None:
    metric = {"on": "task", **KINDS[kind], **({"when": when} if when else {})}
    program = with_metrics(m=metric, days=7 if kind in ("count", "sum") else None)
    app = await questline.app(OLD)
    await told(app, ROWS)
    await apply(app, program)
    await backfill(app, "m")
    assert await kept(app) == await always(questline, program, ROWS)
    assert await agree(app)


async def test_a_backfill_done_again_finds_nothing_and_so_it_does_where_dedupe_keys_are_forgotten(
    questline: Instance,
) -> None:
    app = await questline.app(OLD)
    await told(app, ROWS)
    await apply(app, with_metrics(m={"on": "task", "count": True}))
    first = await backfill(app, "m")
    assert (first["changed"], first["totals"]) == (8, {"m": 8})
    before = await kept(app)
    assert (await backfill(app, "m"))["changed"] == 0
    await questline.owner.execute("DELETE FROM dedupe_keys")
    assert (await backfill(app, "m"))["changed"] == 0
    assert await kept(app) == before


async def test_a_dry_run_says_who_and_how_much_and_changes_nothing(questline: Instance) -> None:
    app = await questline.app(OLD)
    await told(app, ROWS)
    await apply(app, with_metrics(m={"on": "task", "sum": "v"}))
    before = await kept(app)
    said = await preview(app, mode="backfill", metric="m")
    assert (said["metric"], said["programVersion"], said["events"], said["changed"]) == ("m", 2, 6, 6)
    assert said["totals"] == {"m": 22.1}
    assert sorted(said["differences"], key=lambda one: one["userId"]) == [
        {"userId": "ada", "events": 5, "amounts": {"m": 15.1}},
        {"userId": "bob", "events": 1, "amounts": {"m": 7}},
    ]
    distinct = with_metrics(
        m={"on": "task", "sum": "v"}, d={"on": "task", "distinct": "v"}, top={"on": "task", "max": "v"}
    )
    await apply(app, distinct)
    seen = await preview(app, mode="backfill", metric="d")
    assert (seen["events"], seen["changed"], seen["totals"]) == (7, 5, {"d": 5})
    assert (await preview(app, mode="backfill", metric="top"))["totals"] == {}
    assert await kept(app) == before
    assert (await app.get("/v1/admin/replays")).json()["items"] == []


async def test_a_backfill_keeps_to_its_limit_its_type_its_user_and_its_time(questline: Instance) -> None:
    app = await questline.app(OLD)
    await told(app, ROWS)
    await apply(app, with_metrics(m={"on": "task", "count": True}))
    for body, changed in (
        ({"limit": 3}, 3),
        ({"type": "other"}, 0),
        ({"type": "task"}, 8),
        ({"userId": "bob"}, 3),
        ({"to": "2020-01-01T00:00:00Z"}, 0),
        ({"from": "2020-01-01T00:00:00Z"}, 8),
    ):
        assert (await preview(app, mode="backfill", metric="m", **body))["changed"] == changed, body
    assert [(await backfill(app, "m", limit=5))["changed"] for _ in range(3)] == [5, 3, 0]
    assert [await value(app, user, "m") for user in ("ada", "bob")] == [5, 3]


@pytest.mark.parametrize("mode", ["backfill", "reprocess"])
async def test_a_long_history_leaves_the_other_tasks_of_a_process_their_turns(
    questline: Instance, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    app = await questline.app(OLD)
    await told(app, [("ada", 0, n, "hard") for n in range(400)])
    await apply(app, with_metrics(m={"on": "task", "count": True}))
    turns, decided_at_turn = 0, Counter[int]()

    async def other_task() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def counted(program: Any, state: Any, event: Any) -> Any:
        decided_at_turn[turns] += 1
        return decide_again(program, state, event)

    monkeypatch.setattr("questline.processing.histories.decide_again", counted)
    monkeypatch.setattr("questline.processing.backfills.decide_again", counted)
    other = asyncio.create_task(other_task())
    await preview(app, mode=mode, **({"metric": "m"} if mode == "backfill" else {}))
    other.cancel()
    assert sum(decided_at_turn.values()) == (800 if mode == "backfill" else 400)
    assert max(decided_at_turn.values()) <= 2 * REPLAY_EVENTS_AT_ONCE


@pytest.mark.parametrize("mode", ["backfill", "reprocess"])
async def test_a_replay_that_has_come_to_its_limit_looks_at_no_further_user(questline: Instance, mode: str) -> None:
    app = await questline.app({**OLD, "rules": {"task": {"on": "task", "award": {"coins": 1}}}})
    await told(app, [(f"u{n}", 0, n, "hard") for n in range(50)])
    program = {
        **with_metrics(m={"on": "task", "count": True}),
        "rules": {"task": {"on": "task", "award": {"coins": 3}}},
    }
    await apply(app, program)
    body = {"metric": "m"} if mode == "backfill" else {}
    id_ = (await app.post("/v1/admin/replay", json={"mode": mode, "limit": 5, **body})).json()["id"]
    service = Replays(questline.settings.dsn, ProgramCache(), now, EventIds().new)
    for _ in range(3):
        await service.run_once()  # no worker applies what it sent
    view = (await app.get(f"/v1/admin/replays/{id_}")).json()
    assert [view[name] for name in ("status", "examined", "changed")] == ["running", 20, 5]
    await settled(questline)
    view = (await app.get(f"/v1/admin/replays/{id_}")).json()
    assert [view[name] for name in ("status", "examined", "changed")] == ["finished", 20, 5]


async def test_events_that_come_meanwhile_count_once(questline: Instance) -> None:
    app = await questline.app(OLD)
    rows: list[Row] = [(f"u{n % 9}", n % 5, n, "hard") for n in range(90)]
    await told(app, rows)
    await apply(app, with_metrics(m={"on": "task", "count": True}))
    async with questline.worker():
        await app.post("/v1/admin/replay", json={"mode": "backfill", "metric": "m"})
        for n in range(90):
            await app.send("task", f"u{n % 9}", {"v": n}, occurredAt=AT.isoformat())
    await settled(questline)
    assert [await value(app, f"u{n}", "m") for n in range(9)] == [20] * 9
    assert await agree(app)


async def test_a_backfill_goes_on_where_a_worker_stopped_and_ends_a_batch_with_a_user(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(OLD)
    await told(app, [(f"u{n % 4}", 0, n, "hard") for n in range(12)])
    await apply(app, with_metrics(m={"on": "task", "count": True}))
    monkeypatch.setattr("questline.processing.backfills.REPLAY_BATCH_EVENTS", 4)
    id_ = (await app.post("/v1/admin/replay", json={"mode": "backfill", "metric": "m"})).json()["id"]
    service = Replays(questline.settings.dsn, ProgramCache(), now, EventIds().new)
    await service.run_once(batches=1)  # and the worker dies
    half = (await app.get(f"/v1/admin/replays/{id_}")).json()
    assert [half[name] for name in ("status", "metric", "examined", "changed", "progress")] == [
        "running",
        "m",
        2,
        6,
        0.5,
    ]
    await asyncio.gather(*(service.run_once() for _ in range(3)))
    await settled(questline)
    whole = (await app.get(f"/v1/admin/replays/{id_}")).json()
    assert [whole[name] for name in ("status", "examined", "changed", "progress")] == ["finished", 4, 12, 1.0]
    assert [await value(app, f"u{n}", "m") for n in range(4)] == [3] * 4


async def test_a_new_timeframe_over_an_old_metric_is_filled_as_far_as_it_reaches(questline: Instance) -> None:
    old = with_metrics(m={"on": "task", "count": True})
    rows: list[Row] = [("ada", 40, 1, "hard"), ("ada", 9, 1, "hard"), ("ada", 2, 1, "hard"), ("ada", 0, 1, "hard")]
    app = await questline.app(old)
    await told(app, rows)
    before = await kept(app)
    program = with_metrics(m={"on": "task", "count": True}, days=7)
    await apply(app, program)
    said = await backfill(app, "m")
    assert (said["changed"], said["totals"]) == (3, {"days:m": 3})  # the first is older than what a window keeps
    after = await kept(app)
    assert {**after, "windows": []} == before
    assert after["windows"] == (await always(questline, program, rows))["windows"]
    assert (await backfill(app, "m"))["changed"] == 0


@pytest.mark.parametrize(
    ("days", "counted"),
    [
        ([130, 99, 92, 90], 3),  # who has long been away keeps what they had
        ([90, 92, 99, 130], 3),
        ([130, 92, 110, 90, 103], 3),
        ([30, 14, 13, 0], 2),
    ],
)
async def test_a_timeframe_is_filled_before_the_newest_event_of_each_user_whatever_the_day_is(
    questline: Instance, days: list[int], counted: int
) -> None:
    rows: list[Row] = [("ada", ago, 1, "hard") for ago in days] + [("bob", 0, 1, "hard")]
    app = await questline.app(with_metrics(m={"on": "task", "count": True}))
    await told(app, rows)
    program = with_metrics(m={"on": "task", "count": True}, days=7)
    await apply(app, program)
    done = await backfill(app, "m")
    assert (await kept(app))["windows"] == (await always(questline, program, rows))["windows"]
    assert done["totals"] == {"days:m": counted + 1}


async def test_a_timeframe_that_comes_after_a_backfill_is_filled_with_what_that_counted(questline: Instance) -> None:
    app = await questline.app(OLD)
    rows: list[Row] = [("ada", 9, 2.5, "hard"), ("ada", 2, 1, "easy"), ("ada", 0, 4, "hard")]
    await told(app, rows)
    await apply(app, with_metrics(m={"on": "task", "when": HARD, "sum": "v"}))
    assert (await backfill(app, "m"))["totals"] == {"m": 6.5}
    program = with_metrics(m={"on": "task", "when": HARD, "sum": "v"}, days=7)
    await apply(app, program)
    assert (await backfill(app, "m"))["totals"] == {"days:m": 6.5}
    assert await kept(app) == await always(questline, program, rows)
    assert (await backfill(app, "m"))["changed"] == 0


async def test_a_new_achievement_over_a_new_metric_is_backfilled_looked_at_and_awarded(questline: Instance) -> None:
    app = await questline.app(OLD)
    await told(app, ROWS)
    program = with_metrics(m={"on": "task", "when": HARD, "count": True})
    rewards = [{"currency": "coins", "value": 100}]
    program["achievements"] = {
        "four": {"title": "F", "requirements": [{"metric": "m", "threshold": 4}], "rewards": rewards}
    }
    await apply(app, program)
    path = "/v1/achievements/four/retroactive"
    assert (await app.get(path)).json()["found"] == 0
    await backfill(app, "m")
    profile = await app.profile("ada")
    assert [one for one in profile["achievements"] if one["unlocked"]] == []  # a backfill gives nothing
    assert await app.balance("ada", "coins") == 0
    seen = (await app.get(path)).json()
    assert (seen["found"], seen["cost"], seen["sample"]) == (1, {"coins": 100}, ["ada"])
    await app.post(path)
    await settled(questline)

    async def awarded() -> bool:
        return (await app.get(f"{path}?limit=0")).json()["sweep"]["status"] == "finished"

    async with questline.worker():
        await until(awarded)
    await settled(questline)
    assert await app.balance("ada", "coins") == 100


async def test_history_and_progress_name_the_event_that_was_counted(questline: Instance) -> None:
    app = await questline.app(OLD)
    await told(app, [("ada", 3, 1, "hard")])
    event = (await app.get("/v1/users/ada/history")).json()["items"][0]["eventId"]
    program = with_metrics(m={"on": "task", "count": True})
    program["achievements"] = {"two": {"title": "T", "requirements": [{"metric": "m", "threshold": 2}]}}
    await apply(app, program)
    done = await replay(questline, app, mode="backfill", metric="m", reason="a new metric")
    newest = (await app.get("/v1/users/ada/history")).json()["items"][0]
    assert (newest["type"], newest["reason"], newest["programVersion"]) == ("$backfill", "PROCESSED", 2)
    assert newest["changes"] == [{"kind": "metric", "metric": "m", "value": 1, "cause": f"event:{event}"}]
    shown = (await app.get(f"/v1/events/{newest['eventId']}")).json()
    assert shown["payload"] == {"replay": done["id"], "event": event, "metric": "m"}
    points = (await app.get("/v1/users/ada/achievements/two/progress")).json()["items"]
    assert [(point["value"], point["progress"]) for point in points] == [(1, 0.5)]


async def test_what_was_refused_counts_nothing_and_a_blocked_user_keeps_what_they_did(questline: Instance) -> None:
    app = await questline.app(OLD)
    await told(app, [("ada", 1, 1, "hard")])
    assert (await app.post("/v1/users/ada/block", json={"reason": "bot"})).status_code in (200, 201)
    await told(app, [("ada", 0, 1, "hard")])
    await apply(app, with_metrics(m={"on": "task", "count": True}))
    assert (await backfill(app, "m"))["changed"] == 1
    assert await value(app, "ada", "m") == 1


async def test_a_user_whose_event_the_engine_cannot_count_is_left_out_and_all_others_are_counted(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(OLD)
    await told(app, [("ada", 1, 1, "hard"), ("bob", 1, 1, "hard"), ("bob", 1, 2, "hard"), ("eve", 1, 1, "hard")])
    await apply(app, with_metrics(m={"on": "task", "sum": "v"}))

    def failing(program: Any, state: Any, event: Any) -> Any:
        if event.user == "bob" and event.payload["value"] == 2:
            raise ZeroDivisionError("division by zero")
        return decide_again(program, state, event)

    monkeypatch.setattr("questline.processing.backfills.decide_again", failing)
    assert (await backfill(app, "m"))["changed"] == 2
    assert [await value(app, user, "m") for user in ("ada", "bob", "eve")] == [1, None, 1]


@pytest.mark.parametrize(
    ("metric", "changed"),
    [
        ({"on": "task", "sum": "v"}, 30),
        ({"on": "task", "when": HARD, "sum": "v"}, 20),
        ({"on": "task", "count": True}, 20),
        (None, 20),
    ],
    ids=["the same", "another condition", "another kind", "gone"],
)
async def test_a_backfill_ends_where_its_metric_becomes_another(
    questline: Instance, metric: dict[str, Any] | None, changed: int
) -> None:
    app = await questline.app(OLD)
    await told(app, [(f"u{n:02}", 0, 1, "hard") for n in range(30)])
    await apply(app, with_metrics(m={"on": "task", "sum": "v"}))
    id_ = (await app.post("/v1/admin/replay", json={"mode": "backfill", "metric": "m"})).json()["id"]
    await Replays(questline.settings.dsn, ProgramCache(), now, EventIds().new).run_once(batches=1)
    new = {"other": {"on": "task", "count": True}, **({"m": metric} if metric else {})}
    await apply(app, with_metrics(**new))
    await settled(questline)
    view = (await app.get(f"/v1/admin/replays/{id_}")).json()
    assert (view["status"], view["changed"]) == ("finished", changed)


async def test_a_metric_that_is_gone_by_then_is_said(questline: Instance) -> None:
    app = await questline.app(OLD)
    await told(app, [("ada", 1, 1, "hard")])
    await apply(app, with_metrics(m={"on": "task", "count": True}))
    await app.post("/v1/admin/replay", json={"mode": "backfill", "metric": "m"})
    service = Replays(questline.settings.dsn, ProgramCache(), now, EventIds().new)
    await service.run_once(batches=1)
    await apply(app, OLD)
    await settled(questline)
    newest = (await app.get("/v1/users/ada/history")).json()["items"][0]
    assert (newest["type"], newest["status"], newest["reason"]) == ("$backfill", "refused", "INVALID_COMMAND")


@pytest.mark.parametrize("is_blocked", [False, True], ids=["free", "blocked"])
async def test_what_a_worker_of_an_older_version_does_not_know_waits_for_the_upgrade(
    questline: Instance, monkeypatch: pytest.MonkeyPatch, is_blocked: bool
) -> None:
    app = await questline.app(OLD)
    await told(app, [("ada", 1, 1, "hard")])
    await apply(app, with_metrics(m={"on": "task", "count": True}))
    if is_blocked:
        await app.post("/v1/users/ada/block", json={"reason": "bot"})
        await settled(questline)
    await app.post("/v1/admin/replay", json={"mode": "backfill", "metric": "m"})
    await Replays(questline.settings.dsn, ProgramCache(), now, EventIds().new).run_once(batches=1)
    with monkeypatch.context() as older:
        older.delitem(COMMANDS, BACKFILL)
        await settled(questline)
    dead = (await app.get("/v1/admin/dlq")).json()["items"]
    assert [(one["type"], one["reason"]) for one in dead] == [(BACKFILL, "ENGINE_ERROR")]
    assert "this version of Questline does not know '$backfill': upgrade all workers" in dead[0]["message"]
    await app.post("/v1/admin/dlq/retry", json={"type": BACKFILL})
    await settled(questline)
    assert await value(app, "ada", "m") == 1


async def test_what_was_backfilled_counts_once_where_it_is_worked_out_again(questline: Instance) -> None:
    app = await questline.app(OLD)
    await told(app, [("ada", 1, 1, "hard"), ("ada", 1, 1, "hard")])
    program = with_metrics(m={"on": "task", "count": True})
    program["rules"] = {
        "third": {"on": "task", "when": {"field": "metric.m", "op": "eq", "value": 3}, "award": {"coins": 5}}
    }
    await apply(app, program)
    await backfill(app, "m")
    await told(app, [("ada", 0, 1, "hard")])
    assert await app.balance("ada", "coins") == 5  # the third, by what was backfilled
    assert (await preview(app, mode="reprocess"))["totals"] == {}
    await told(app, [("ada", 0, 1, "easy")])
    assert (await preview(app, mode="reprocess"))["totals"] == {}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"metric": "none"}, 404, None),
        ({}, 422, "metric"),
        ({"metric": "m", "version": 1}, 422, "version"),
        ({"metric": "m", "status": "failed"}, 422, "status"),
        ({"metric": "m", "userId": "nobody"}, 404, None),
        ({"mode": "reprocess", "metric": "m"}, 422, "metric"),
        ({"mode": "republish", "metric": "m"}, 422, "metric"),
    ],
)
async def test_what_cannot_be_backfilled_is_said(
    questline: Instance, body: dict[str, Any], status: int, field: str | None
) -> None:
    app = await questline.app(with_metrics(m={"on": "task", "count": True}))
    answer = await app.post("/v1/admin/replay", json={"mode": "backfill", **body})
    assert (answer.status_code, answer.json().get("field")) == (status, field)


async def test_nobody_may_send_what_a_backfill_sends(questline: Instance) -> None:
    app = await questline.app(with_metrics(m={"on": "task", "count": True}))
    assert (await app.send("$backfill", "ada", {"metric": "m", "event": "x"})).status_code == 422
