"""Personal boosts over HTTP: when each held is kept, so that late events get what held when they happened."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from conftest_api import App, Instance

from questline import store

MIGRATION = Path(store.__file__).parent / "migrations" / "0030_boost_spans.sql"
GO_ON = next(statement for statement in MIGRATION.read_text().split(";") if "UPDATE" in statement)
PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "boosts": {"potion": {"by": 3, "lasts": {"duration": 30, "unit": "minutes"}}},
    "rules": {
        "gift": {"on": "gift", "rewards": [{"boost": "potion"}]},
        "task": {"on": "task", "award": {"coins": 10}},
    },
}


async def sent(app: App, type_: str, hours_ago: float, now: datetime | None = None) -> list[int]:
    """What an event of so long ago paid."""
    at = ((now or datetime.now(UTC)) - timedelta(hours=hours_ago)).isoformat()
    answer = await app.send(type_, "ada", occurredAt=at, headers={"Prefer": "wait=10"})
    assert answer.status_code == 200, answer.text
    return [transfer["amount"] for transfer in answer.json()["outcome"]["transfers"]]


async def test_late_events_get_the_boost_that_held_when_they_happened(questline: Instance) -> None:
    app, now = await questline.app(PROGRAM), datetime.now(UTC)
    for hours_ago in (24, 0.1, 24.2, 48):
        await sent(app, "gift", hours_ago, now)
    found = [await sent(app, "task", hours_ago, now) for hours_ago in (48.1, 47.6, 24.1, 23.3, 23.1, 0.2, 0.05)]
    assert found == [[10], [30], [30], [30], [10], [10], [30]]
    shown = (await app.profile("ada"))["boosts"]
    assert [(b["boost"], datetime.fromisoformat(b["until"]) - now) for b in shown] == [
        ("potion", timedelta(minutes=24))
    ]


async def test_a_boost_that_holds_while_the_database_is_migrated_goes_on(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    row = await questline.owner.fetchval("SELECT id FROM projects WHERE app_id = $1", app.app_id)
    begun = (await app.send("gift", "ada", headers={"Prefer": "wait=10"})).status_code
    for until, paid in ((timedelta(minutes=50), [30]), (-timedelta(minutes=5), [10])):
        await questline.owner.execute(
            "UPDATE boosts SET since = NULL, until = now() + $2::interval WHERE project_id = $1", row, until
        )
        await questline.owner.execute(GO_ON)
        answer = await app.send("task", "ada", headers={"Prefer": "wait=10"})
        assert ([t["amount"] for t in answer.json()["outcome"]["transfers"]], begun) == (paid, 200)
    assert await sent(app, "task", 0.5) == [30]
    assert await sent(app, "task", 0.7) == [10]


async def test_a_boost_that_a_worker_of_an_older_release_gave_anew_did_not_hold_all_the_time_between(
    questline: Instance,
) -> None:
    app = await questline.app(PROGRAM)
    await sent(app, "gift", 24)
    await questline.owner.execute(
        "UPDATE boosts SET until = now() + interval '20 minutes'"
        " WHERE project_id = (SELECT id FROM projects WHERE app_id = $1)",
        app.app_id,
    )
    found = [await sent(app, "task", hours_ago) for hours_ago in (23.8, 12, 0.4, 0.1)]
    assert found == [[30], [10], [10], [30]]
