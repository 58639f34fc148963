"""Named rewards: granted within stock and limit, claimed once, expired in time, taken back by policy."""

import re
from pathlib import Path
from typing import Any

import pytest

from questline.engine.validate import validate
from questline.model.rewards import TRANSITIONS, GrantStatus
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


def test_the_diagram_in_the_docs_is_the_table_of_transitions() -> None:
    page = (Path(__file__).parents[2] / "docs/explanation/rewards.md").read_text(encoding="utf-8")
    drawn = re.findall(r"^    (PENDING|CLAIMED|EXPIRED|REVOKED) --> (\w+)$", page, re.MULTILINE)
    assert drawn == [(before.value, after.value) for before, afters in TRANSITIONS.items() for after in afters]
