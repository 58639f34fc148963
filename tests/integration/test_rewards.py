"""Rewards over HTTP: races for one grant and for a stock, codes drawn once, sweeps, clawbacks."""

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import httpx
import pytest
from conftest_api import App, Instance, until
from ledger import misbooked

from questline.assembly import now, running_api
from questline.model.event import REWARD_EXPIRE
from questline.processing import expiries, room
from questline.processing.expiries import Expiries
from questline.settings import Settings
from questline.store.ids import EventIds
from questline.store.statements import statements

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
    assert await misbooked(questline.owner) == []


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
    assert await questline.owner.fetchval("SELECT count(*) FROM dead_letters") == 0
    assert (await app.get("/v1/stocks")).json()["items"] == [
        {"stock": "reward:brief", "bound": 5, "taken": 0, "left": 5},
        {"stock": "reward:rare", "bound": 10, "taken": 10, "left": 0},
    ]


async def test_stocks_taken_in_opposite_orders_make_nobody_wait_in_a_circle(questline: Instance) -> None:
    names = ["a", "b", "c", "d"]
    rewards = {name: {"type": "badge", "stock": 100} for name in names}
    rules = {
        f"{one}{two}": {"on": f"{one}{two}", "rewards": [{"reward": one}, {"reward": two}]}
        for one in names
        for two in names
        if one != two
    }
    app = await questline.app({"rewards": rewards, "rules": rules})
    kinds = list(rules)
    items = [{"type": kinds[n % len(kinds)], "userId": f"u{n}", "eventId": str(n)} for n in range(600)]
    async with questline.worker(), questline.worker():
        for batch in range(0, 600, 100):
            queued = app.post("/v1/events/batch", json=items[batch : batch + 100])
            waited = [app.send(kinds[-n % len(kinds)], f"w{n}", headers=WAIT) for n in range(batch, batch + 16)]
            await asyncio.gather(queued, *waited)
        await until(questline._is_drained)
    assert {s["left"] for s in (await app.get("/v1/stocks")).json()["items"]} == {0}
    given = "SELECT badge, count(*) FROM badges b JOIN projects p ON p.id = b.project_id WHERE p.app_id = $1 GROUP BY 1"
    assert {row[0]: row[1] for row in await questline.owner.fetch(given, app.app_id)} == dict.fromkeys(names, 100)
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await questline.owner.fetchval(deadlocks) == 0


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


async def test_expiries_leave_room_in_the_queue_and_those_of_other_projects_do_not_wait(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Expiries(questline.settings.dsn, now, EventIds().new)
    await service.run_once()
    await questline.drain()
    loud, quiet = await questline.app(PROGRAM), await questline.app(PROGRAM)
    for n in range(5):
        await granted(loud, f"u{n}", "brief", occurredAt="2026-01-05T08:00:00Z")
    await granted(quiet, "ada", "brief", occurredAt="2026-01-05T09:00:00Z")
    monkeypatch.setattr(room, "RESULTS_WAITING_MAX", 3)
    monkeypatch.setattr(expiries, "EXPIRIES_AT_ONCE", 2)
    sent = []
    for _ in range(3):
        sent.append(await service.run_once())
        await questline.drain()
    assert sent == [4 + 1, 1, 0]


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
    assert await misbooked(questline.owner) == []


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


STORE: dict[str, Any] = {
    **PROGRAM,
    "store": {
        "mug": {"title": "Mug", "price": {"coins": 10}, "fulfilment": "manual", "stock": 10},
        "ticket": {"price": {"coins": 10, "gems": 1}, "fulfilment": "webhook", "badge": "rare"},
        "month": {"price": {"coins": 5}, "fulfilment": "code", "pool": "spring"},
    },
}


async def rich(app: App, *users: str, amount: int = 100) -> None:
    await asyncio.gather(*(app.send("gift", user, {"amount": amount}, headers=WAIT) for user in users))


async def escrow(questline: Instance, app: App) -> int:
    total = """SELECT coalesce(sum(amount * ((credit = 'escrow')::int - (debit = 'escrow')::int)), 0)
               FROM transfers t JOIN projects p ON p.id = t.project_id WHERE p.app_id = $1"""
    return int(await questline.owner.fetchval(total, app.app_id))


async def test_of_64_redeems_at_once_ten_get_one_of_a_stock_of_ten(questline: Instance, database: Any) -> None:
    app = await questline.app(STORE)
    users = [f"u{n}" for n in range(64)]
    await rich(app, *users)
    other_settings = Settings(dsn=database.app_dsn, dev=True)
    async with running_api(other_settings) as second:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=second), base_url="http://t", timeout=60
        ) as http:
            headers = {"X-API-Key": app.key}
            answers = await asyncio.gather(
                *(
                    app.post("/v1/store/mug/redeem", json={"userId": user})
                    if n % 2
                    else http.post("/v1/store/mug/redeem", json={"userId": user}, headers=headers)
                    for n, user in enumerate(users)
                )
            )
    assert Counter(a.status_code for a in answers) == {200: 10, 409: 54}
    assert {a.json()["code"] for a in answers if a.status_code == 409} == {"out-of-stock"}
    balances = Counter([await app.balance(user, "coins") for user in users])
    assert (balances, await escrow(questline, app)) == ({90: 10, 100: 54}, 100)
    assert await misbooked(questline.owner) == []


