"""Referrals over HTTP: one code a user, one attribution a friend, no ring however many try at once."""

import asyncio
from typing import Any

import pytest
from conftest_api import App, Instance

from questline.engine.metrics import value_hash
from questline.model.hashing import command_key_hash
from questline.model.limits import REFERRAL_CHAIN_MAX

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


async def test_a_refund_without_the_affiliate_is_taken_from_who_earned_the_order(questline: Instance) -> None:
    sales = {**PROGRAM["commissions"]["sales"], "to": "affiliate"}
    app = await questline.app({**PROGRAM, "commissions": {"sales": sales}})
    orders = [{"amount": 500, "orderId": order, "affiliate": "ada"} for order in (1, 2, 3)]
    for order in orders:  # applied before its refund comes
        await app.send("purchase", "bob", order, headers=WAIT)
    await questline.drain()
    await app.send("refund", "bob", {"orderId": 1}, headers=WAIT)
    await app.send("refund", "bob", {"orderId": 2, "affiliate": "cyd"}, headers=WAIT)
    for type_, payload in (("purchase", {**orders[0], "orderId": 4}), ("refund", {"orderId": 4})):  # both in one batch
        await app.send(type_, "bob", payload)
    await app.send("refund", "bob", {"orderId": 5}, headers=WAIT)
    await app.send("purchase", "bob", {**orders[0], "orderId": 5})
    await questline.drain()
    assert await app.balance("ada", "cash") == 50
    assert (await app.get("/v1/users/cyd")).status_code == 404


@pytest.mark.parametrize("blocked", ["ada", "bob"])
async def test_a_refund_takes_the_commission_back_while_the_earner_or_the_buyer_is_blocked(
    questline: Instance, blocked: str
) -> None:
    app = await questline.app(PROGRAM)
    await app.send("signup", "bob", {"referralCode": await code(app, "ada")}, headers=WAIT)
    await app.send("purchase", "bob", {"amount": 500, "orderId": 1}, headers=WAIT)
    await questline.drain()
    await app.post(f"/v1/users/{blocked}/block", json={"reason": "a stolen card"})
    sent = (await app.send("refund", "bob", {"orderId": 1}, headers=WAIT)).json()
    await questline.drain()
    assert await app.balance("ada", "cash") == 0
    event = (await app.get(f"/v1/events/{sent['eventId']}")).json()
    assert (event["status"], event["reason"]) == (
        ("refused", "USER_BLOCKED") if blocked == "bob" else ("processed", "PROCESSED")
    )


async def rows_of(app: App, sql: str) -> list[Any]:
    """What a statement finds; its $1 is the project."""
    project_id = await app.instance.owner.fetchval("SELECT id FROM projects WHERE app_id = $1", app.app_id)
    return await app.instance.owner.fetch(sql, project_id)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_refund_takes_back_what_was_paid_after_the_program_pays_another_currency(
    questline: Instance, kept: bool
) -> None:
    app = await questline.app({**PROGRAM, "rules": {"gift": {"on": "hello", "award": {"coins": 80}}}})
    await app.send("signup", "bob", {"referralCode": await code(app, "ada")}, headers=WAIT)
    await app.send("purchase", "bob", {"amount": 500, "orderId": 1}, headers=WAIT)
    await questline.drain()
    if not kept:  # as rows are that were written before
        await rows_of(app, "UPDATE commissions SET currency = '' WHERE project_id = $1")
    sales = {**PROGRAM["commissions"]["sales"], "currency": "coins"}
    coins = {"currencies": {"coins": {"kind": "currency"}}, "commissions": {"sales": sales}}
    assert (await app.put("/v1/program", json={**PROGRAM, **coins})).status_code == 200
    await app.send("refund", "bob", {"orderId": "1"}, headers=WAIT)
    await questline.drain()
    held = "SELECT currency, amount, debt FROM balances b JOIN users u ON u.id = b.user_id AND u.external_id = 'ada'"
    found = {row[0]: (row[1], row[2]) for row in await rows_of(app, f"{held} WHERE b.project_id = $1")}
    assert found == ({"coins": (130, 0), "cash": (0, 0)} if kept else {"coins": (80, 0), "cash": (50, 0)})


async def test_an_order_that_was_stored_as_a_number_is_reversed_by_its_text_and_pays_no_more(
    questline: Instance,
) -> None:
    app = await questline.app(PROGRAM)
    await app.send("signup", "bob", {"referralCode": await code(app, "ada")}, headers=WAIT)
    await app.send("purchase", "bob", {"amount": 500, "orderId": 77}, headers=WAIT)
    await questline.drain()
    text, number = (f"sales:{value_hash(order).hex()}" for order in ("77", 77))
    renamed = (
        f"UPDATE commissions SET commission = '{number}' WHERE project_id = $1 AND commission = '{text}' RETURNING 1"
    )
    assert len(await rows_of(app, renamed)) == 1  # as it was named before
    await rows_of(app, f"DELETE FROM dedupe_keys WHERE project_id = $1 AND key_hash = '\\x{command_key_hash('$commission', text).hex()}'")  # fmt: skip
    await app.send("purchase", "bob", {"amount": 500, "orderId": "77"}, headers=WAIT)
    await questline.drain()
    assert await app.balance("ada", "cash") == 50
    await app.send("refund", "bob", {"orderId": "77"}, headers=WAIT)
    await questline.drain()
    assert await app.balance("ada", "cash") == 0


