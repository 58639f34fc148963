"""Every mechanic in one program: a crash between any two statements, and books that balance after any run."""

import asyncio
import itertools
import json
import random
import re
from typing import Any

import asyncpg
import pytest
from conftest_api import App, Instance
from ledger import misbooked

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_CRASHES = 5  # in one run, one after another
DAYS = [f"2026-02-{day:02d}T12:00:00Z" for day in range(1, 9)]

WHOLE: dict[str, Any] = {
    "currencies": {
        "XP": {"kind": "xp", "levels": {"curve": "linear", "base": 50, "rewards": {"3": {"rewards": [{"item": "potion"}]}}}},
        "coins": {"kind": "currency"},
        # Grows with a level, so it is paid for what a user does alone: what others send comes in between in any order.
        "sparks": {"kind": "currency", "gains": {"level": "XP", "perLevel": 0.1, "max": 2}},
        "cash": {"kind": "currency"},
    },
    "metrics": {
        "tasks": {"on": "task", "count": True},
        "kinds": {"on": "task", "distinct": "kind"},
        "brought": {"on": "$referral_qualified", "count": True},
    },
    "segments": {"busy": {"when": {"field": "metric.tasks", "op": "gte", "value": 2}}},
    "boosts": {"busy": {"by": 2, "currencies": ["coins"], "segment": "busy"}, "potion": {"by": 3, "lasts": {"duration": 1, "unit": "hours"}}},
    "boosting": {"stack": "add"},
    "rules": {
        "task": {"on": "task", "award": {"XP": 30, "coins": 5}, "rewards": [{"vital": "energy", "value": 30}], "limit": {"times": 5, "per": "day"}},
        "visit": {"on": "check_in", "award": {"coins": 10, "sparks": 10}},
    },
    "vitals": {"energy": {"start": 50, "atTop": {"rewards": [{"currency": "XP", "value": 7}], "then": 10}}},
    "inventory": {"cap": 9},
    "items": {"potion": {"price": {"coins": 3}, "use": [{"boost": "potion"}, {"vital": "energy", "value": 15}]}},
    "streaks": {"daily": {"on": ["task", "check_in"], "freezes": {"max": 1, "earnEvery": 3}, "milestones": {"3": {"award": {"coins": 9}}}},
                "training": {"on": "task", "every": "week", "days": 2, "personal": True, "milestones": {"1": {"award": {"coins": 3}}}}},
    "achievements": {
        "three": {"title": "Three", "requirements": [{"metric": "tasks", "threshold": 3}], "rewards": [{"item": "potion"}, {"currency": "coins", "value": 4}]},
        "rush": {"title": "Rush", "requirements": [{"metric": "tasks", "threshold": 2, "timeframe": {"duration": 2, "unit": "days"}}]},
    },
    "tiers": {"club": {"earned": "XP", "steps": [{"name": "a", "at": 0}, {"name": "b", "at": 60, "rewards": [{"currency": "coins", "value": 11}]}]}},
    "referrals": {"on": "signup", "qualify": {"on": "purchase"}, "friend": [{"currency": "coins", "value": 6}], "referrer": [{"currency": "coins", "value": 8}]},
    "commissions": {"sales": {"on": "purchase", "currency": "cash", "refundOn": "refund", "plans": [{"name": "all", "basisPoints": 1000}]}},
    "guards": {"twice": {"kind": "duplicate", "on": "task", "fields": ["receipt"], "window": {"duration": 90, "unit": "days"}, "score": 5}},
    "rewards": {
        "shirt": {"type": "custom", "data": {"sku": "m"}, "stock": 1, "limit": 1},
        "founder": {"type": "badge"},
        "later": {"type": "currency", "currency": "coins", "value": 5, "grant": "claim"},
    },
    "quests": {
        "first": {
            "title": "First",
            "steps": [
                {"id": "tasks", "on": "task", "count": 2, "rewards": [{"currency": "coins", "value": 2}]},
                {"id": "run", "requirements": [{"streak": "daily", "threshold": 3}]},
            ],
            "rewards": [{"reward": "shirt"}, {"reward": "founder"}, {"reward": "later"}, {"currency": "coins", "value": 21}],
        },
        "second": {
            "title": "Second",
            "prerequisites": [{"quest": "first"}],
            "steps": [{"id": "more", "requirements": [{"metric": "tasks", "threshold": 1, "since": "start"}]}],
            "rewards": [{"reward": "shirt"}],
        },
    },
    "boards": {"xp": {"currency": "XP", "periods": ["daily", "all-time"]}, "tasks": {"metric": "tasks"}},
    "seasons": {"winter": {"start": "2026-01-01", "end": "2099-01-01", "boards": {"season-xp": {"currency": "XP"}}}},
    "leagues": {"weekly": {"currency": "XP", "tiers": [{"title": "One"}], "cohorts": {"size": 5}, "promote": 1, "demote": 1}},
}  # fmt: skip


def story(code: str) -> list[dict[str, Any]]:
    """Events of two users that touch every mechanic."""
    events: list[tuple[str, str, str, dict[str, Any]]] = [("bob", "signup", DAYS[0], {"referralCode": code})]
    for n, at in enumerate(DAYS[:4]):
        events.append(("ada", "check_in", at, {}))
        events.append(("ada", "task", at, {"kind": f"k{n % 2}", "receipt": f"r{n % 3}"}))
    events += [("bob", "purchase", DAYS[1], {"amount": 500, "orderId": n}) for n in (1, 2)]
    events += [("bob", "refund", DAYS[2], {"orderId": 2}), ("bob", "task", DAYS[2], {"kind": "k9"})]
    return [
        {"type": type_, "userId": user, "occurredAt": at, "payload": payload, "eventId": f"{user}-{n}"}
        for n, (user, type_, at, payload) in enumerate(events)
    ]


