"""A NUL character, which PostgreSQL's texts cannot hold: applied where it stays in its event, and else refused cleanly."""

from typing import Any

import pytest
from conftest_api import Instance

NUL = "a\0b"
WAIT = {"Prefer": "wait=10"}
WEEK = {"duration": 7, "unit": "days"}
PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}, "cash": {"kind": "currency"}},
    "metrics": {"pages": {"on": "view", "distinct": "page"}, "last": {"on": "view", "last": "page"}},
    "rules": {
        "buy": {"on": "purchase", "award": {"coins": 10}, "multiply": [{"field": "tier", "map": {"gold": 2}}]},
        "matched": {"on": "view", "when": {"field": "page", "op": "matches", "value": "^a"}, "award": {"coins": 1}},
    },
    "referrals": {
        "on": "signup", "friend": [{"currency": "coins", "value": 5}], "referrer": [{"currency": "coins", "value": 5}],
    },
    "commissions": {
        "sales": {
            "on": "purchase", "refundOn": "refund", "currency": "cash", "to": "affiliate",
            "plans": [{"name": "all", "basisPoints": 500}],
        },
    },
    "achievements": {"told": {"title": "Told", "requirements": [{"progress": "told", "threshold": 9}]}},
    "guards": {
        "spread": {"kind": "spread", "on": "login", "field": "device", "users": 9, "window": WEEK},
        "same": {"kind": "duplicate", "on": "login", "fields": ["device"], "window": WEEK},
    },
    "eventTypes": {"form": {"schema": {"properties": {"n": {"type": "integer"}}}}},
    "items": {"coffee": {"price": {"coins": 1}}},
    "quests": {"q": {"title": "Q", "steps": [{"id": "s", "manual": True}]}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("type_", "payload", "status", "reason"),
    [
        ("view", {"page": NUL}, "processed", "PROCESSED"),
        ("view", {NUL: {"x": [NUL]}}, "processed", "PROCESSED"),
        ("login", {"device": NUL}, "processed", "PROCESSED"),
        ("signup", {"referralCode": NUL}, "processed", "PROCESSED"),
        ("purchase", {"orderId": NUL, "amount": 1000, "affiliate": "joe", "tier": NUL}, "processed", "PROCESSED"),
        ("purchase", {"orderId": "o", "amount": 1000, "affiliate": "jo\0e"}, "processed", "PROCESSED"),
        ("refund", {"orderId": NUL}, "processed", "PROCESSED"),
        ("form", {"n": NUL}, "failed", "SCHEMA_VIOLATION"),
        ("form", {NUL: 1, "n": "x"}, "failed", "SCHEMA_VIOLATION"),
    ],
)
async def test_events_hold_it_and_what_follows_from_them_does_not(
    questline: Instance, type_: str, payload: dict[str, Any], status: str, reason: str
) -> None:
    app = await questline.app(PROGRAM)
    answer = (await app.send(type_, "ada", payload, headers=WAIT)).json()
    assert (answer["status"], answer["reason"]) == (status, reason), answer


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/events", {"type": "$profile_update", "payload": {"attributes": {"x": {NUL: 1}}}}, 422),
        ("/v1/identify", {"traits": {"displayName": NUL}}, 422),
        ("/v1/currency/spend", {"currency": "coins", "amount": 1, "reason": NUL}, 201),
        ("/v1/currency/spend", {"currency": NUL, "amount": 1}, 422),
        ("/v1/items/a%00b/buy", {}, 404),
        ("/v1/items/a%00b/use", {}, 404),
        ("/v1/store/a%00b/redeem", {}, 404),
        ("/v1/rewards/a%00b/claim", {}, 404),
        ("/v1/achievements/a%00b/progress", {"value": 1}, 404),
        ("/v1/quests/a%00b/start", {}, 404),
        ("/v1/quests/q/steps/a%00b/complete", {}, 404),
        ("/v1/quests/a%00b/complete", {}, 404),
    ],
)
async def test_commands_and_profiles_with_it_are_answered_for_what_they_are(
    questline: Instance, path: str, body: dict[str, Any], status: int
) -> None:
    app = await questline.app(PROGRAM)
    await app.send("purchase", "ada", {"orderId": 1, "amount": 1}, headers=WAIT)
    answer = await app.post(path, json={"userId": "ada", **body})
    assert answer.status_code == status, answer.text


async def test_profiles_with_it_that_were_accepted_before_are_refused_and_hold_nobody_up(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    ids = [(await app.send("$profile_update", f"u{n}", {"displayName": "a#b"})).json()["eventId"] for n in range(3)]
    async with questline.owner.transaction():
        await questline.owner.execute(
            "SET LOCAL session_replication_role = replica"
        )  # no trigger holds events as they are
        changed = "UPDATE events SET payload = replace(payload::text, '#', '\\u0000')::json WHERE id = ANY($1)"
        await questline.owner.execute(changed, ids[:2])
    await questline.drain()
    found = [(await app.get(f"/v1/events/{id_}")).json() for id_ in ids]
    assert [(e["status"], e["reason"]) for e in found] == [("refused", "INVALID_COMMAND")] * 2 + [
        ("processed", "PROCESSED")
    ]
    assert (await app.get("/v1/admin/dlq")).json()["items"] == []