async def test_a_refund_finds_its_commission_after_the_keys_of_events_were_pruned(questline: Instance) -> None:
    sales = {**PROGRAM["commissions"]["sales"], "to": "affiliate"}
    app = await questline.app({**PROGRAM, "commissions": {"sales": sales}})
    await app.send("purchase", "bob", {"amount": 500, "orderId": 1, "affiliate": "ada"}, headers=WAIT)
    await questline.drain()
    await questline.owner.execute(
        "DELETE FROM dedupe_keys WHERE project_id = (SELECT id FROM projects WHERE app_id = $1)", app.app_id
    )
    await app.send("refund", "bob", {"orderId": 1}, headers=WAIT)
    await questline.drain()
    assert await app.balance("ada", "cash") == 0


PAID: dict[str, Any] = PROGRAM | {
    "referrals": PROGRAM["referrals"] | {"qualify": {"on": "lesson"}},
    "commissions": {"sales": PROGRAM["commissions"]["sales"] | {"on": "sale"}},
}
FORGED = [
    ("lesson", {}),
    ("sale", {"amount": 900, "orderId": 9}),
    ("refund", {"orderId": 1}),
    ("refund", {"orderId": 2}),
]


async def paid_to_the_referrer(app: App, events: list[tuple[str, dict[str, Any]]]) -> list[int]:
    """What ada has, after a server sent events of the friend whom she brought."""
    for type_, payload in events:
        await app.send(type_, "bob", payload)
    await app.instance.drain()
    return [await app.balance("ada", currency) for currency in ("coins", "cash")]


async def test_a_page_cannot_send_what_pays_a_referrer_nor_what_takes_it_back(questline: Instance) -> None:
    app = await questline.app(PAID)
    page = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    await app.send("signup", "bob", {"referralCode": await code(app, "ada")}, headers=WAIT)
    assert await paid_to_the_referrer(app, [("sale", {"amount": 500, "orderId": 1})]) == [0, 50]
    answers = [await app.send(type_, "bob", payload, headers={"X-API-Key": page}) for type_, payload in FORGED]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(403, "untrusted-event-type")] * len(FORGED)
    listed = (await app.get("/v1/event-types")).json()["items"]
    assert {"sale": True}.items() <= {row["type"]: row["trusted"] for row in listed}.items()
    events = [("sale", {"amount": 300, "orderId": 2}), ("lesson", {}), ("refund", {"orderId": 1})]
    assert await paid_to_the_referrer(app, events) == [50, 30]


async def test_what_a_page_sent_before_it_paid_anybody_is_refused_when_it_is_applied(questline: Instance) -> None:
    app = await questline.app(PROGRAM | {"commissions": {}})
    page = (await app.post("/v1/keys", json={"type": "publishable"})).json()["key"]
    await app.send("signup", "bob", {"referralCode": await code(app, "ada")}, headers=WAIT)
    sent = [await app.send(type_, "bob", payload, headers={"X-API-Key": page}) for type_, payload in FORGED]
    assert (await app.put("/v1/program", json=PAID)).status_code == 200
    await questline.drain()
    found = [(await app.get(f"/v1/events/{answer.json()['eventId']}")).json() for answer in sent]
    assert [(e["status"], e["reason"]) for e in found] == [("refused", "UNTRUSTED_EVENT_TYPE")] * len(FORGED)
    assert await paid_to_the_referrer(app, [("sale", {"amount": 300, "orderId": 2})]) == [50, 30]


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


async def chain(questline: Instance, app: App, length: int) -> tuple[str, str]:
    """Make users of whom each was brought by the next; return the last one, and the first one's code."""
    users = [f"u{n}" for n in range(length)]
    await questline.owner.execute(
        "INSERT INTO users (project_id, external_id)"
        " SELECT p.id, u FROM projects p, unnest($2::text[]) AS u WHERE p.app_id = $1",
        app.app_id,
        users,
    )
    await questline.owner.execute(
        "INSERT INTO referrals (project_id, user_id, referrer_id, at, status)"
        " SELECT p.id, f.id, r.id, now(), 'QUALIFIED' FROM projects p, unnest($2::text[], $3::text[]) AS pair (friend, referrer)"
        " JOIN users f ON f.external_id = friend JOIN users r ON r.external_id = referrer AND r.project_id = f.project_id"
        " WHERE p.app_id = $1 AND f.project_id = p.id",
        app.app_id,
        users[:-1],
        users[1:],
    )
    return users[-1], await code(app, users[0])


@pytest.mark.parametrize(
    ("length", "why"),
    [(25, "ring"), (REFERRAL_CHAIN_MAX, "ring"), (REFERRAL_CHAIN_MAX + 25, "chain-too-long")],
)
async def test_nobody_is_brought_by_whom_they_brought_through_however_many(
    questline: Instance, length: int, why: str
) -> None:
    app = await questline.app(PROGRAM)
    last, first_code = await chain(questline, app, length)
    await app.send("signup", last, {"referralCode": first_code}, headers=WAIT)
    rejected = await questline.owner.fetch(
        "SELECT data->>'why' FROM notices n JOIN projects p ON p.id = n.project_id"
        " WHERE p.app_id = $1 AND type = 'referral.rejected'",
        app.app_id,
    )
    assert [row[0] for row in rejected] == [why]
    assert (await app.get(f"/v1/users/{last}/referrals")).json()["referrer"] is None


async def test_a_long_chain_goes_on_as_long_as_its_end_is_seen(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    _, first_code = await chain(questline, app, REFERRAL_CHAIN_MAX)
    await app.send("signup", "newcomer", {"referralCode": first_code}, headers=WAIT)
    assert (await app.get("/v1/users/newcomer/referrals")).json()["referrer"] == "u0"
