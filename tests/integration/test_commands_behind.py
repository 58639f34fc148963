"""Commands of users of whom more events wait than one transaction takes: right, or not stored."""

import asyncio
from typing import Any

import pytest
from conftest_api import PROGRAM, App, Instance

from questline.model.limits import DRAIN_BYTES_MAX, DRAIN_EVENTS_MAX
from questline.processing import catch_up
from questline.store import effects

MANY = DRAIN_EVENTS_MAX + 500
LARGE = 200_000  # bytes of a payload, of which few fit into one transaction
WAIT = {"Prefer": "wait=10"}
PATIENCE_SECONDS = 120.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands wait for what is behind however busy the machine is."""
    monkeypatch.setattr(catch_up, "CATCH_UP_SECONDS", PATIENCE_SECONDS)


async def give(app: App, user: str, times: int, amount: int, **more: Any) -> None:
    """Send gifts that nobody applies yet."""
    items = [{"type": "gift", "userId": user, "payload": {"amount": amount, "n": n, **more}} for n in range(times)]
    at_once = 20 if more else 1_000
    for start in range(0, times, at_once):
        answer = await app.post("/v1/events/batch", json=items[start : start + at_once])
        assert answer.json()["accepted"] == len(items[start : start + at_once]), answer.text


async def spend(app: App, user: str, amount: int, key: str) -> tuple[int, Any]:
    """The status of a spend, and what is left or the problem's code."""
    body = {"userId": user, "currency": "coins", "amount": amount}
    answer = await app.post("/v1/currency/spend", json=body, headers={"Idempotency-Key": key})
    return answer.status_code, answer.json().get("balance", answer.json().get("code"))


@pytest.mark.parametrize(
    ("times", "size"),
    [
        pytest.param(DRAIN_EVENTS_MAX, 0, id="as many as fit"),
        pytest.param(DRAIN_EVENTS_MAX + 1, 0, id="one more"),
        pytest.param(3 * DRAIN_EVENTS_MAX + 7, 0, id="several times as many"),
        pytest.param(2 * DRAIN_BYTES_MAX // LARGE, LARGE, id="twice as many bytes"),
    ],
)
async def test_a_spend_sees_all_that_was_acknowledged_before_however_much_that_is(
    questline: Instance, times: int, size: int
) -> None:
    app = await questline.app(PROGRAM)
    await give(app, "ada", times, 10, **({"note": "x" * size} if size else {}))
    assert await spend(app, "ada", 10 * times, "all of it") == (201, 0)
    assert await spend(app, "ada", 1, "nothing is left") == (409, "insufficient-balance")


async def test_a_waited_event_does_not_overtake_its_users_earlier_ones(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    await give(app, "ada", MANY, 10)
    answer = await app.send("gift", "ada", {"amount": 1}, headers=WAIT)
    assert (answer.status_code, answer.json()["outcome"]["balances"]) == (200, {"coins": 10 * MANY + 1})


async def test_a_hot_neighbour_takes_nothing_of_what_the_others_commands_see(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    for n in range(40):
        await give(app, f"u{n}", 1, 100)
    await give(app, "hot", MANY, 10)
    for n in range(40, 80):
        await give(app, f"u{n}", 1, 100)
    hot = [spend(app, "hot", 10 * MANY // 5, f"hot {n}") for n in range(5)]
    others = [spend(app, f"u{n}", 1, f"other {n}") for n in range(80)]
    answers = await asyncio.gather(*hot, *others)
    assert sorted(answers[:5], reverse=True) == [(201, 10 * MANY // 5 * left) for left in (4, 3, 2, 1, 0)]
    assert answers[5:] == [(201, 99)] * 80


async def test_many_users_who_do_not_fit_beside_each_other_are_each_answered_rightly(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    each = DRAIN_EVENTS_MAX // 10
    for n in range(30):
        await give(app, f"u{n}", each, 1)
    answers = await asyncio.gather(*(spend(app, f"u{n}", each, f"all {n}") for n in range(30)))
    assert answers == [(201, 0)] * 30


async def test_a_command_that_is_not_caught_up_with_in_time_is_not_stored_and_right_when_repeated(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM)
    await give(app, "ada", MANY, 10)
    monkeypatch.setattr(catch_up, "CATCH_UP_SECONDS", 0.0)
    body = {"userId": "ada", "currency": "coins", "amount": 10 * MANY}
    turned = await app.post("/v1/currency/spend", json=body, headers={"Idempotency-Key": "k"})
    assert (turned.status_code, turned.json()["code"], turned.headers["retry-after"]) == (503, "user-behind", "1")
    stored = (
        "SELECT count(*) FROM events WHERE project_id = (SELECT id FROM projects WHERE app_id = $1) AND type = '$spend'"
    )
    assert await questline.owner.fetchval(stored, app.app_id) == 0
    queued = await app.send("gift", "ada", {"amount": 5}, headers=WAIT)
    assert (queued.status_code, queued.json()["status"]) == (202, "accepted")
    monkeypatch.setattr(catch_up, "CATCH_UP_SECONDS", PATIENCE_SECONDS)
    await questline.drain()
    assert await spend(app, "ada", 10 * MANY, "k") == (201, 5)


async def test_a_repeated_command_is_answered_as_the_first_time_whatever_waits_by_now(questline: Instance) -> None:
    app = await questline.app(PROGRAM)
    assert await spend(app, "ada", 5, "k") == (409, "insufficient-balance")
    await give(app, "ada", MANY, 10)
    assert await spend(app, "ada", 5, "k") == (409, "insufficient-balance")


async def test_an_event_at_fault_among_those_before_turns_its_own_users_commands_away_and_no_others(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = await questline.app(PROGRAM)
    for user in ("ada", "bob"):
        await give(app, user, MANY, 10)
    trace_of = effects.trace_of

    def broken(decision: Any, user: Any) -> str:
        return "no json" if user.user == "ada" else trace_of(decision, user)

    monkeypatch.setattr(effects, "trace_of", broken)
    answers = await asyncio.gather(*(spend(app, user, 10 * MANY, user) for user in ("ada", "bob")))
    assert answers == [(503, "user-behind"), (201, 0)]
    monkeypatch.setattr(effects, "trace_of", trace_of)
    await questline.drain()
    assert await spend(app, "ada", 10 * MANY, "ada") == (201, 0)
