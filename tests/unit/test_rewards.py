"""Named rewards: granted within stock and limit, claimed once, expired in time, taken back by policy."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questline.engine.compile import compile_program
from questline.engine.decide import decide
from questline.engine.validate import validate
from questline.model.event import Event
from questline.model.items import ItemState, Lot
from questline.model.records import RecordKind
from questline.model.redemptions import FULFILMENT_TRANSITIONS, FulfilmentState
from questline.model.rewards import TRANSITIONS, GrantState, GrantStatus
from questline.model.state import UserState
from questline.model.stocks import StockState
from questline.testing.scenario import Scenario

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}, "xp": {"kind": "xp", "levels": {"curve": "linear", "base": 100}}},
    "items": {"coffee": {"use": [{"currency": "coins", "value": 1}], "stack": 3}},
    "rewards": {
        "cash": {"type": "currency", "currency": "coins", "value": 50},
        "boost": {"type": "xp", "currency": "xp", "value": 120},
        "sticker": {"type": "item", "items": {"coffee": 2}, "grant": "claim"},
        "founder": {"type": "badge"},
        "spring": {"type": "coupon", "grant": "claim", "expiresAfter": {"duration": 2, "unit": "days"}},
        "swag": {"type": "custom", "data": {"sku": "shirt"}, "stock": 2},
        "welcome": {"type": "currency", "currency": "coins", "value": 5, "grant": "claim", "limit": 1, "stock": 3,
                    "expiresAfter": {"duration": 1, "unit": "hours"}, "clawback": "debt"},
    },
    "rules": {
        name: {"on": name, "rewards": [{"reward": name}]}
        for name in ("cash", "boost", "sticker", "founder", "spring", "swag", "welcome")
    } | {"gift": {"on": "gift", "award": {"coins": {"field": "amount"}}}},
}  # fmt: skip


def grant(number: int, ordinal: int = 0) -> str:
    """The id of the grant that the numbered event of a scenario caused."""
    return f"00000000-0000-0000-0000-{number:012x}-{ordinal}"


def of(number: int, **more: Any) -> dict[str, Any]:
    return {"grant": grant(number), **more}


def effects(scenario: Scenario, *rows: Any) -> list[tuple[str, ...]]:
    """Effects of rows of (time, [user,] type, payload), grants named by the number of their event."""
    names = {grant(n): f"#{n}" for n in range(1, 40)}

    def short(text: str) -> str:
        for long, name in names.items():
            text = text.replace(long, name)
        return text

    return [tuple(short(effect) for effect in played.effects) for played in scenario.play(rows)]


def notices(scenario: Scenario, *rows: Any) -> list[list[str]]:
    return [[notice.type for notice in played.decision.notices] for played in scenario.play(rows)]


def test_an_automatic_reward_is_given_at_once_and_one_to_claim_is_claimed_once() -> None:
    scenario = Scenario(PROGRAM)
    table = [
        ("2026-01-05T08:00Z", "cash", {},                ("coins +50 reward:cash", "grant #1 - → cash CLAIMED")),
        ("2026-01-05T08:01Z", "boost", {},               ("xp +120 reward:boost", "grant #2 - → boost CLAIMED", "level xp 1 → 2")),
        ("2026-01-05T08:02Z", "founder", {},             ("grant #3 - → founder CLAIMED", "badge founder - → 1")),
        ("2026-01-05T08:03Z", "sticker", {},             ("grant #4 - → sticker PENDING",)),
        ("2026-01-05T08:04Z", "$reward_claim", of(4),    ("item coffee - → 2", "grant #4 sticker PENDING → sticker CLAIMED")),
        ("2026-01-05T08:05Z", "$reward_claim", of(4),    ("refused NOT_PENDING",)),
        ("2026-01-05T08:06Z", "$reward_claim", of(1),    ("refused NOT_PENDING",)),
        ("2026-01-05T08:07Z", "$reward_claim", of(9),    ("refused UNKNOWN_REWARD",)),
        ("2026-01-05T08:08Z", "$reward_claim", {},       ("refused UNKNOWN_REWARD",)),
        ("2026-01-05T08:09Z", "sticker", {},             ("grant #10 - → sticker PENDING",)),
        ("2026-01-05T08:10Z", "$reward_claim", of(10),   ("refused INVENTORY_FULL",)),
        ("2026-01-05T08:11Z", "$use", {"item": "coffee"}, ("coins +1 item:coffee:use", "item coffee 2 → 1")),
        ("2026-01-05T08:12Z", "$reward_claim", of(10),   ("item coffee 1 → 3", "grant #10 sticker PENDING → sticker CLAIMED")),
    ]  # fmt: skip
    assert effects(scenario, *(row[:3] for row in table)) == [row[3] for row in table]


def test_a_limit_is_of_one_user_and_a_stock_of_all() -> None:
    scenario = Scenario(PROGRAM)
    table = [
        ("2026-01-05T08:00Z", "ada", "welcome", {},                 ("allowance reward:welcome - → 1", "grant #1 - → welcome PENDING")),
        ("2026-01-05T08:00Z", "ada", "welcome", {},                 ()),
        ("2026-01-05T08:00Z", "bob", "welcome", {},                 ("allowance reward:welcome - → 1", "grant #3 - → welcome PENDING")),
        ("2026-01-05T08:00Z", "cem", "welcome", {},                 ("allowance reward:welcome - → 1", "grant #4 - → welcome PENDING")),
        ("2026-01-05T08:00Z", "dot", "welcome", {},                 ()),
        ("2026-01-05T08:59Z", "bob", "$reward_claim", of(3),        ("coins +5 reward:welcome", "grant #3 welcome PENDING → welcome CLAIMED")),
        ("2026-01-05T09:00Z", "ada", "$reward_claim", of(1),        ("refused NOT_PENDING",)),
        ("2026-01-05T09:00Z", "bob", "$reward_expire", of(3),       ("refused NOT_PENDING",)),
        ("2026-01-05T08:59Z", "ada", "$reward_expire", of(1),       ("refused REQUIREMENT_NOT_MET",)),
        ("2026-01-05T09:00Z", "ada", "$reward_expire", of(1),       ("allowance reward:welcome 1 → 0", "grant #1 welcome PENDING → welcome EXPIRED")),
        ("2026-01-05T09:00Z", "ada", "$reward_expire", of(1),       ("refused NOT_PENDING",)),
        ("2026-01-05T10:00Z", "dot", "welcome", {},                 ("allowance reward:welcome - → 1", "grant #12 - → welcome PENDING")),
        ("2026-01-05T10:00Z", "cem", "$reward_revoke", of(4),       ("refused NOT_PENDING",)),
        ("2026-01-05T10:30Z", "dot", "$reward_revoke", of(12),      ("allowance reward:welcome 1 → 0", "grant #12 welcome PENDING → welcome REVOKED")),
        ("2026-01-05T10:00Z", "bob", "$reward_claim", of(4),        ("refused UNKNOWN_REWARD",)),
    ]  # fmt: skip
    assert effects(scenario, *(row[:4] for row in table)) == [row[4] for row in table]
    assert scenario.stocks["reward:welcome"] == StockState(taken=2)


def test_who_is_left_out_is_told_why_and_nothing_else_stops() -> None:
    scenario = Scenario(PROGRAM)
    at = "2026-01-05T08:00Z"
    played = scenario.play([(at, "swag", {}), (at, "swag", {}), (at, "swag", {}), (at, "spring", {}), (at, "welcome", {}), (at, "welcome", {})])  # fmt: skip
    left_out = [[n.data["reason"] for n in p.decision.notices if n.type == "reward.left_out"] for p in played]
    assert left_out == [[], [], ["OUT_OF_STOCK"], ["OUT_OF_STOCK"], [], ["LIMIT_REACHED"]]
    assert {p.decision.outcome for p in played} == {"processed"}


def test_of_many_grants_at_once_those_that_fit_are_made_and_the_rest_is_told_once() -> None:
    rules = {"r": {"on": "e", "rewards": [{"reward": "swag", "quantity": 1_000_000}]}}
    scenario = Scenario({**PROGRAM, "rules": rules})
    [played] = scenario.play([("2026-01-05T08:00Z", "e", {})])
    assert [record.name for record in played.decision.records] == [grant(1, 0), grant(1, 1)]
    assert played.decision.notices[-1].data == {
        "reward": "swag",
        "left": 999_998,
        "reason": "OUT_OF_STOCK",
        "cause": "rule:r",
    }


def test_a_code_is_held_while_pending_shown_by_the_claim_and_free_again_only_while_unseen() -> None:
    scenario = Scenario(PROGRAM)
    scenario.stocks["pool:spring"] = StockState(added=1)
    rows = [
        ("2026-01-05T08:00Z", "ada", "spring", {}),
        ("2026-01-05T08:00Z", "bob", "spring", {}),
        ("2026-01-07T08:00Z", "ada", "$reward_expire", of(1)),
        ("2026-01-07T08:00Z", "bob", "spring", {}),
        ("2026-01-07T09:00Z", "bob", "$reward_claim", of(4)),
        ("2026-01-07T10:00Z", "bob", "$reward_revoke", of(4)),
        ("2026-01-07T11:00Z", "ada", "spring", {}),
    ]
    played = scenario.play(rows)
    assert [[f"{c.use.value} {c.holder[-3:]}" for c in p.decision.codes] for p in played] == [
        ["draw 1-0"], [], ["return 1-0"], ["draw 4-0"], ["show 4-0"], [], []
    ]  # fmt: skip
    assert scenario.stocks["pool:spring"] == StockState(taken=1, added=1)


@pytest.mark.parametrize(
    ("policy", "revoked", "then"),
    [
        (None,     ("coins -20 reward:cash:revoke", "grant #1 cash CLAIMED → cash REVOKED"), ("coins +100 rule:gift",)),
        ("zero",   ("coins -20 reward:cash:revoke", "grant #1 cash CLAIMED → cash REVOKED"), ("coins +100 rule:gift",)),
        ("debt",   ("coins -20 reward:cash:revoke", "coins debt→issuance 30 reward:cash:revoke", "grant #1 cash CLAIMED → cash REVOKED"),
                   ("coins +100 rule:gift", "coins -30 debt")),
        ("refuse", ("refused INSUFFICIENT_BALANCE",), ("coins +100 rule:gift",)),
        ("steal",  ("refused INVALID_COMMAND",), ("coins +100 rule:gift",)),
    ],
)  # fmt: skip
def test_what_was_spent_is_let_go_owed_or_a_reason_to_refuse(
    policy: str | None, revoked: tuple[str, ...], then: tuple[str, ...]
) -> None:
    scenario = Scenario(PROGRAM)
    done = effects(
        scenario,
        ("2026-01-05T08:00Z", "cash", {}),
        ("2026-01-05T08:01Z", "$spend", {"currency": "coins", "amount": 30}),
        ("2026-01-05T08:02Z", "$reward_revoke", of(1, policy=policy)),
        ("2026-01-05T08:03Z", "gift", {"amount": 100}),
    )
    assert done[2:] == [revoked, then]
    assert scenario.user().debts.get("coins", 0) == 0


def test_a_debt_is_paid_off_by_what_comes_in_and_no_balance_falls_below_zero() -> None:
    scenario = Scenario(PROGRAM)
    rows = [
        ("2026-01-05T08:00Z", "cash", {}),
        ("2026-01-05T08:01Z", "$spend", {"currency": "coins", "amount": 50}),
        ("2026-01-05T08:02Z", "$reward_revoke", of(1, policy="debt")),
        *[(f"2026-01-05T09:0{n}Z", "gift", {"amount": 20}) for n in range(3)],
    ]
    seen = []
    for row in rows:
        scenario.play([row])
        seen.append((scenario.user().balances["coins"], scenario.user().debts.get("coins", 0)))
    assert seen == [(50, 0), (0, 0), (0, 50), (0, 30), (0, 10), (10, 0)]


def test_a_badge_stands_until_the_last_of_its_grants_is_revoked() -> None:
    scenario = Scenario(PROGRAM)
    at = "2026-01-05T08:00Z"
    done = effects(scenario, (at, "founder", {}), (at, "founder", {}), (at, "$reward_revoke", of(1)), (at, "$reward_revoke", of(2)))  # fmt: skip
    assert [[e for e in found if e.startswith("badge")] for found in done] == [
        ["badge founder - → 1"], ["badge founder 1 → 2"], ["badge founder 2 → 1"], ["badge founder 1 → 0"]
    ]  # fmt: skip
    assert notices(Scenario(PROGRAM), (at, "founder", {}), (at, "founder", {}))[1] == [
        "reward.granted",
        "reward.claimed",
    ]


def test_items_are_taken_back_as_far_as_they_are_there() -> None:
    scenario = Scenario(PROGRAM)
    at = "2026-01-05T08:00Z"
    rows = [(at, "sticker", {}), (at, "$reward_claim", of(1)), (at, "$use", {"item": "coffee"})]
    scenario.play(rows)
    refused, done = effects(scenario, (at, "$reward_revoke", of(1, policy="refuse")), (at, "$reward_revoke", of(1)))
    assert (refused, done[0]) == (("refused NOT_OWNED",), "item coffee 1 → 0")


def test_a_grant_outlives_its_definition_and_ends_without_harm_to_what_the_program_no_longer_names() -> None:
    scenario = Scenario(PROGRAM)
    scenario.stocks["pool:spring"] = StockState(added=1)
    at = "2026-01-05T08:00Z"
    scenario.play([(at, "sticker", {}), (at, "$reward_claim", of(1)), (at, "welcome", {}), (at, "spring", {}), (at, "sticker", {})])  # fmt: skip
    bare = {"currencies": PROGRAM["currencies"], "rewards": {"sticker": {"type": "badge"}}}
    scenario.program = compile_program(bare, 2)
    table = [
        (at,                    "$reward_claim", of(3),   ("refused UNKNOWN_REWARD",)),
        (at,                    "$reward_claim", of(5),   ("badge sticker - → 1", "grant #5 sticker PENDING → sticker CLAIMED")),
        ("2026-01-09T08:00Z",   "$reward_expire", of(3),  ("allowance reward:welcome 1 → 0", "grant #3 welcome PENDING → welcome EXPIRED")),
        ("2026-01-09T08:00Z",   "$reward_expire", of(4),  ("grant #4 spring PENDING → spring EXPIRED",)),
    ]  # fmt: skip
    assert effects(scenario, *(row[:3] for row in table)) == [row[3] for row in table]
    assert scenario.stocks == {"reward:welcome": StockState(), "pool:spring": StockState(added=1)}
    event = Event(UUID(int=99), 1, "$reward_revoke", "ada", of(1), datetime(2026, 1, 9, tzinfo=UTC))
    decision = decide(scenario.program, loaded(scenario, event), event)
    assert [change.kind for change in decision.records] == ["grant"]


def test_questlines_own_commands_go_on_where_the_user_is_blocked() -> None:
    scenario = Scenario(PROGRAM)
    scenario.play([("2026-01-05T08:00Z", "welcome", {}), ("2026-01-05T08:00Z", "cash", {})])
    scenario.user().blocked = True
    table = [
        ("2026-01-05T08:30Z", "$reward_claim", of(1),   "refused USER_BLOCKED"),
        ("2026-01-05T09:00Z", "$reward_expire", of(1),  "allowance reward:welcome 1 → 0"),
        ("2026-01-05T09:00Z", "$reward_revoke", of(2),  "coins -50 reward:cash:revoke"),
    ]  # fmt: skip
    assert [found[0] for found in effects(scenario, *(row[:3] for row in table))] == [row[3] for row in table]


def test_every_status_is_reached_and_the_end_states_lead_nowhere() -> None:
    reached = {GrantStatus.PENDING} | {after for afters in TRANSITIONS.values() for after in afters}
    assert (set(TRANSITIONS), reached) == (set(GrantStatus), set(GrantStatus))
    assert [status for status, afters in TRANSITIONS.items() if not afters] == [
        GrantStatus.EXPIRED,
        GrantStatus.REVOKED,
    ]


@pytest.mark.parametrize(
    ("reward", "path", "part"),
    [
        ({"type": "currency", "value": 5}, "rewards.r", "lacks 'currency'"),
        ({"type": "currency", "currency": "coin", "value": 5}, "rewards.r.currency", "did you mean 'coins'?"),
        ({"type": "xp", "currency": "coins", "value": 5}, "rewards.r.currency", "is of kind currency"),
        ({"type": "item"}, "rewards.r", "lacks 'items'"),
        ({"type": "item", "items": {"tea": 1}}, "rewards.r.items.tea", "there is no item 'tea'"),
        ({"type": "badge", "items": {"coffee": 1}}, "rewards.r.items", "has no meaning for a reward of type badge"),
        ({"type": "badge", "expiresAfter": {"duration": 1, "unit": "days"}}, "rewards.r.expiresAfter", "grant: claim"),
        ({"type": "lottery"}, "rewards.r.type", ""),
        ({"type": "badge", "stock": -1}, "rewards.r.stock", ""),
    ],
)  # fmt: skip
def test_an_error_of_a_named_reward_names_its_path(reward: dict[str, Any], path: str, part: str) -> None:
    errors = [
        error for error in validate({**PROGRAM, "rewards": {**PROGRAM["rewards"], "r": reward}}) if error.path == path
    ]
    assert [part in error.message for error in errors[:1]] == [True]


def test_a_rule_that_names_a_reward_which_is_not_there_is_told() -> None:
    rules = {"r": {"on": "e", "rewards": [{"reward": "cahs"}]}}
    [error] = validate({**PROGRAM, "rules": rules})
    assert (error.path, "did you mean 'cash'?" in error.message) == ("rules.r.rewards[0].reward", True)


@pytest.mark.parametrize("table", [TRANSITIONS, FULFILMENT_TRANSITIONS], ids=["grants", "fulfilments"])
def test_the_diagrams_in_the_docs_are_the_tables_of_transitions(table: dict[Any, tuple[Any, ...]]) -> None:
    page = (Path(__file__).parents[2] / "docs/explanation/rewards.md").read_text(encoding="utf-8")
    drawn = [re.findall(r"^    ([A-Z]+) --> (\w+)$", block, re.MULTILINE) for block in page.split("```mermaid")[1:]]
    assert [(before.value, after.value) for before, afters in table.items() for after in afters] in drawn


STORE: dict[str, Any] = {
    **PROGRAM,
    "store": {
        "mug": {"price": {"coins": 30}, "fulfilment": "manual", "stock": 2, "limit": 1},
        "ticket": {"price": {"coins": 10}, "fulfilment": "webhook", "badge": "founder", "level": {"xp": 2}},
        "month": {"price": {"coins": 5}, "fulfilment": "code", "pool": "spring"},
    },
}  # fmt: skip


def redemption(number: int) -> dict[str, Any]:
    return {"fulfilment": grant(number).removesuffix("-0")}


def test_a_redemption_takes_the_price_into_escrow_and_is_fulfilled_or_refunded_once() -> None:
    scenario = Scenario(STORE)
    scenario.user().balances["coins"] = 100
    scenario.user("bob").balances["coins"] = 100
    at = "2026-01-05T08:00Z"
    f1, f3 = redemption(1)["fulfilment"], redemption(3)["fulfilment"]
    table = [
        ("ada", "$redeem", {"item": "mug"},               ("coins -30 store:mug", "allowance store:mug - → 1", f"fulfilment {f1} - → mug PENDING")),
        ("ada", "$redeem", {"item": "mug"},               ("refused LIMIT_REACHED",)),
        ("bob", "$redeem", {"item": "mug"},               ("coins -30 store:mug", "allowance store:mug - → 1", f"fulfilment {f3} - → mug PENDING")),
        ("cem", "$redeem", {"item": "mug"},               ("refused OUT_OF_STOCK",)),
        ("ada", "$fulfilment_fail", redemption(1),        ("coins +30 store:mug:refund", "allowance store:mug 1 → 0", f"fulfilment {f1} mug PENDING → mug FAILED")),
        ("ada", "$fulfilment_fail", redemption(1),        ("refused NOT_PENDING",)),
        ("ada", "$fulfilment_complete", redemption(1),    ("refused NOT_PENDING",)),
        ("bob", "$fulfilment_complete", redemption(3),    ("coins escrow→burn 30 store:mug:fulfilled", f"fulfilment {f3} mug PENDING → mug FULFILLED")),
        ("bob", "$fulfilment_fail", redemption(3),        ("refused NOT_PENDING",)),
        ("bob", "$fulfilment_fail", redemption(1),        ("refused UNKNOWN_REWARD",)),
        ("cem", "$redeem", {"item": "mug"},               ("refused INSUFFICIENT_BALANCE",)),
        ("ada", "$redeem", {"item": "hat"},               ("refused UNKNOWN_ITEM",)),
    ]  # fmt: skip
    played = scenario.play([(at, *row[:3]) for row in table])
    assert [p.effects for p in played] == [row[3] for row in table]
    assert scenario.stocks["store:mug"] == StockState(taken=1)
    assert [n.type for p in played for n in p.decision.notices] == [
        "store.redeemed",
        "store.redeemed",
        "store.failed",
        "store.fulfilled",
    ]


def test_the_store_asks_for_a_badge_and_a_level() -> None:
    scenario = Scenario(STORE)
    scenario.user().balances["coins"] = 20
    at = "2026-01-05T08:00Z"
    rows = [(at, "$redeem", {"item": "ticket"}), (at, "founder", {}), (at, "$redeem", {"item": "ticket"}), (at, "boost", {}), (at, "$redeem", {"item": "ticket"})]  # fmt: skip
    done = effects(scenario, *rows)
    assert [done[n][0] for n in (0, 2, 4)] == [
        "refused REQUIREMENT_NOT_MET", "refused REQUIREMENT_NOT_MET", "coins -10 store:ticket",
    ]  # fmt: skip


def test_a_code_of_the_store_is_told_at_once_and_its_price_is_burnt() -> None:
    scenario = Scenario(STORE)
    scenario.user().balances["coins"] = 10
    scenario.stocks["pool:spring"] = StockState(added=1)
    at = "2026-01-05T08:00Z"
    first, second = scenario.play([(at, "$redeem", {"item": "month"}), (at, "$redeem", {"item": "month"})])
    assert [c.use.value for c in first.decision.codes] == ["draw", "show"]
    assert [(t.debit, t.credit) for t in first.decision.transfers] == [("user", "burn")]
    assert second.effects == ("refused OUT_OF_STOCK",)


@pytest.mark.parametrize(
    ("item", "path", "part"),
    [
        ({"price": {"gold": 5}, "fulfilment": "manual"}, "store.i.price.gold", "there is no currency 'gold'"),
        (
            {"price": {"coins": 5}, "fulfilment": "manual", "badge": "founde"},
            "store.i.badge",
            "did you mean 'founder'?",
        ),
        ({"price": {"coins": 5}, "fulfilment": "manual", "level": {"coins": 2}}, "store.i.level.coins", "with levels"),
        ({"price": {"coins": 5}, "fulfilment": "manual", "pool": "spring"}, "store.i.pool", "no code is drawn"),
        ({"price": {}, "fulfilment": "manual"}, "store.i.price", ""),
        ({"price": {"coins": 5}}, "store.i", "fulfilment"),
    ],
)
def test_an_error_of_the_store_names_its_path(item: dict[str, Any], path: str, part: str) -> None:
    errors = [error for error in validate({**STORE, "store": {"i": item}}) if error.path == path]
    assert [part in error.message for error in errors[:1]] == [True]


def loaded(scenario: Scenario, event: Event) -> UserState:
    """The user's state as the store loads it: what the footprint and the event name, and nothing else."""
    whole, footprint = scenario.user(event.user), scenario.program.footprint(event.type)
    keys = footprint.records | set(scenario.program.record_keys(event, UTC))
    return msgspec.structs.replace(
        whole,
        balances={n: v for n, v in whole.balances.items() if n in footprint.currencies},
        levels={n: v for n, v in whole.levels.items() if n in footprint.currencies},
        debts={n: v for n, v in whole.debts.items() if n in footprint.currencies},
        records={k: v for k, v in whole.records.items() if k in keys},
        stocks={n: v for n, v in whole.stocks.items() if n in footprint.stocks},
    )