async def test_a_failed_fulfilment_refunds_once_and_the_unit_can_be_redeemed_again(questline: Instance) -> None:
    app = await questline.app({**STORE, "store": {"mug": {**STORE["store"]["mug"], "stock": 1}}})
    await rich(app, "ada", "bob")
    redeemed = (await app.post("/v1/store/mug/redeem", json={"userId": "ada"})).json()
    gone = await app.post("/v1/store/mug/redeem", json={"userId": "bob"})
    [one] = (await app.get("/v1/fulfilments?status=pending")).json()["items"]
    assert (one["fulfilment"], one["userId"], one["title"], one["price"]) == (
        redeemed["eventId"], "ada", "Mug", {"coins": 10},
    )  # fmt: skip
    path = f"/v1/fulfilments/{one['fulfilment']}"
    failed = await asyncio.gather(*(app.post(f"{path}/fail", json={"note": "broken"}) for _ in range(16)))
    completed = await app.post(f"{path}/complete", json={})
    assert Counter(a.status_code for a in failed) == {200: 1, 409: 15}
    assert (gone.json()["code"], completed.json()["code"]) == ("out-of-stock", "not-pending")
    assert (await app.balance("ada", "coins"), await escrow(questline, app)) == (100, 0)
    [ended] = (await app.get("/v1/fulfilments?userId=ada&status=failed")).json()["items"]
    assert (ended["note"], ended["settledAt"] is not None) == ("broken", True)
    again = await app.post("/v1/store/mug/redeem", json={"userId": "bob"})
    done = await app.post(f"/v1/fulfilments/{again.json()['eventId']}/complete", json={"note": "sent"})
    moved = [(t["debit"], t["credit"], t["amount"]) for t in done.json()["outcome"]["transfers"]]
    assert (done.status_code, moved, await escrow(questline, app)) == (200, [("escrow", "burn", 10)], 0)
    types = [n["type"] for n in (await app.get("/v1/users/ada/notices")).json()["items"]]
    assert types == ["store.failed", "store.redeemed"]
    assert await misbooked(questline.owner) == []


async def test_a_store_code_is_told_once_to_each_and_again_under_the_same_key(questline: Instance) -> None:
    app = await questline.app(STORE)
    await app.post("/v1/coupons/spring", json=[f"M{n}" for n in range(5)])
    users = [f"u{n}" for n in range(16)]
    await rich(app, *users)
    path = "/v1/store/month/redeem"
    keyed = [{"userId": user, "idempotencyKey": user} for user in users]
    answers = await asyncio.gather(*(app.post(path, json=body) for body in keyed))
    repeats = await asyncio.gather(*(app.post(path, json=body) for body in keyed))
    told = [a.json()["outcome"]["codes"] for a in answers if a.status_code == 200]
    assert sorted(code["code"] for codes in told for code in codes) == [f"M{n}" for n in range(5)]
    assert [a.json()["outcome"]["codes"] for a in repeats if a.status_code == 200] == told
    assert [a.status_code for a in repeats] == [a.status_code for a in answers]
    [first] = (await app.get(f"/v1/fulfilments?userId={users[[a.status_code for a in answers].index(200)]}")).json()[
        "items"
    ]
    assert (first["status"], first["code"]) == ("FULFILLED", told[0][0]["code"])


