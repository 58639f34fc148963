"""Referrals and commissions: attributed once, counted once, paid once, taken back once."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from questline.control.referrals import LETTERS, new_code
from questline.engine.compile import compile_program
from questline.engine.metrics import value_hash
from questline.engine.order import order_dependent
from questline.engine.validate import validate
from questline.model.event import Event
from questline.model.limits import REFERRAL_CODE_CHARS
from questline.model.program import parse
from questline.model.records import RecordKind
from questline.model.referrals import CommissionState
from questline.testing.scenario import Scenario

NOON = datetime(2026, 1, 6, 12, tzinfo=UTC)
CURRENCIES = {"coins": {"kind": "currency"}, "cash": {"kind": "currency"}}
REFERRALS: dict[str, Any] = {
    "on": "signup",
    "qualify": {"on": "purchase", "when": {"field": "amount", "op": "gte", "value": 100}, "within": {"duration": 30, "unit": "days"}},
    "friend": [{"currency": "coins", "value": 10}],
    "referrer": [{"currency": "coins", "value": 50}],
}  # fmt: skip
PLANS = [
    {"name": "starter", "basisPoints": 500},
    {"name": "pro", "basisPoints": 1_000, "when": {"field": "metric.brought", "op": "gte", "value": 2}},
]
PROGRAM: dict[str, Any] = {
    "currencies": CURRENCIES,
    "metrics": {"brought": {"on": "$referral_qualified", "count": True}},
    "referrals": REFERRALS,
    "commissions": {"sales": {"on": "purchase", "currency": "cash", "plans": PLANS, "refundOn": "refund"}},
}


def story(program: dict[str, Any] = PROGRAM) -> Scenario:
    scenario = Scenario(program)
    scenario.codes = {"ADA22222": "ada", "BOB33333": "bob", "CYD44444": "cyd"}
    for user in ("ada", "bob", "cyd", "dan"):
        scenario.user(user)
    return scenario


def notices(scenario: Scenario, *rows: Any) -> list[list[tuple[str, str]]]:
    return [[(n.type, str(n.data.get("why", ""))) for n in played.decision.notices] for played in scenario.play(rows)]


def purse(scenario: Scenario, currency: str) -> dict[str, int]:
    return {user: state.balances[currency] for user, state in scenario.users.items() if currency in state.balances}


def test_a_friend_is_attributed_once_and_both_are_rewarded_when_it_counts() -> None:
    scenario = story()
    table = [
        ("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ada-222 22"},  [("referral.attributed", "")]),
        ("2026-01-05T12:01Z", "bob", "signup", {"referralCode": "CYD44444"},    []),
        ("2026-01-06T12:00Z", "bob", "purchase", {"amount": 99, "orderId": 1},  []),
        ("2026-01-07T12:00Z", "bob", "purchase", {"amount": 100, "orderId": 2}, [("referral.qualified", "")]),
        ("2026-01-08T12:00Z", "bob", "purchase", {"amount": 100, "orderId": 3}, []),
    ]  # fmt: skip
    assert notices(scenario, *(row[:4] for row in table)) == [row[4] for row in table]
    assert purse(scenario, "coins") == {"bob": 10, "ada": 50}


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("ada", "ADA22222")], "self-referral"),
        ([("ada", "NOBODY22")], "unknown-code"),
        ([("bob", "ADA22222"), ("ada", "BOB33333")], "ring"),
        ([("bob", "ADA22222"), ("cyd", "BOB33333"), ("ada", "CYD44444")], "ring"),
    ],
)
def test_oneself_rings_and_unknown_codes_are_caught(rows: list[tuple[str, str]], why: str) -> None:
    scenario = story()
    found = notices(scenario, *[("2026-01-05T12:00Z", user, "signup", {"referralCode": code}) for user, code in rows])
    assert found[-1] == [("referral.rejected", why)]
    assert scenario.sent == []


@pytest.mark.parametrize(("day", "counts"), [("2026-02-04T12:00Z", True), ("2026-02-04T12:01Z", False), ("2026-01-04T12:00Z", False)])  # fmt: skip
def test_what_comes_outside_the_window_does_not_count(day: str, counts: bool) -> None:
    scenario = story()
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    scenario.play([(day, "bob", "purchase", {"amount": 500})])
    assert ("coins" in scenario.user("ada").balances) is counts


def test_without_qualify_a_referral_counts_at_once() -> None:
    scenario = story({"currencies": CURRENCIES, "referrals": {k: v for k, v in REFERRALS.items() if k != "qualify"}})
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    assert purse(scenario, "coins") == {"bob": 10, "ada": 50}


def sell(scenario: Scenario, *rows: tuple[str, Any]) -> None:
    for type_, payload in rows:
        scenario.play([("2026-01-06T12:00Z", "bob", type_, payload)])


def test_an_order_pays_its_commission_once_and_a_refund_takes_it_back_once() -> None:
    scenario = story()
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    order = {"amount": 1_999, "orderId": "A:1"}
    sell(scenario, ("purchase", order), ("purchase", order), ("purchase", {**order, "amount": 5}))
    assert purse(scenario, "cash") == {"ada": 99}  # 5 % of 19.99, rounded down
    sell(scenario, ("refund", {"orderId": "A:1"}), ("refund", {"orderId": "A:1"}), ("purchase", order))
    assert purse(scenario, "cash") == {"ada": 0}


def test_a_refund_that_comes_first_lets_the_order_pay_nothing() -> None:
    scenario = story()
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    sell(scenario, ("refund", {"orderId": 1}), ("purchase", {"amount": 1_000, "orderId": 1}))
    assert purse(scenario, "cash") == {}


def test_the_plan_goes_by_what_the_earner_has_reached() -> None:
    scenario = story()
    for user in ("bob", "cyd"):
        scenario.play([("2026-01-05T12:00Z", user, "signup", {"referralCode": "ADA22222"})])
        scenario.play([("2026-01-06T12:00Z", user, "purchase", {"amount": 1_000, "orderId": user})])
    plans = [t.rule for e in scenario.sent for t in scenario.apply(e).transfers if t.currency == "cash"]
    assert plans == ["commission:sales:starter", "commission:sales:pro"]
    assert purse(scenario, "cash") == {"ada": 150}


def test_what_was_spent_before_a_refund_becomes_debt() -> None:
    scenario = story()
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    sell(scenario, ("purchase", {"amount": 2_000, "orderId": 1}))
    scenario.play([("2026-01-06T12:00Z", "ada", "$spend", {"currency": "cash", "amount": 70})])
    sell(scenario, ("refund", {"orderId": 1}))
    moved = [(t.debit, t.credit, t.amount) for t in scenario.apply(scenario.sent[-1]).transfers]
    assert moved == [("user", "commission", 30), ("debt", "commission", 70)]
    assert purse(scenario, "cash") == {"ada": 0}


def test_a_commission_may_go_to_whom_the_event_names() -> None:
    commission = {"on": "purchase", "currency": "cash", "to": "affiliate", "plans": PLANS[:1], "amount": "total"}
    scenario = story({"currencies": CURRENCIES, "commissions": {"a": commission}})
    sell(scenario, ("purchase", {"total": 1_000, "orderId": 1, "affiliate": "dan"}),
         ("purchase", {"total": 1_000, "orderId": 2, "affiliate": "bob"}))  # fmt: skip
    assert purse(scenario, "cash") == {"dan": 50}


def paid_order(scenario: Scenario) -> None:
    """Ada brought bob, whose order of 20.00 paid her 1.00."""
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    sell(scenario, ("purchase", {"amount": 2_000, "orderId": "A1"}))
    assert purse(scenario, "cash") == {"ada": 100}


@pytest.mark.parametrize("blocked", ["ada", "bob"])
def test_a_refund_takes_the_commission_back_while_the_earner_or_the_buyer_is_blocked(blocked: str) -> None:
    scenario = story()
    paid_order(scenario)
    scenario.play([("2026-01-06T13:00Z", blocked, "$block", {"reason": "a stolen card"})])
    sell(scenario, ("refund", {"orderId": "A1"}))
    assert purse(scenario, "cash") == {"ada": 0}


def test_a_refund_of_a_blocked_buyer_takes_commissions_back_and_does_nothing_else() -> None:
    rules = {"sorry": {"on": "refund", "award": {"coins": 5}}}
    metrics = {**PROGRAM["metrics"], "refunds": {"on": "refund", "count": True}}
    guards = {"often": {"kind": "rate", "on": "refund", "times": 1, "window": {"duration": 1, "unit": "hours"}, "action": "refuse"}}  # fmt: skip
    scenario = story({**PROGRAM, "rules": rules, "metrics": metrics, "guards": guards})
    paid_order(scenario)
    scenario.play([("2026-01-06T13:00Z", "bob", "$block", {"reason": "a stolen card"})])
    refund = scenario.play([("2026-01-06T14:00Z", "bob", "refund", {"orderId": "A1"})])[0].decision
    assert (refund.outcome.value, refund.reason.value) == ("refused", "USER_BLOCKED")
    assert refund.message == "the user is blocked; the commissions of the order are taken back all the same"
    assert ([f.type for f in refund.follow_ups], refund.transfers, refund.metrics) == (["$commission_reversal"], (), ())
    assert {record.kind.value for record in refund.records} == {"commission"}


def test_a_refund_of_a_blocked_buyer_that_comes_before_its_order_lets_it_pay_nothing() -> None:
    scenario = story()
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    scenario.play([("2026-01-06T12:00Z", "bob", "$block", {"reason": "a stolen card"})])
    sell(scenario, ("refund", {"orderId": "A1"}))
    scenario.play([("2026-01-06T12:00Z", "bob", "$unblock", {"reason": "was none"})])
    sell(scenario, ("purchase", {"amount": 2_000, "orderId": "A1"}))
    assert purse(scenario, "cash") == {}


def test_a_refund_takes_back_the_currency_that_was_paid_whatever_is_paid_today() -> None:
    scenario = story()
    paid_order(scenario)
    scenario.user("ada").balances["coins"] = 50
    sales = {**PROGRAM["commissions"]["sales"], "currency": "coins"}
    scenario.program = compile_program({**PROGRAM, "commissions": {"sales": sales}}, 2)
    sell(scenario, ("refund", {"orderId": "A1"}))
    ada = scenario.user("ada")
    assert (ada.balances, ada.debts) == ({"cash": 0, "coins": 50}, {})


def test_what_was_paid_before_the_currency_was_kept_is_taken_back_in_todays() -> None:
    scenario = story()
    paid_order(scenario)
    records = scenario.user("ada").records
    ((key, state),) = [(key, state) for key, state in records.items() if isinstance(state, CommissionState)]
    records[key] = msgspec.structs.replace(state, currency="")
    sell(scenario, ("refund", {"orderId": "A1"}))
    assert purse(scenario, "cash") == {"ada": 0}


FORMS = [(77, "77"), ("77", 77), (-3, "-3"), (7.5, "7.5"), (True, "true"), (10**20, str(10**20))]


@pytest.mark.parametrize(("sold", "refunded"), FORMS)
def test_an_order_is_the_same_as_a_number_and_as_text(sold: Any, refunded: Any) -> None:
    sale, same_sale, refund = (
        ("purchase", {"amount": 2_000, "orderId": sold}),
        ("purchase", {"amount": 2_000, "orderId": refunded}),
        ("refund", {"orderId": refunded}),
    )
    for rows, left in (((sale, same_sale), {"ada": 100}), ((sale, refund), {"ada": 0}), ((refund, sale), {})):
        scenario = story()
        scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
        sell(scenario, *rows)
        assert purse(scenario, "cash") == left


def as_before(order: Any) -> str:
    """The name of an order while a number and its text were two."""
    return f"sales:{value_hash(order).hex()}"


@pytest.mark.parametrize("stored", [77, "77"])
@pytest.mark.parametrize("named", [77, "77"])
def test_an_order_that_was_stored_as_a_number_or_as_text_is_paid_no_more_and_reversed_by_either(
    stored: Any, named: Any
) -> None:
    scenario = story()
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    paid = {"commission": "sales", "order": value_hash(stored).hex(), "amount": 2_000}
    scenario.apply(Event(UUID(int=1 << 70), 1, "$commission", "ada", paid, NOON))
    scenario._earners[as_before(stored)] = "ada"
    sell(scenario, ("purchase", {"amount": 2_000, "orderId": named}))
    assert purse(scenario, "cash") == {"ada": 100}
    sell(scenario, ("refund", {"orderId": named}))
    assert purse(scenario, "cash") == {"ada": 0}


@pytest.mark.parametrize("stored", [77, "77"])
@pytest.mark.parametrize("named", [77, "77"])
def test_an_order_whose_refund_was_stored_first_as_a_number_or_as_text_pays_nothing(stored: Any, named: Any) -> None:
    scenario = story()
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    scenario.user("bob").records[RecordKind.COMMISSION, as_before(stored)] = CommissionState(0, "", True)
    sell(scenario, ("purchase", {"amount": 2_000, "orderId": named}))
    assert purse(scenario, "cash") == {}


@pytest.mark.parametrize(
    ("within", "day", "paid"),
    [
        (None,   "2027-11-05T12:00Z", 50),  # the window of `qualify` is of the referral's rewards alone
        ("1 days",  "2026-01-06T12:00Z", 50),
        ("1 days",  "2026-01-06T12:01Z", 0),
        ("1 days",  "2026-01-05T11:59Z", 0),
        ("90 days", "2026-02-20T12:00Z", 50),  # the referral can count no more, and the commission goes on
    ],
)  # fmt: skip
def test_a_commission_is_earned_in_its_own_window_from_the_attribution(within: str | None, day: str, paid: int) -> None:
    span = {} if within is None else {"within": {"duration": int(within.split()[0]), "unit": within.split()[1]}}
    sales = {**PROGRAM["commissions"]["sales"], **span}
    scenario = story({**PROGRAM, "commissions": {"sales": sales}})
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    scenario.play([(day, "bob", "purchase", {"amount": 1_000, "orderId": 1})])
    assert scenario.user("ada").balances.get("cash", 0) == paid


def test_a_refund_after_the_window_takes_back_what_was_earned_in_it() -> None:
    sales = {**PROGRAM["commissions"]["sales"], "within": {"duration": 1, "unit": "days"}}
    scenario = story({**PROGRAM, "commissions": {"sales": sales}})
    scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
    sell(scenario, ("purchase", {"amount": 1_000, "orderId": 1}))
    scenario.play([("2026-03-05T12:00Z", "bob", "refund", {"orderId": 1})])
    assert purse(scenario, "cash") == {"ada": 0}


AFFILIATES: dict[str, Any] = {
    "currencies": CURRENCIES,
    "commissions": {
        "a": {"on": "purchase", "currency": "cash", "to": "affiliate", "plans": PLANS[:1], "refundOn": "refund"}
    },
}


@pytest.mark.parametrize("named", [{}, {"affiliate": "dan"}, {"affiliate": "cyd"}, {"affiliate": "nobody-known"}])
def test_a_refund_is_taken_from_who_earned_the_order_whoever_it_names(named: dict[str, str]) -> None:
    scenario = story(AFFILIATES)
    sell(
        scenario, ("purchase", {"amount": 1_000, "orderId": 1, "affiliate": "dan"}), ("refund", {"orderId": 1, **named})
    )
    assert purse(scenario, "cash") == {"dan": 0}


@pytest.mark.parametrize("named", [{}, {"affiliate": "cyd"}])
def test_a_refund_before_its_order_lets_it_pay_nobody_and_uses_up_no_other_order(named: dict[str, str]) -> None:
    scenario = story(AFFILIATES)
    sell(scenario, ("refund", {"orderId": 1, **named}))
    sell(scenario, *[("purchase", {"amount": 1_000, "orderId": order, "affiliate": "dan"}) for order in (1, 2)])
    assert purse(scenario, "cash") == {"dan": 50}
    sell(scenario, ("refund", {"orderId": 2}))
    assert purse(scenario, "cash") == {"dan": 0}


def test_a_refund_before_the_buyer_is_attributed_lets_the_order_pay_nothing() -> None:
    scenario = story()
    sell(scenario, ("refund", {"orderId": 1}), ("signup", {"referralCode": "ADA22222"}))
    sell(scenario, ("purchase", {"amount": 1_000, "orderId": 1}))
    assert purse(scenario, "cash") == {}


facts = st.lists(
    st.tuples(st.sampled_from(["purchase", "refund"]), st.integers(1, 4), st.integers(1, 100_000)), max_size=12
)


@given(facts, st.randoms())
def test_orders_and_refunds_leave_the_same_in_any_order(rows: list[tuple[str, int, int]], chance: Any) -> None:
    amounts = {order: amount for _, order, amount in rows}
    names = {"purchase": "dan", "refund": "cyd"}  # a refund's affiliate is not asked
    events = [
        (type_, {"orderId": order, "amount": amounts[order], "affiliate": names[type_]}) for type_, order, _ in rows
    ]
    shuffled = events * 2
    chance.shuffle(shuffled)
    expected = sum(amounts[o] * 500 // 10_000 for o in amounts
                   if {t for t, order, _ in rows if order == o} == {"purchase"})  # fmt: skip
    plans = {**PROGRAM, "commissions": {"sales": {**PROGRAM["commissions"]["sales"], "plans": PLANS[:1]}}}
    for program, earner in ((plans, "ada"), (AFFILIATES, "dan")):
        for sequence in (events, shuffled):
            scenario = story(program)
            scenario.play([("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"})])
            sell(scenario, *sequence)
            assert {user: cash for user, cash in purse(scenario, "cash").items() if cash} == (
                {earner: expected} if expected else {}
            )


ORDERS_OF_ARRIVAL: list[tuple[dict[str, Any], dict[str, str]]] = [
    (PROGRAM, {
        "referrals": "the first code that comes stays; what qualifies counts only after it",
        "commissions.sales": "a sale that comes before its buyer's referral pays nobody; a plan reads metric.brought",
    }),
    ({**PROGRAM, "commissions": {}, "referrals": {**REFERRALS, "qualify": None}}, {
        "referrals": "the first code that comes stays",
    }),
    ({**AFFILIATES, "commissions": {"a": {**AFFILIATES["commissions"]["a"], "when": {"field": "balance.coins", "op": "lt", "value": 9}}}}, {
        "commissions.a": "its condition reads balance.coins",
    }),
    (AFFILIATES, {}),
]  # fmt: skip


@pytest.mark.parametrize(("program", "marked"), ORDERS_OF_ARRIVAL)
def test_a_plan_marks_what_pays_others_by_what_came_before(program: dict[str, Any], marked: dict[str, str]) -> None:
    document = {name: value for name, value in program.items() if value}
    if "referrals" in document:
        document["referrals"] = {name: value for name, value in document["referrals"].items() if value}
    found = order_dependent(parse(document))
    assert {path: why for path, why in found.items() if path.startswith(("referrals", "commissions"))} == marked


@pytest.mark.parametrize("late", [False, True])
def test_what_is_bought_before_the_code_arrives_pays_nobody_whenever_it_was_bought(late: bool) -> None:
    scenario = story()
    rows = [
        ("2026-01-05T12:00Z", "bob", "signup", {"referralCode": "ADA22222"}),
        ("2026-01-05T13:00Z", "bob", "purchase", {"amount": 2_000, "orderId": 1}),
    ]
    scenario.play(reversed(rows) if late else rows)
    assert [purse(scenario, currency) for currency in ("coins", "cash")] == (
        [{}, {}] if late else [{"ada": 50, "bob": 10}, {"ada": 100}]
    )


def test_codes_are_short_and_of_letters_nobody_takes_for_others() -> None:
    codes = {new_code() for _ in range(200)}
    assert len(codes) == 200
    assert {len(code) for code in codes} == {REFERRAL_CODE_CHARS}
    assert set("".join(codes)) <= set(LETTERS) - set("01OILSBZ")


@pytest.mark.parametrize(
    ("document", "path", "part"),
    [
        ({"referrals": {"on": "s", "friend": [{"currency": "x", "value": 1}]}}, "referrals.friend[0].currency", "no currency 'x'"),
        ({"referrals": {"on": "s", "qualify": {"on": "p", "when": {"field": "metric.m", "op": "gt", "value": 1}}}},
         "referrals.qualify.when.field", "no metric 'm'"),
        ({"commissions": {"c": {"on": "p", "currency": "cash", "plans": PLANS[:1]}}}, "commissions.c", "no referrals"),
        ({"commissions": {"c": {"on": "p", "currency": "cash", "to": "a", "plans": PLANS[:1], "within": {"duration": 1, "unit": "days"}}}},
         "commissions.c.within", "drop either"),
        ({"commissions": {"c": {"on": "p", "currency": "cash", "to": "a", "plans": PLANS[1:]}}}, "commissions.c.plans[0].when", "no condition"),
        ({"commissions": {"c": {"on": "p", "currency": "gold", "to": "a", "plans": PLANS[:1]}}}, "commissions.c.currency", "no currency 'gold'"),
    ],
)  # fmt: skip
def test_an_error_of_a_referral_or_a_commission_names_its_path(document: dict[str, Any], path: str, part: str) -> None:
    errors = [error for error in validate({"currencies": CURRENCIES, **document}) if error.path == path]
    assert [part in error.message for error in errors[:1]] == [True], validate({"currencies": CURRENCIES, **document})