async def begin(questline: Instance) -> tuple[App, list[dict[str, Any]]]:
    app = await questline.app(WHOLE)
    await app.send("hello", "ada", headers={"Prefer": "wait=10"})
    code = (await app.post("/v1/users/ada/referral-code")).json()["code"]
    return app, story(code)


async def standing(app: App) -> dict[str, Any]:
    """All that two users have and were told, without ids, times of receipt and what differs from project to project."""
    found: dict[str, Any] = {}
    for user in ("ada", "bob"):
        profile = json.loads(_ID.sub("id", json.dumps(await app.profile(user))))
        profile["user"].pop("createdAt")
        notices = (await app.get(f"/v1/users/{user}/notices?limit=200")).json()["items"]
        told = sorted(
            (n["type"], n["at"], _ID.sub("id", str(sorted(n["data"].items()))))
            for n in notices
            if "code" not in n["data"]
        )
        found[user] = (profile, told, (await app.get(f"/v1/inventory?userId={user}")).json())
    board = (await app.get("/v1/leaderboards?metric=XP&periodKey=all-time")).json()
    found["board"] = [(entry["userId"], entry["score"]) for entry in board["entries"]]
    return found


async def test_a_crash_after_any_statement_of_any_mechanic_converges_to_one_effect(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = asyncpg.Connection._execute
    ran: list[str] = []
    crash_at: list[int] = []

    async def crashing(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        result = await execute(self, query, *arguments, **more)
        if self.is_in_transaction() and not query.lstrip().upper().startswith(
            ("BEGIN", "COMMIT", "ROLLBACK", "SET", "SELECT SET_CONFIG")
        ):
            ran.append(query)
            if crash_at and len(ran) == crash_at[0]:
                crash_at.pop(0)
                ran.clear()
                self.terminate()  # the process is gone right after the statement
                raise ConnectionError("crashed")
        return result

    async def play(*at: int) -> dict[str, Any]:
        """Crash behind statement at[0], when that is repeated behind statement at[1], and so on."""
        app, events = await begin(questline)
        await app.post("/v1/events/batch", json=events)
        monkeypatch.setattr(asyncpg.Connection, "_execute", crashing)
        ran.clear()
        crash_at[:] = at
        await questline.drain()
        monkeypatch.setattr(asyncpg.Connection, "_execute", execute)
        assert not at or len(crash_at) < len(at), "the run was over before a crash"  # what is done is not done again
        return await standing(app)

    calm = await play()
    statements = len(ran)
    assert statements > 15
    for at in range(1, statements + 1, _CRASHES):
        crashes = range(at, min(at + _CRASHES, statements + 1))
        assert differences(calm, await play(*crashes)) == [], f"after crashes behind statements {list(crashes)}"
    assert await misbooked(questline.owner) == []


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """What differs between two standings, each with its path."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [d for key in {*one, *other} for d in differences(one.get(key), other.get(key), f"{path}.{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [d for n, pair in enumerate(zip(one, other, strict=True)) for d in differences(*pair, f"{path}[{n}]")]
    if isinstance(one, list) and isinstance(other, list):
        return [f"{path}: lacks {x!r}" for x in one if x not in other] + [
            f"{path}: has {x!r} beside" for x in other if x not in one
        ]
    return [] if one == other else [f"{path}: {one!r} is not {other!r}"]


@pytest.mark.parametrize("seed", range(3))
async def test_the_books_balance_per_currency_after_any_run(questline: Instance, seed: int) -> None:
    """Events and commands of a few users in a random order, many at once, with two workers beside them."""
    chance = random.Random(seed)
    app, _ = await begin(questline)
    users = ["ada", *(f"u{n}" for n in range(6))]
    code = (await app.get("/v1/users/ada/referrals")).json()["code"]
    number = itertools.count()

    def call() -> Any:
        user = chance.choice(users)
        kind = chance.choice(["task", "task", "check_in", "signup", "purchase", "refund", "buy", "use", "spend"])
        if kind in ("buy", "use"):
            return app.post(f"/v1/items/potion/{kind}", json={"userId": user})
        if kind == "spend":
            return app.post(
                "/v1/currency/spend", json={"userId": user, "currency": "coins", "amount": chance.randint(1, 20)}
            )
        payload = {"kind": str(chance.randint(1, 4)), "receipt": str(chance.randint(1, 40)), "referralCode": code,
                   "orderId": chance.randint(1, 30), "amount": chance.randint(1, 5_000)}  # fmt: skip
        headers = {"Prefer": "wait=10"} if chance.random() < 0.3 else {}
        return app.send(
            kind, user, payload, occurredAt=chance.choice(DAYS), eventId=f"e{next(number)}", headers=headers
        )

    async with questline.worker(), questline.worker():
        for _ in range(12):
            answers = await asyncio.gather(*(call() for _ in range(25)))
            assert [a.text for a in answers if a.status_code >= 500] == []
    await questline.drain()
    assert await misbooked(questline.owner) == []
    boards = await questline.owner.fetchval(
        """SELECT count(*) FROM (
            SELECT t.project_id, t.user_id, sum(t.amount) AS earned FROM transfers t
            WHERE t.currency = 'XP' AND t.credit = 'user' GROUP BY 1, 2) l
        JOIN board_periods p ON p.project_id = l.project_id AND p.board = 'xp' AND p.period = 'all-time'
        JOIN board_entries e ON e.project_id = l.project_id AND e.board_period = p.id AND e.user_id = l.user_id
        WHERE -e.lead <> l.earned"""
    )
    assert boards == 0
