"""Guards: every kind trips where it should, every action does what it says, and nothing a guard does destroys data."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questline.engine.guard_kinds import crowd
from questline.engine.order import order_dependent
from questline.engine.validate import validate
from questline.model.decision import Outcome
from questline.model.guards import GuardState
from questline.model.limits import GUARD_RECEIVED_MIN, GUARD_VALUES_MAX
from questline.model.program import parse
from questline.testing.scenario import Scenario

MINUTE = {"duration": 1, "unit": "minutes"}
HOUR = {"duration": 1, "unit": "hours"}
PAID = ("coins +1 rule:pay",)


def program(guard: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "currencies": {"coins": {"kind": "currency"}},
        "rules": {"pay": {"on": ["e", "end", "buy"], "award": {"coins": 1}}},
        "guards": {} if guard is None else {"g": guard},
        **more,
    }


def said(scenario: Scenario, rows: list[Any]) -> list[str]:
    """What guards said of each row, as the first of its effects; a dash where nothing was said."""
    played = scenario.play([(f"2026-01-05T{when}Z", *rest) for when, *rest in rows])
    return [found.effects[0] if found.decision.trips else "-" for found in played]


RATE = {"kind": "rate", "on": "e", "window": MINUTE, "times": 2}
GAP = {"kind": "gap", "on": "e", "window": {"duration": 2, "unit": "seconds"}}
BOUNDS = {"kind": "bounds", "on": "e", "field": "n", "min": 0, "max": 10}
JUMP = {"kind": "jump", "on": "e", "field": "n", "by": 100, "factor": 3}
SEQUENCE = {"kind": "sequence", "on": "end", "after": "start", "match": "run", "window": HOUR}
COPY = {"kind": "duplicate", "on": "buy", "fields": ["order", "sum"], "window": HOUR}
COPY_OF_ALL = {**COPY, "across": "users"}
DEVICES = {"kind": "spread", "on": "e", "field": "device", "values": 2, "window": HOUR}
SHARED = {"kind": "spread", "on": "e", "field": "device", "users": 2, "window": HOUR}

# guard, rows of (time, [user,] type, payload, what is said)
KINDS: list[tuple[dict[str, Any], list[Any]]] = [
    (RATE, [
        ("10:00:00", "e", {}, "-"),
        ("10:00:30", "e", {}, "-"),
        ("10:00:59", "e", {}, "flag g"),
        ("10:01:30", "e", {}, "-"),                      # the window is half open: 10:00:30 lies outside
        ("10:00:45", "e", {}, "flag g"),                 # late, amid the others
        ("09:58:00", "e", {}, "-"),
    ]),
    (RATE, [("10:00:00", user, "e", {}, "-") for user in ("ada", "bob", "cyd")]),
    (GAP, [
        ("10:00:00", "e", {}, "-"),
        ("10:00:02", "e", {}, "-"),
        ("10:00:03.999", "e", {}, "flag g"),
        ("09:59:59", "e", {}, "flag g"),                 # late, and too near to 10:00:00
        ("09:00:00", "e", {}, "-"),
    ]),
    (BOUNDS, [
        ("10:00", "e", {"n": 0}, "-"), ("10:00", "e", {"n": 10}, "-"), ("10:00", "e", {"n": 10.5}, "flag g"),
        ("10:00", "e", {"n": -1}, "flag g"), ("10:00", "e", {"n": 10**300 * 1.0}, "flag g"), ("10:00", "e", {"n": 2**70}, "flag g"),
        ("10:00", "e", {"n": "99"}, "-"), ("10:00", "e", {"n": True}, "-"), ("10:00", "e", {}, "-"),
    ]),
    (JUMP, [
        ("10:00", "e", {"n": 10}, "-"),
        ("10:01", "e", {"n": 30}, "-"),
        ("10:02", "e", {"n": 91}, "flag g"),             # more than three times 30
        ("10:03", "e", {"n": 91}, "-"),                  # what was flagged was applied, and is the last value
        ("10:04", "e", {"n": 200}, "flag g"),            # more than 100 away
        ("10:02", "e", {"n": 9000}, "flag g"),           # late: compared with what it came between
        ("09:00", "e", {"n": 9000}, "flag g"),           # late, and before all others
        ("08:00", "e", {"n": 8950}, "-"),                # its nearest is the one that was applied
        ("10:05", "e", {"n": 99.9}, "flag g"),
    ]),
    ({**JUMP, "window": MINUTE}, [("10:00:00", "e", {"n": 1}, "-"), ("10:01:00", "e", {"n": 9000}, "-")]),
    (SEQUENCE, [
        ("10:00", "end", {"run": 1}, "flag g"),
        ("10:00", "start", {"run": 1}, "-"),
        ("10:30", "end", {"run": 1}, "-"),
        ("10:30", "end", {"run": 2}, "flag g"),
        ("09:59", "end", {"run": 1}, "flag g"),          # before it began
        ("11:00", "end", {"run": 1}, "flag g"),          # the start is too long ago
        ("10:30", "end", {}, "flag g"),
        ("10:30", "bob", "end", {"run": 1}, "flag g"),
    ]),
    (COPY, [
        ("10:00", "buy", {"order": 1, "sum": 5}, "-"),
        ("10:30", "buy", {"order": 1, "sum": 5, "note": "x"}, "flag g"),
        ("10:30", "buy", {"order": 1, "sum": 6}, "-"),
        ("10:30", "bob", "buy", {"order": 1, "sum": 5}, "-"),
        ("12:00", "buy", {"order": 1, "sum": 5}, "-"),
        ("10:30", "buy", {"order": 1}, "-"),
    ]),
    (COPY_OF_ALL, [
        ("10:00", "buy", {"order": 1, "sum": 5}, "-"),
        ("10:30", "bob", "buy", {"order": 1, "sum": 5}, "flag g"),
        ("10:40", "buy", {"order": 1, "sum": 5}, "flag g"),
        ("12:00", "cyd", "buy", {"order": 1, "sum": 5}, "-"),
    ]),
    (DEVICES, [
        ("10:00", "e", {"device": "a"}, "-"), ("10:10", "e", {"device": "b"}, "-"), ("10:20", "e", {"device": "a"}, "-"),
        ("10:30", "e", {"device": "c"}, "flag g"), ("11:31", "e", {"device": "c"}, "-"), ("10:30", "bob", "e", {"device": "c"}, "-"),
        ("11:31", "e", {}, "-"),
    ]),
    (SHARED, [
        ("10:00", "ada", "e", {"device": "a"}, "-"), ("10:10", "bob", "e", {"device": "a"}, "-"), ("10:15", "bob", "e", {"device": "a"}, "-"),
        ("10:20", "cyd", "e", {"device": "a"}, "flag g"), ("10:20", "dan", "e", {"device": "b"}, "-"),
        ("11:30", "eve", "e", {"device": "a"}, "-"),
        ("09:30", "fay", "e", {"device": "a"}, "flag g"),   # late, and in a window with two others
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("guard", "table"), KINDS, ids=[f"{n}-{guard['kind']}" for n, (guard, _) in enumerate(KINDS)])
def test_a_guard_trips_where_its_kind_says(guard: dict[str, Any], table: list[Any]) -> None:
    assert said(Scenario(program(guard)), [row[:-1] for row in table]) == [row[-1] for row in table]


A_DAY_AGO = "2026-01-04T10:00Z"
# guard, payloads of events of one moment a day ago, what is said of each, while one of now is there already
LATE: list[tuple[dict[str, Any], list[Any], list[str]]] = [
    (RATE, [{}] * 5, ["-", "-", "refuse g", "refuse g", "refuse g"]),
    (GAP, [{}] * 3, ["-", "refuse g", "refuse g"]),
    ({**JUMP, "window": HOUR}, [{"n": 1}, {"n": 900}, {"n": 900}], ["-", "refuse g", "refuse g"]),
    ({**COPY, "on": "e"}, [{"order": 1, "sum": 5}] * 3, ["-", "refuse g", "refuse g"]),
    (DEVICES, [{"device": d} for d in "abcda"], ["-", "-", "refuse g", "refuse g", "-"]),
]


@pytest.mark.parametrize(("guard", "payloads", "told"), LATE, ids=[guard["kind"] for guard, _, _ in LATE])
def test_events_that_are_sent_in_the_past_are_compared_with_each_other(
    guard: dict[str, Any], payloads: list[Any], told: list[str]
) -> None:
    scenario = Scenario(program({**guard, "action": "refuse"}))
    now = {"n": 1, "device": "a", "order": 1, "sum": 5}
    scenario.play([("2026-01-05T10:00Z", "e", now)])
    played = scenario.play([(A_DAY_AGO, "e", payload) for payload in payloads])
    assert [found.effects[0] if found.decision.trips else "-" for found in played] == told


@pytest.mark.parametrize(
    ("guard", "told"), [(SHARED, ["-", "-", "refuse g"]), ({**COPY_OF_ALL, "on": "e"}, ["-", "refuse g", "refuse g"])]
)
def test_users_who_share_a_value_in_the_past_are_compared_with_each_other(
    guard: dict[str, Any], told: list[str]
) -> None:
    scenario = Scenario(program({**guard, "action": "refuse"}))
    payload = {"device": "a", "order": 1, "sum": 5}
    scenario.play([("2026-01-05T10:00Z", "ada", "e", payload)])
    played = scenario.play([(A_DAY_AGO, user, "e", payload) for user in ("bob", "cyd", "dan")])
    assert [found.effects[0] if found.decision.trips else "-" for found in played] == told


def test_a_run_that_is_told_late_finds_its_start() -> None:
    """Of a client that was offline, while another of the same user was not."""
    scenario = Scenario(program(SEQUENCE))
    rows = [("10:00", "start", {"run": 2}, "-"), ("04:00", "start", {"run": 1}, "-"), ("04:30", "end", {"run": 1}, "-")]
    assert said(scenario, [row[:-1] for row in rows]) == [row[-1] for row in rows]


def test_a_jump_goes_on_from_a_value_that_was_kept_without_its_time_list() -> None:
    """What was written before values were kept by time: one mark without a value, and the last value beside it."""
    scenario = Scenario(program(JUMP))
    ten = int(datetime(2026, 1, 5, 10, tzinfo=UTC).timestamp() * 1_000)
    scenario.user().records["guard", "g"] = GuardState(((ten, ""),), Decimal(10))
    assert said(scenario, [("09:59", "e", {"n": 900}), ("10:01", "e", {"n": 10}), ("10:02", "e", {"n": 900})]) == [
        "flag g", "-", "flag g",
    ]  # fmt: skip


# kind, guard, rows, values of the last one's trip
VALUES = [
    (RATE, [{}, {}, {}], {"count": 3, "times": 2}),
    (GAP, [{}, {}], {"gapSeconds": 0.0, "windowSeconds": 2}),
    (BOUNDS, [{"n": 11.5}], {"value": 11.5, "min": 0, "max": 10}),
    (JUMP, [{"n": 10}, {"n": 500}], {"value": 500, "last": 10}),
    (DEVICES, [{"device": d} for d in "abc"], {"values": 3, "allowed": 2}),
]


@pytest.mark.parametrize(("guard", "payloads", "values"), VALUES, ids=[guard["kind"] for guard, _, _ in VALUES])
def test_a_trip_tells_the_numbers_it_compared(
    guard: dict[str, Any], payloads: list[Any], values: dict[str, Any]
) -> None:
    scenario = Scenario(program({**guard, "score": 7}))
    last = scenario.play([("2026-01-05T10:00Z", "e", payload) for payload in payloads])[-1].decision
    assert [(trip.guard, trip.values, trip.score) for trip in last.trips] == [("g", values, 7)]
    told = {"guard": "g", "kind": guard["kind"], "values": values, "score": 7}
    assert [(notice.type, notice.data) for notice in last.notices] == [("guard.flagged", told)]


def test_each_action_does_what_it_says_and_is_told_in_a_notice() -> None:
    # action, effects, notices
    table = [
        ("flag",   ("flag g", "coins +1 rule:pay", "suspicion user - → 5"),                                     ["guard.flagged"]),
        ("hold",   ("hold g", "suspicion user - → 5", "review 00000000-0000-0000-0000-000000000001 - → waiting", "held GUARD_HELD"), ["guard.held"]),
        ("refuse", ("refuse g", "suspicion user - → 5", "refused GUARD_REFUSED"),                               ["guard.refused"]),
        ("block",  ("block g", "suspicion user - → 5", "block user - → blocked", "refused USER_BLOCKED"),       ["guard.blocked", "user.blocked"]),
    ]  # fmt: skip
    for action, effects, notices in table:
        scenario = Scenario(program({**BOUNDS, "action": action, "score": 5}))
        played = scenario.play([("2026-01-05T10:00Z", "e", {"n": 99})])[0]
        assert (played.effects, [notice.type for notice in played.decision.notices]) == (effects, notices)


def test_the_strongest_action_is_taken_and_every_guard_has_its_say() -> None:
    guards = {
        "a": {**BOUNDS, "action": "flag", "score": 1},
        "b": {**BOUNDS, "action": "refuse", "score": 2},
        "c": {**BOUNDS, "action": "hold", "score": 4},
        "off": {**BOUNDS, "action": "block", "enabled": False},
        "other": {**BOUNDS, "action": "block", "when": {"field": "trusted", "op": "ne", "value": True}},
    }
    scenario = Scenario(program(guards=guards))
    assert scenario.play([("2026-01-05T10:00Z", "e", {"n": 99, "trusted": True})])[0].effects == (
        "flag a", "refuse b", "hold c", "suspicion user - → 7", "refused GUARD_REFUSED",
    )  # fmt: skip


def test_suspicion_decays_by_whole_spans_and_its_thresholds_act_on_every_guarded_event() -> None:
    suspicion = {"decay": {"points": 10, "every": 1, "unit": "hours"}, "actions": {20: "hold", 40: "block"}}
    scenario = Scenario(program({**BOUNDS, "score": 15}, suspicion=suspicion))
    bad, good = {"n": 99}, {"n": 1}
    table = [
        ("10:00", "e", bad,   ("flag g", "coins +1 rule:pay", "suspicion user - → 15")),
        ("10:10", "e", bad,   ("flag g", "hold suspicion", "suspicion user 15 → 30", "review 00000000-0000-0000-0000-000000000002 - → waiting", "held GUARD_HELD")),
        ("10:20", "e", good,  ("hold suspicion", "review 00000000-0000-0000-0000-000000000003 - → waiting", "held GUARD_HELD")),
        ("10:20", "buy", bad, PAID),                                                   # no guard looks at it
        ("11:59", "e", good,  ("hold suspicion", "review 00000000-0000-0000-0000-000000000005 - → waiting", "held GUARD_HELD")),
        ("12:00", "e", good,  PAID),                                                   # two whole hours since 10:00
        ("12:01", "e", bad,   ("flag g", "hold suspicion", "suspicion user 30 → 25", "review 00000000-0000-0000-0000-000000000007 - → waiting", "held GUARD_HELD")),
        ("12:02", "e", bad,   ("flag g", "block suspicion", "suspicion user 25 → 40", "block user - → blocked", "refused USER_BLOCKED")),
        ("23:00", "e", good,  ("refused USER_BLOCKED",)),
        ("23:00", "$unblock", {"reason": "was none"}, ("block user blocked → free", "suspicion user 40 → 0")),
        ("23:00", "e", good,  PAID),
    ]  # fmt: skip
    played = scenario.play([(f"2026-01-05T{when}Z", *rest) for when, *rest, _ in table])
    assert [found.effects for found in played] == [row[-1] for row in table]


HELD = "00000000-0000-0000-0000-000000000001"


def test_a_held_event_is_applied_once_when_it_is_approved_and_as_of_its_own_time() -> None:
    document = program(
        {**BOUNDS, "action": "hold"},
        streaks={"daily": {"on": "e"}},
        boards={"b": {"currency": "coins", "periods": ["daily"]}},
    )
    scenario = Scenario(document)
    held = ("2026-01-05T10:00Z", "e", {"n": 99})
    approve = ("2026-02-01T10:00Z", "$approve", {"event": HELD, "reason": "known customer"})
    played = scenario.play([held, approve, approve, ("2026-02-01T10:00Z", "$deny", {"event": HELD})])
    assert [found.effects for found in played] == [
        ("hold g", f"review {HELD} - → waiting", "held GUARD_HELD"),
        ("coins +1 rule:pay", f"review {HELD} waiting → approved", "streak daily 0 → 1"),
        ("refused ALREADY_REVIEWED",),
        ("refused ALREADY_REVIEWED",),
    ]  # fmt: skip
    assert scenario.boards == {("b", "2026-01-05", "ada"): 1}
    assert scenario.user().records[("review", HELD)].reason == "known customer"


def test_a_denied_event_leaves_no_effect_and_cannot_be_approved_after() -> None:
    scenario = Scenario(program({**BOUNDS, "action": "hold"}))
    rows = [
        ("2026-01-05T10:00Z", "e", {"n": 99}),
        ("2026-01-05T11:00Z", "$deny", {"event": HELD, "reason": "bot"}),
        ("2026-01-05T12:00Z", "$approve", {"event": HELD}),
        ("2026-01-05T12:00Z", "$deny", {"event": "no id"}),
        ("2026-01-05T12:00Z", "bob", "$deny", {"event": HELD}),
    ]
    assert [found.effects for found in scenario.play(rows)[1:]] == [
        (f"review {HELD} waiting → denied",),
        ("refused ALREADY_REVIEWED",),
        ("refused UNKNOWN_REVIEW",),
        ("refused UNKNOWN_REVIEW",),
    ]


def test_a_held_command_is_run_when_it_is_approved() -> None:
    guard = {"kind": "bounds", "on": "$spend", "field": "amount", "max": 5, "action": "hold"}
    scenario = Scenario(program(guard))
    scenario.user().balances["coins"] = 10
    rows = [
        ("2026-01-05T10:00Z", "$spend", {"currency": "coins", "amount": 8}),
        ("2026-01-05T10:00Z", "$spend", {"currency": "coins", "amount": 5}),
        ("2026-01-05T11:00Z", "$approve", {"event": HELD}),  # what is left does not cover it; it goes on waiting
    ]
    assert [found.effects[-1] for found in scenario.play(rows)] == [
        "held GUARD_HELD",
        "coins -5 command:spend",
        "refused INSUFFICIENT_BALANCE",
    ]
    scenario.user().balances["coins"] = 8
    approved = scenario.play([("2026-01-05T12:00Z", "$approve", {"event": HELD})])[0]
    assert approved.effects == ("coins -8 command:spend", f"review {HELD} waiting → approved")


@pytest.mark.parametrize("action", ["hold", "refuse"])
def test_an_event_that_is_not_applied_leaves_no_mark_but_suspicion(action: str) -> None:
    """Who goes too fast is slowed down to the rate, and is not shut out for trying."""
    scenario = Scenario(program({**RATE, "action": action}))
    outcomes = [
        found.decision.outcome.value
        for found in scenario.play([(f"2026-01-05T10:0{n // 6}:{n % 6}0Z", "e", {}) for n in range(18)])
    ]
    assert [n for n, outcome in enumerate(outcomes) if outcome == "processed"] == [0, 1, 6, 7, 12, 13]


def test_an_approved_event_leaves_its_marks() -> None:
    scenario = Scenario(program({**JUMP, "action": "hold"}))
    values = [("10:00", "e", {"n": 1}), ("10:01", "e", {"n": 900}), ("10:02", "e", {"n": 901})]
    assert said(scenario, values) == ["-", "hold g", "hold g"]
    ids = "00000000-0000-0000-0000-000000000002"
    scenario.play([("2026-01-05T11:00Z", "$approve", {"event": ids})])
    assert said(scenario, [("12:00", "e", {"n": 902})]) == ["-"]


def test_a_blocked_user_has_nothing_applied_until_they_are_unblocked() -> None:
    scenario = Scenario(program())
    at = "2026-01-05T10:00Z"
    rows = [
        (at, "e", {}), (at, "$block", {"reason": ""}), (at, "$block", {"reason": "bot", "standing": "gone"}),
        (at, "$block", {"reason": "bot"}), (at, "e", {}), (at, "$spend", {"currency": "coins", "amount": 1}),
        (at, "$block", {"reason": "bot net", "standing": "keep"}), (at, "$unblock", {"reason": "was none"}), (at, "e", {}),
    ]  # fmt: skip
    assert [found.effects for found in scenario.play(rows)] == [
        PAID, ("refused INVALID_COMMAND",), ("refused INVALID_COMMAND",),
        ("block user - → blocked",), ("refused USER_BLOCKED",), ("refused USER_BLOCKED",),
        ("block user blocked → blocked",), ("block user blocked → free",), PAID,
    ]  # fmt: skip


def test_an_event_of_a_blocked_user_is_approved_only_once_they_are_unblocked() -> None:
    scenario = Scenario(program({**BOUNDS, "action": "hold"}))
    at = "2026-01-05T10:00Z"
    rows = [(at, "e", {"n": 99}), (at, "$block", {"reason": "bot"}), (at, "$approve", {"event": HELD}),
            (at, "$unblock", {"reason": "was none"}), (at, "$approve", {"event": HELD})]  # fmt: skip
    assert [found.effects[0] for found in scenario.play(rows)] == [
        "hold g", "block user - → blocked", "refused USER_BLOCKED", "block user blocked → free", "coins +1 rule:pay",
    ]  # fmt: skip


facts = st.lists(
    st.tuples(
        st.integers(0, 300), st.sampled_from(("ada", "bob")), st.sampled_from(("e", "start", "end", "buy")),
        st.fixed_dictionaries({"n": st.integers(-5, 500), "device": st.sampled_from("abcd"), "order": st.integers(1, 3), "sum": st.just(1), "run": st.integers(1, 2)}),
    ),
    max_size=30,
)  # fmt: skip
ALL = {f"{n}-{guard['kind']}": {**guard, "score": 1} for n, (guard, _) in enumerate(KINDS)}
START = datetime(2026, 1, 5, 10, tzinfo=UTC)


@settings(max_examples=60, deadline=None)
@given(facts)
def test_flags_change_nothing_of_what_events_do(rows: list[Any]) -> None:
    def played(guards: dict[str, Any]) -> Any:
        more = {"metrics": {"m": {"on": "*", "count": True}}, "boards": {"b": {"currency": "coins"}}}
        scenario = Scenario(program(guards=guards, **more))
        decisions = [p.decision for p in scenario.play([(START + timedelta(seconds=s), *rest) for s, *rest in rows])]
        return scenario.boards, [(d.outcome, d.transfers, d.metrics, d.unlocks, d.board_points) for d in decisions]

    assert played(ALL) == played({})


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 119), max_size=40), st.integers(1, 4))
def test_no_window_holds_more_applied_events_than_the_rate_allows_in_whatever_order_they_come(
    seconds: list[int], times: int
) -> None:
    scenario = Scenario(program({**RATE, "times": times, "action": "refuse"}))
    rows = [(START + timedelta(seconds=s), "e", {}) for s in seconds]
    applied = [
        (p.event.occurred_at - START).seconds for p in scenario.play(rows) if p.decision.outcome is Outcome.PROCESSED
    ]
    assert max((sum(1 for s in applied if first <= s < first + 60) for first in applied), default=0) <= times


MOMENTS = [0, 30, 90, 3_600, 7_200, 86_400]  # seconds; some lie within two windows of each other, some far away
scattered = st.lists(
    st.tuples(st.builds(sum, st.tuples(st.sampled_from(MOMENTS), st.integers(0, 59))), st.sampled_from("abcd")),
    max_size=GUARD_RECEIVED_MIN,
)


def most_in_a_window(applied: list[tuple[int, Any]], window: int) -> int:
    """The most different values in any window, tried one by one."""
    return max((len({v for at, v in applied if first <= at < first + window}) for first, _ in applied), default=0)


@settings(max_examples=150, deadline=None)
@given(scattered, st.integers(1, 3))
def test_no_window_holds_more_than_is_allowed_in_whatever_order_and_however_far_back_events_are_dated(
    rows: list[tuple[int, str]], allowed: int
) -> None:
    def applied(guard: dict[str, Any], *, by_user: bool = False) -> list[tuple[int, str, int]]:
        scenario = Scenario(program({**guard, "action": "refuse"}))
        played = scenario.play(
            (START + timedelta(seconds=at), value if by_user else "ada", "e", {"device": "d" if by_user else value})
            for at, value in rows
        )
        passed = [found.decision.outcome is Outcome.PROCESSED for found in played]
        return [(at, value, n) for n, (at, value) in enumerate(rows) if passed[n]]

    rate = applied({**RATE, "times": allowed})
    assert most_in_a_window([(at, n) for at, _, n in rate], 60) <= allowed
    gap = applied({**GAP, "window": MINUTE})
    assert most_in_a_window([(at, n) for at, _, n in gap], 60) <= 1
    copies = applied({**COPY, "on": "e", "fields": ["device"], "window": MINUTE})
    for value in "abcd":
        assert most_in_a_window([(at, n) for at, found, n in copies if found == value], 60) <= 1
    devices = applied({**DEVICES, "values": allowed, "window": MINUTE})
    assert most_in_a_window([(at, value) for at, value, _ in devices], 60) <= allowed
    users = applied({**SHARED, "users": allowed, "window": MINUTE}, by_user=True)
    assert most_in_a_window([(at, value) for at, value, _ in users], 60) <= allowed


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(60)))
def test_a_client_that_sends_a_day_late_what_lay_well_apart_trips_nothing(order: list[int]) -> None:
    guards = {
        "rate": {**RATE, "times": 1},
        "gap": {**GAP, "window": MINUTE},
        "copy": {**COPY, "on": "e", "window": MINUTE},
        "devices": {**DEVICES, "values": 1, "window": MINUTE},
    }
    scenario = Scenario(program(guards=guards))
    rows = [("2026-01-06T10:00:00Z", "e", {"device": "now", "order": 0, "sum": 5})]
    rows += [(START + timedelta(minutes=n), "e", {"device": str(n), "order": n % 2, "sum": 5}) for n in order]
    assert [found.effects for found in scenario.play(rows)] == [PAID] * 61


def test_events_of_now_are_slowed_down_however_many_of_the_past_are_sent_between_them() -> None:
    scenario = Scenario(program({**RATE, "action": "refuse"}))
    now = [("2026-01-06T10:00:00Z", "e", {})]
    past = [(START + timedelta(minutes=n), "e", {}) for n in range(200)]
    played = scenario.play([*now, *now, *past, *now])
    assert [found.decision.outcome.value for found in played[-3:]] == ["processed", "processed", "refused"]


@pytest.mark.parametrize("guard", [RATE, GAP, JUMP, COPY, DEVICES, SHARED, COPY_OF_ALL], ids=lambda guard: str(guard))
def test_what_a_guard_remembers_is_bounded_whatever_times_events_bear(guard: dict[str, Any]) -> None:
    one_moment = [START] * 700
    scattered = [START + timedelta(seconds=n * 7_919 % 100_000) for n in range(700)]
    for times in (one_moment, scattered):
        scenario = Scenario(program({**guard, "on": "e"}))
        facts = ({"n": n, "device": "d", "order": n, "sum": 5} for n in range(700))
        scenario.play(
            [(at, f"user-{n % 40}", "e", fact) for n, (at, fact) in enumerate(zip(times, facts, strict=True))]
        )
        scenario.play(
            [(at, "ada", "e", {"n": n, "device": str(n), "order": n, "sum": 5}) for n, at in enumerate(times)]
        )
        marks = cast(GuardState, scenario.user("ada").records.get(("guard", "g"), GuardState())).marks
        shared = [len(one.users) for one in scenario.user("ada").sightings.values()]
        assert max(len(marks), *shared, 0) <= GUARD_VALUES_MAX + 2 * GUARD_RECEIVED_MIN


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=15), st.integers(0, 40), st.integers(1, 20))
def test_a_crowd_is_counted_as_if_every_window_were_tried(marks: list[Any], at: int, window: int) -> None:
    everybody = sorted([*marks, (at, 9)])
    tried = max(
        len({value for time, value in everybody if low <= time < low + window})
        for low in range(at - window + 1, at + 1)
    )
    assert crowd(everybody, at, window) == tried


@pytest.mark.parametrize(
    ("guard", "path", "part"),
    [
        ({"kind": "rate", "on": "e", "times": 2}, "guards.g", "lacks 'window', which a guard of kind rate needs"),
        ({**RATE, "users": 3}, "guards.g.users", "has no meaning for a guard of kind rate"),
        ({"kind": "bounds", "on": "e", "field": "n"}, "guards.g", "must have min, max or both"),
        ({**BOUNDS, "min": 11}, "guards.g.min", "is above max"),
        ({"kind": "jump", "on": "e", "field": "n"}, "guards.g", "must have by, factor or both"),
        ({**DEVICES, "users": 2}, "guards.g", "exactly one of users and values"),
        ({**SEQUENCE, "after": "end"}, "guards.g.after", "cannot come before itself"),
        ({**BOUNDS, "field": "balance.coins"}, "guards.g.field", "fields of the payload only"),
        ({**COPY, "fields": ["a", "user.id"]}, "guards.g.fields[1]", "fields of the payload only"),
        ({**BOUNDS, "on": "$approve"}, "guards.g.on", "is not guarded"),
        ({**BOUNDS, "when": {"field": "metric.none", "op": "gt", "value": 1}}, "guards.g.when.field", "there is no metric 'none'"),
        ({**BOUNDS, "action": "ban"}, "guards.g.action", "is not one of flag, hold, refuse, block"),
        ({**RATE, "window": {"duration": 400, "unit": "days"}}, "guards.g.window", "is longer than 366 days"),
    ],
)  # fmt: skip
def test_an_error_of_a_guard_names_its_path(guard: dict[str, Any], path: str, part: str) -> None:
    errors = [error for error in validate(program(guard)) if error.path == path]
    assert [part in error.message for error in errors[:1]] == [True], validate(program(guard))


def test_a_plan_marks_guards_that_compare_an_event_with_others() -> None:
    guards = {
        "rate": RATE,
        "bounds": BOUNDS,
        "read": {**BOUNDS, "when": {"field": "balance.coins", "op": "gt", "value": 1}},
    }
    assert sorted(order_dependent(parse(program(guards=guards)))) == ["guards.rate", "guards.read"]
