"""Referrals over HTTP: one code a user, one attribution a friend, no ring however many try at once."""

import asyncio
from typing import Any

from conftest_api import App, Instance

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}, "cash": {"kind": "currency"}},
    "referrals": {
        "on": "signup", "friend": [{"currency": "coins", "value": 10}], "referrer": [{"currency": "coins", "value": 50}],
    },
    "commissions": {
        "sales": {"on": "purchase", "currency": "cash", "refundOn": "refund", "plans": [{"name": "all", "basisPoints": 1000}]}
    },
}  # fmt: skip
WAIT = {"Prefer": "wait=10"}


async def code(app: App, user: str) -> str:
    await app.send("hello", user, headers=WAIT)
    answers = await asyncio.gather(*(app.post(f"/v1/users/{user}/referral-code") for _ in range(8)))
    assert len({answer.text for answer in answers}) == 1
    return str(answers[0].json()["code"])


async def test_a_friend_and_their_orders_pay_the_referrer_once(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    ada = await code(app, "ada")
    await asyncio.gather(*(app.send("signup", "bob", {"referralCode": ada.lower(), "n": n}) for n in range(20)))
    for order in (1, 2):
        await asyncio.gather(
            *(app.send("purchase", "bob", {"amount": 500, "orderId": order, "n": n}) for n in range(5))
        )
    await questline.drain()
    await app.send("refund", "bob", {"orderId": 2})
    await questline.drain()
    found = (await app.get("/v1/users/ada/referrals")).json()
    assert [(f["userId"], f["status"]) for f in found["items"]] == [("bob", "QUALIFIED")]
    assert (found["code"], found["brought"], found["qualified"], found["referrer"]) == (ada, 1, 1, None)
    assert (await app.get("/v1/users/bob/referrals")).json()["referrer"] == "ada"
    amounts = [await app.balance(user, currency) for user in ("ada", "bob") for currency in ("coins", "cash")]
    assert amounts == [50, 50, 10, 0]
    history = (await app.get("/v1/users/ada/history")).json()["items"]
    assert {item["type"] for item in history} == {"hello", "$referral_qualified", "$commission", "$commission_reversal"}


async def test_users_who_name_each_other_at_once_make_no_ring(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    users = [f"u{n}" for n in range(6)]
    codes = [await code(app, user) for user in users]
    await asyncio.gather(
        *(app.send("signup", user, {"referralCode": codes[(n + 1) % 6]}, headers=WAIT) for n, user in enumerate(users))
    )
    brought = [(await app.get(f"/v1/users/{user}/referrals")).json()["referrer"] for user in users]
    assert len([referrer for referrer in brought if referrer is None]) == 1


async def test_a_trace_names_no_other_user(questline: Instance) -> None:
    """The customer's user ids live in users and events only, so that a person can be erased."""
    app = await questline.app(PROGRAM)
    ada = await code(app, "ada-the-first")
    await app.send("signup", "bob", {"referralCode": ada}, headers=WAIT)
    traces = await questline.owner.fetchval(
        "SELECT string_agg(trace::text, '') FROM decisions WHERE trace::text LIKE '%referral%'"
    )
    assert "referral" in traces
    assert "ada-the-first" not in traces