moves = st.lists(
    st.tuples(
        st.sampled_from(("ada", "bob")),
        st.sampled_from(("cash", "welcome", "spring", "swag", "sticker", "gift", "$spend", "$redeem", "$reward_claim", "$reward_expire",
                         "$reward_revoke", "$fulfilment_complete", "$fulfilment_fail")),
        st.integers(1, 30), st.integers(0, 3 * 24), st.sampled_from(("zero", "debt", "refuse")),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(moves, st.randoms(use_true_random=False))
def test_whatever_happens_the_books_balance_nothing_is_oversold_and_a_repeat_changes_nothing(
    facts: Any, chance: Any
) -> None:
    scenario = Scenario(STORE)
    scenario.stocks["pool:spring"] = StockState(added=2)
    at = datetime(2026, 1, 5, tzinfo=UTC)
    decisions: list[tuple[str, Any]] = []
    for number, (user, type_, n, hours, policy) in enumerate(facts, 1):
        payload = {"amount": n, "currency": "coins", "policy": policy, **of(n % 12 + 1), **redemption(n % 12 + 1)}
        payload["item"] = ("mug", "month")[n % 2]
        event = Event(UUID(int=number), 1, type_, user, payload, at + timedelta(hours=hours))
        cut = decide(scenario.program, loaded(scenario, event), event)
        decisions.append((user, scenario.apply(event)))
        assert cut == decisions[-1][1]
        if chance.random() < 0.2:
            assert scenario.apply(event) is decisions[-1][1]
    pending = Counter[str]()
    for user, state in scenario.users.items():
        transfers = [
            t for who, decision in decisions if who == user for t in decision.transfers if t.currency == "coins"
        ]
        for account, amount in (("user", state.balances.get("coins", 0)), ("debt", -state.debts.get("coins", 0))):
            inward = sum(t.amount for t in transfers if t.credit == account)
            assert inward - sum(t.amount for t in transfers if t.debit == account) == amount
        assert state.balances.get("coins", 0) >= 0 <= state.debts.get("coins", 0)
        escrow = sum(t.amount * ((t.credit == "escrow") - (t.debit == "escrow")) for t in transfers)
        waiting = [r for r in state.records.values() if isinstance(r, FulfilmentState) and r.status == "PENDING"]
        assert escrow == sum(r.price["coins"] for r in waiting)
        for record in state.records.values():
            kept = isinstance(record, GrantState) and record.status in ("PENDING", "CLAIMED")
            if kept or (isinstance(record, FulfilmentState) and record.status != "FAILED"):
                pending.update(stock for stock in record.holds if not stock.startswith("pool:"))
    bounds = {"reward:swag": 2, "reward:welcome": 3, "store:mug": 2}
    assert {name: scenario.stocks.get(name, StockState()).taken for name in bounds} == {n: pending[n] for n in bounds}
    assert all(scenario.stocks.get(name, StockState()).taken <= bound for name, bound in bounds.items())
    codes = [move for _, decision in decisions for move in decision.codes]
    drawn = Counter(move.use.value for move in codes)
    assert drawn["draw"] - drawn["return"] == scenario.stocks["pool:spring"].taken <= 2
    assert not {m.holder for m in codes if m.use == "show"} & {m.holder for m in codes if m.use == "return"}


causes = st.lists(st.tuples(st.sampled_from(("cash", "boost", "founder", "sticker")), st.integers(0, 72)), max_size=12)


@settings(max_examples=80, deadline=None)
@given(causes, st.randoms(use_true_random=False))
def test_rewards_without_stock_or_limit_are_the_same_in_whatever_order_their_events_come(
    facts: Any, chance: Any
) -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    sequence = [
        Event(UUID(int=number), 1, type_, "ada", {}, at + timedelta(hours=hours))
        for number, (type_, hours) in enumerate(facts, 1)
    ]
    other = sequence + chance.choices(sequence, k=3) if sequence else []
    chance.shuffle(other)
    states = []
    for order in (sequence, other):
        scenario = Scenario(PROGRAM)
        for event in order:
            scenario.apply(event)
        states.append((scenario.user().balances, scenario.user().levels, scenario.user().records))
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("inventory", "held", "fits"),
    [
        ({"cap": 3, "by": "units"}, {},                 False),
        ({"cap": 4, "by": "units"}, {},                 True),
        ({"cap": 4, "by": "units"}, {"c": 1},           False),
        ({"cap": 1, "by": "kinds"}, {},                 False),
        ({"cap": 2, "by": "kinds"}, {},                 True),
        ({"cap": 2, "by": "kinds"}, {"c": 5},           False),
        ({"cap": 2, "by": "kinds"}, {"a": 1, "c": 1},   False),
        ({"cap": 2, "by": "kinds"}, {"a": 1, "b": 1},   True),
    ],
)  # fmt: skip
def test_a_claim_of_several_items_gives_all_of_them_or_is_refused_and_can_be_repeated(
    inventory: dict[str, Any], held: dict[str, int], fits: bool
) -> None:
    scenario = Scenario({
        "currencies": {"coins": {"kind": "currency"}}, "items": {"a": {}, "b": {}, "c": {}}, "inventory": inventory,
        "rewards": {"box": {"type": "item", "items": {"a": 2, "b": 2}, "grant": "claim"}},
        "rules": {"box": {"on": "box", "rewards": [{"reward": "box"}]}},
    })  # fmt: skip
    records, at = scenario.user().records, "2026-01-05T08:00Z"
    records |= {(RecordKind.ITEM, item): ItemState((Lot(units, None),)) for item, units in held.items()}
    found = effects(scenario, (at, "box", {}), (at, "$reward_claim", of(1)))[1]
    had = {item: held.get(item, 0) for item in "ab"}
    given = tuple(f"item {item} {units or '-'} → {units + 2}" for item, units in had.items())
    assert found == ((*given, "grant #1 box PENDING → box CLAIMED") if fits else ("refused INVENTORY_FULL",))
    state = records[RecordKind.GRANT, grant(1)]
    assert isinstance(state, GrantState)
    assert (state.status is GrantStatus.CLAIMED) is fits
