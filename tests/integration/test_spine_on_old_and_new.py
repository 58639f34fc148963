"""The whole way of an event, on the oldest and the newest PostgreSQL that are supported."""

from typing import Any

import asyncpg
import httpx
from conftest_api import Instance

from questline.assembly import running_api
from questline.settings import Settings

PROGRAM = {
    "currencies": {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 10}}, "coins": {"kind": "currency"}},
    "metrics": {
        "tasks": {"on": "task", "count": True},
        "tags": {"on": "task", "distinct": "tag"},
        "best": {"on": "task", "max": "score"},
    },
    "rules": {
        "task": {"on": "task", "award": {"XP": {"field": "score"}, "coins": 5}, "limit": {"times": 3, "per": "day"}}
    },
    "streaks": {"daily": {"on": "task"}},
    "achievements": {
        "two": {
            "title": "Two tags",
            "requirements": [{"metric": "tags", "threshold": 2}],
            "rewards": [{"currency": "coins", "value": 7}],
        }
    },
    "boards": {
        "xp": {"currency": "XP", "periods": ["weekly", "all-time"]},
        "best": {"metric": "best", "ties": "dense"},
    },
}
EVENTS = [
    {"type": "task", "userId": user, "payload": {"score": score, "tag": tag}, "occurredAt": f"2026-03-0{day}T10:00:00Z"}
    for user, score, tag, day in [("ada", 50, "a", 1), ("ada", 30, "b", 2), ("bob", 60, "a", 2), ("ada", 20, "a", 1)]
]


async def test_events_end_in_profiles_boards_and_refusals(any_database: Any) -> None:
    settings = Settings(dsn=any_database.app_dsn, dev=True)
    owner = await asyncpg.connect(any_database.owner_dsn)
    try:
        async with running_api(settings) as api:
            transport = httpx.ASGITransport(app=api)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
                await _play(Instance(settings, http, owner))
    finally:
        await owner.close()


async def _play(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    batch = (await app.post("/v1/events/batch", json={"events": [*EVENTS, EVENTS[0]]})).json()
    assert (batch["accepted"], batch["duplicate"], batch["rejected"]) == (4, 1, 0)
    await questline.drain()
    ada = await app.profile("ada")
    assert {b["currency"]: b["amount"] for b in ada["balances"]} == {"XP": 100, "coins": 22}
    assert [(level["track"], level["xp"], level["level"]) for level in ada["levels"]] == [("XP", 100, 4)]
    assert [(s["streak"], s["longest"]) for s in ada["streaks"]] == [("daily", 2)]
    spend = {"userId": "ada", "currency": "coins", "amount": 20, "idempotencyKey": "s1"}
    assert (await app.post("/v1/currency/spend", json=spend)).status_code == 201
    refused = await app.post("/v1/currency/spend", json={**spend, "idempotencyKey": "s2"})
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient-balance")
    board = (await app.get("/v1/leaderboards?metric=xp&periodKey=all-time")).json()
    assert [(e["rank"], e["userId"], e["score"]) for e in board["entries"]] == [(1, "ada", 100), (2, "bob", 60)]
    history = (await app.get("/v1/users/ada/history")).json()
    assert history["items"]
