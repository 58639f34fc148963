"""Rewards over HTTP: races for one grant and for a stock, codes drawn once, sweeps, clawbacks."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from conftest_api import App, Instance, until
from test_processing import ledger_agrees

from questline.assembly import now
from questline.model.event import REWARD_EXPIRE
from questline.processing.expiries import Expiries
from questline.store.ids import EventIds

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}, "gems": {"kind": "currency"}},
    "rewards": {
        "cash": {"type": "currency", "currency": "coins", "value": 50, "clawback": "debt"},
        "welcome": {"type": "currency", "currency": "coins", "value": 5, "grant": "claim"},
        "brief": {"type": "currency", "currency": "coins", "value": 5, "grant": "claim", "stock": 5,
                  "expiresAfter": {"duration": 1, "unit": "minutes"}},
        "rare": {"type": "badge", "title": "Rare", "stock": 10},
        "spring": {"type": "coupon"},
        "autumn": {"type": "coupon", "grant": "claim", "expiresAfter": {"duration": 1, "unit": "minutes"}},
    },
    "rules": {name: {"on": name, "rewards": [{"reward": name}]} for name in ("cash", "welcome", "brief", "rare", "spring", "autumn")}
    | {"gift": {"on": "gift", "award": {"coins": {"field": "amount"}}}},
}  # fmt: skip
WAIT = {"Prefer": "wait=5"}


async def granted(app: App, user: str, type_: str, **more: Any) -> str:
    """Cause one grant and return its id."""
    answer = (await app.send(type_, user, headers=WAIT, **more)).json()
    [record] = [r for r in answer["outcome"]["records"] if r["kind"] == "grant"]
    return str(record["name"])


async def grants(app: App, user: str, status: str = "") -> list[dict[str, Any]]:
    answer = await app.get(f"/v1/users/{user}/rewards" + (f"?status={status}" if status else ""))
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_of_64_claims_at_once_one_gets_it(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    grant = await granted(app, "ada", "welcome")
    answers = await asyncio.gather(*(app.post(f"/v1/rewards/{grant}/claim", json={"userId": "ada"}) for _ in range(64)))
    assert Counter(a.status_code for a in answers) == {200: 1, 409: 63}
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"not-pending"}
    assert await app.balance("ada", "coins") == 5
    [one] = await grants(app, "ada", "claimed")
    assert (one["grant"], one["given"]) == (grant, [{"kind": "currency", "name": "coins", "units": 5}])
    assert await ledger_agrees(questline)


async def test_a_claim_repeated_under_its_key_gets_the_first_answer_and_somebody_elses_grant_is_not_there(
    questline: Instance,
) -> None:
    app = await questline.app(PROGRAM)
    grant = await granted(app, "ada", "welcome")
    stolen = await app.post(f"/v1/rewards/{grant}/claim", json={"userId": "bob"})
    assert (stolen.status_code, stolen.json()["code"]) == (404, "unknown-reward")
    first, again = [
        (await app.post(f"/v1/rewards/{grant}/claim", json={"userId": "ada", "idempotencyKey": "k"})).json()
        for _ in "12"
    ]
    assert again == {**first, "duplicate": True}
    assert [e["type"] for e in (await app.get("/v1/users/ada/notices")).json()["items"]].count("reward.claimed") == 1


async def test_a_stock_of_ten_gives_ten_to_two_workers_and_commands_at_once(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    items = [{"type": "rare", "userId": f"u{n}", "eventId": str(n)} for n in range(200)]
    async with questline.worker(), questline.worker():
        queued = app.post("/v1/events/batch", json=items)
        waited = [app.send("rare", f"w{n}", headers=WAIT) for n in range(64)]
        await asyncio.gather(queued, *waited)
        await until(questline._is_drained)
    count = "SELECT count(*) FROM badges b JOIN projects p ON p.id = b.project_id WHERE p.app_id = $1"
    assert await questline.owner.fetchval(count, app.app_id) == 10
    left_out = "SELECT count(*) FROM notices n JOIN projects p ON p.id = n.project_id WHERE p.app_id = $1 AND type = 'reward.left_out'"
    assert await questline.owner.fetchval(left_out, app.app_id) == 254
    failed = await questline.owner.fetchval("SELECT count(*) FROM dead_letters")
    assert failed == 0


async def test_codes_are_drawn_once_each_and_told_again_to_who_repeats(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    codes = [f"C{n:03}" for n in range(20)]
    first = await app.post("/v1/coupons/spring", json=codes[:15])
    lines = "\n".join(f'"{code}"' for code in codes[10:])
    second = await app.post("/v1/coupons/spring", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert (first.json()["new"], second.json()) == (
        15, {"pool": "spring", "codes": 10, "new": 5, "total": 20, "left": 20},
    )  # fmt: skip
    async with questline.worker(), questline.worker():
        sent = [app.send("spring", f"u{n}", eventId=str(n), headers=WAIT if n % 2 else {}) for n in range(64)]
        answers = await asyncio.gather(*sent)
        await until(questline._is_drained)
    repeated = await asyncio.gather(*(app.send("spring", f"u{n}", eventId=str(n), headers=WAIT) for n in range(64)))
    shown = {n: a.json()["outcome"]["codes"] for n, a in enumerate(repeated) if "codes" in a.json()["outcome"]}
    assert sorted(code["code"] for told in shown.values() for code in told) == codes
    for n, answer in enumerate(answers):
        if n % 2 and "codes" in answer.json()["outcome"]:
            assert answer.json()["outcome"]["codes"] == shown[n]
    user = f"u{next(iter(shown))}"
    assert [g["code"] for g in await grants(app, user)] == [shown[next(iter(shown))][0]["code"]]
    assert (await app.get("/v1/coupons/spring")).json() == {"pool": "spring", "total": 20, "drawn": 20, "left": 0}


async def test_a_pending_code_is_told_by_the_claim_alone(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.post("/v1/coupons/autumn", json=["ONLY"])
    grant = await granted(app, "ada", "autumn")
    assert [g["code"] for g in await grants(app, "ada", "pending")] == [None]
    claimed = (await app.post(f"/v1/rewards/{grant}/claim", json={"userId": "ada"})).json()
    assert claimed["outcome"]["codes"] == [{"pool": "autumn", "holder": grant, "code": "ONLY"}]


async def test_what_nobody_claimed_is_expired_on_read_and_swept_once_by_two_sweepers(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await app.post("/v1/coupons/autumn", json=["A", "B"])
    past = "2026-01-05T08:00:00Z"
    for user in ("ada", "bob", "cem"):
        await granted(app, user, "brief", occurredAt=past)
    for user in ("ada", "bob"):
        await granted(app, user, "autumn", occurredAt=past)
    assert {g["status"] for g in await grants(app, "ada", "expired")} == {"EXPIRED"}
    assert (await grants(app, "ada", "pending"), (await app.profile("ada"))["rewards"]) == ([], [])
    late = (await grants(app, "ada"))[0]["grant"]
    refused = await app.post(f"/v1/rewards/{late}/claim", json={"userId": "ada"})
    assert refused.json()["code"] == "not-pending"
    sweeps = [Expiries(questline.settings.dsn, now, EventIds().new) for _ in range(2)]
    found = await asyncio.gather(*(sweep.run_once() for sweep in sweeps))
    assert (sum(found), await sweeps[0].run_once()) == (5, 0)
    await questline.drain()
    events = (await app.get(f"/v1/events?type={REWARD_EXPIRE}")).json()["items"]
    assert Counter(event["status"] for event in events) == {"processed": 5}
    taken = "SELECT sum(taken) FROM stocks s JOIN projects p ON p.id = s.project_id WHERE p.app_id = $1"
    assert await questline.owner.fetchval(taken, app.app_id) == 0
    again = await granted(app, "dot", "autumn")
    claimed = (await app.post(f"/v1/rewards/{again}/claim", json={"userId": "dot"})).json()
    assert claimed["outcome"]["codes"][0]["code"] == "A"


async def test_a_revoked_reward_is_owed_and_paid_off_by_what_comes_in(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    grant = await granted(app, "ada", "cash")
    await app.post("/v1/currency/spend", json={"userId": "ada", "currency": "coins", "amount": 30})
    refused = await app.post(f"/v1/rewards/{grant}/revoke", json={"policy": "refuse"})
    assert refused.json()["code"] == "insufficient-balance"
    revoked = await app.post(f"/v1/rewards/{grant}/revoke", json={"reason": "fraud"}, headers={"Idempotency-Key": "r"})
    assert revoked.status_code == 200, revoked.text
    moved = [(t["debit"], t["credit"], t["amount"]) for t in revoked.json()["outcome"]["transfers"]]
    assert moved == [("user", "issuance", 20), ("debt", "issuance", 30)]
    again = await app.post(f"/v1/rewards/{grant}/revoke", json={"reason": "fraud"}, headers={"Idempotency-Key": "r"})
    assert again.json() == {**revoked.json(), "duplicate": True}
    owed = {b["currency"]: (b["amount"], b["debt"]) for b in (await app.profile("ada"))["balances"]}
    assert owed["coins"] == (0, 30)
    await app.send("gift", "ada", {"amount": 100}, headers=WAIT)
    owed = {b["currency"]: (b["amount"], b["debt"]) for b in (await app.profile("ada"))["balances"]}
    assert owed["coins"] == (70, 0)
    assert (await app.post(f"/v1/rewards/{grant}/revoke", json={})).json()["code"] == "not-pending"
    assert (await app.post("/v1/rewards/none/revoke", json={})).status_code == 404
    assert await ledger_agrees(questline)


async def test_the_profile_and_the_history_show_badges_and_grants(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await granted(app, "ada", "rare")
    waiting = await granted(app, "ada", "welcome")
    profile = await app.profile("ada")
    assert [(b["badge"], b["title"]) for b in profile["badges"]] == [("rare", "Rare")]
    assert [(g["grant"], g["cause"], g["type"]) for g in profile["rewards"]] == [(waiting, "rule:welcome", "currency")]
    newest, oldest = (await app.get("/v1/users/ada/history")).json()["items"]
    assert [(c["kind"], c["cause"]) for c in newest["changes"]] == [("grant", "rule:welcome")]
    assert [c["kind"] for c in oldest["changes"]] == ["grant", "badge"]


async def test_grants_come_in_pages(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    made = [await granted(app, "ada", "welcome") for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await app.get(f"/v1/users/ada/rewards?limit=2{cursor}")).json()
        seen += [item["grant"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("content", "status"),
    [("[]", 422), ('["a", 7]', 422), ('[""]', 422), ('"a"\n{', 400), ("nope", 400), ('["\\u0000"]', 422)],
)
async def test_an_upload_of_what_are_no_codes_is_refused_whole(questline: Instance, content: str, status: int) -> None:
    app = await questline.app(PROGRAM)
    answer = await app.post("/v1/coupons/spring", content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, (await app.get("/v1/coupons/spring")).status_code) == (status, 404)