async def test_the_store_asks_for_a_badge_and_takes_several_currencies_together(questline: Instance) -> None:
    app = await questline.app(STORE)
    await rich(app, "ada")
    refused = await app.post("/v1/store/ticket/redeem", json={"userId": "ada"})
    await granted(app, "ada", "rare")
    poor = await app.post("/v1/store/ticket/redeem", json={"userId": "ada"})
    unknown = await app.post("/v1/store/none/redeem", json={"userId": "ada"})
    assert [a.json()["code"] for a in (refused, poor, unknown)] == [
        "requirement-not-met", "insufficient-balance", "unknown-item",
    ]  # fmt: skip
    assert await app.balance("ada", "coins") == 100


@pytest.mark.parametrize(
    "statement", ["stocks.lock", "stocks.move", "coupons.draw", "records.put_grants", "effects.add_notices"]
)
async def test_a_crash_after_any_statement_converges_to_one_grant_with_one_code(
    questline: Instance, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    app = await questline.app(PROGRAM)
    await app.post("/v1/coupons/spring", json=["A", "B", "C"])
    aggregate, name = statement.split(".")
    crashed = asyncio.Event()
    words = max((line for line in statements(aggregate)[name].splitlines() if "$" not in line), key=len)
    execute = asyncpg.Connection._execute

    async def crashing(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        result = await execute(self, query, *arguments, **more)
        if words in query and not crashed.is_set():
            crashed.set()
            self.terminate()  # the process is gone right after the statement
            raise ConnectionError("crashed")
        return result

    monkeypatch.setattr(asyncpg.Connection, "_execute", crashing)
    await app.post("/v1/events/batch", json=[{"type": "spring", "userId": "ada", "eventId": str(n)} for n in range(2)])
    await questline.drain()
    assert crashed.is_set()
    assert sorted(str(g["code"]) for g in await grants(app, "ada")) == ["A", "B"]
    assert (await app.get("/v1/coupons/spring")).json()["left"] == 1


@pytest.mark.parametrize(
    ("policy", "moved", "left"),
    [
        ("debt",   [("user", "issuance", 20), ("debt", "issuance", 30)], (0, 30)),
        ("zero",   [("user", "issuance", 20)],                           (0, 0)),
        ("refuse", None,                                                 (20, 0)),
    ],
)  # fmt: skip
async def test_a_currency_that_the_program_has_no_more_is_taken_back_as_well(
    questline: Instance, policy: str, moved: list[tuple[str, str, int]] | None, left: tuple[int, int]
) -> None:
    gold = {"rewards": {"gold": {"type": "currency", "currency": "gold", "value": 50}},
            "rules": {"gold": {"on": "gold", "rewards": [{"reward": "gold"}]}}}  # fmt: skip
    app = await questline.app({"currencies": {"gold": {"kind": "currency"}, "coins": {"kind": "currency"}}, **gold})
    grant = await granted(app, "ada", "gold")
    await app.post("/v1/currency/spend", json={"userId": "ada", "currency": "gold", "amount": 30})
    assert (await app.put("/v1/program", json={"currencies": {"coins": {"kind": "currency"}}})).status_code == 200
    answer = await app.post(f"/v1/rewards/{grant}/revoke", json={"policy": policy})
    if moved is None:
        assert answer.json()["code"] == "insufficient-balance"
    else:
        assert [(t["debit"], t["credit"], t["amount"]) for t in answer.json()["outcome"]["transfers"]] == moved
    row = await questline.owner.fetchrow(
        "SELECT amount, debt FROM balances b JOIN projects p ON p.id = b.project_id WHERE p.app_id = $1 AND currency = 'gold'",
        app.app_id,
    )
    assert tuple(row) == left
    assert await misbooked(questline.owner) == []


async def test_a_refund_in_a_currency_that_the_program_has_no_more_tells_the_whole_balance(
    questline: Instance,
) -> None:
    app = await questline.app(STORE)
    await rich(app, "ada", amount=60)
    redeemed = (await app.post("/v1/store/mug/redeem", json={"userId": "ada"})).json()["eventId"]
    assert (await app.put("/v1/program", json={"currencies": {"gems": {"kind": "currency"}}})).status_code == 200
    failed = (await app.post(f"/v1/fulfilments/{redeemed}/fail", json={"note": "none left"})).json()
    held = await questline.owner.fetchval(
        "SELECT amount FROM balances b JOIN projects p ON p.id = b.project_id WHERE p.app_id = $1 AND currency = 'coins'",
        app.app_id,
    )
    assert (failed["outcome"]["balances"], held) == ({"coins": 60}, 60)
