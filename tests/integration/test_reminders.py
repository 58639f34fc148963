"""Reminders with a given clock: in each zone's evening, once, whatever crashes between."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest_api import App, Instance

from questline.processing import room
from questline.processing.programs import ProgramCache
from questline.processing.reminders import Reminders
from questline.store import reminders
from questline.store.ids import EventIds

PROGRAM: dict[str, Any] = {"streaks": {"daily": {"on": "e", "remind": {"hour": 18, "from": 2}}}}
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def service(questline: Instance, at: datetime, **more: Any) -> Reminders:
    return Reminders(questline.settings.dsn, ProgramCache(), lambda: at, EventIds().new, **more)


async def runs(app: App, users: list[str], zone: str | None = None) -> None:
    """Let users be active yesterday and the day before."""
    for user in users:
        if zone is not None:
            await app.post("/v1/users", json={"id": user, "timezone": zone})
        for days in (2, 1):
            at = (TODAY - timedelta(days=days) + timedelta(hours=9)).isoformat()
            await app.send("e", user, occurredAt=at, headers={"Prefer": "wait=10"})


async def test_each_zone_is_reminded_in_its_own_evening_and_once(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await runs(app, ["ada", "bob"])
    await runs(app, ["tok"], "Asia/Tokyo")  # 18:00 there is 09:00 UTC
    sent = [await service(questline, TODAY + timedelta(hours=hour)).run_once() for hour in (8, 9, 10, 17, 18, 19)]
    assert sent == [0, 1, 0, 0, 2, 0]


async def test_a_crash_between_batches_leaves_nobody_out_and_nobody_twice(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM)
    users = [f"u{n}" for n in range(7)]
    await runs(app, users)
    evening = TODAY + timedelta(hours=20)
    advance, calls = reminders.advance, []

    async def crashing(*arguments: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise ConnectionError("crashed")
        await advance(*arguments, **more)

    monkeypatch.setattr(reminders, "advance", crashing)
    with pytest.raises(ConnectionError):
        await service(questline, evening, batch_users=3).run_once()
    again = await service(questline, evening, batch_users=3).run_once()
    count = await questline.owner.fetchval(
        "SELECT count(DISTINCT (project_id, external_user)) FROM events WHERE type = '$streak_at_risk' AND external_user LIKE 'u_'"
    )
    total = await questline.owner.fetchval(
        "SELECT count(*) FROM events WHERE type = '$streak_at_risk' AND external_user LIKE 'u_'"
    )
    assert (again, count, total) == (4, 7, 7)


async def test_reminders_leave_room_in_the_queue_for_what_users_do(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM)
    await runs(app, [f"v{n}" for n in range(7)])
    monkeypatch.setattr(room, "RESULTS_WAITING_MAX", 3)
    sent = []
    for _ in range(3):
        sent.append(await service(questline, TODAY + timedelta(hours=21), batch_users=2).run_once())
        await questline.drain()
    assert sent == [4, 3, 0]
