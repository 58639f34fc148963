"""The daily loop: check-ins, vitals, items, and the template that is made of them."""

from typing import Any

import pytest

from questline import templates
from questline.control.documents import read_document
from questline.engine.validate import validate
from questline.testing.scenario import Scenario

COFFEE: dict[str, Any] = {"item": "coffee"}


def loop(**changes: Any) -> Scenario:
    document = read_document(templates.text("daily-loop")).value
    return Scenario({**document, **changes})


def effects(scenario: Scenario, *rows: Any) -> list[tuple[str, ...]]:
    return [played.effects for played in scenario.play(rows)]


def test_a_check_in_moves_vitals_and_pays_once_a_day() -> None:
    scenario = loop()
    table = [
        ("2026-01-05T08:00Z", "check_in", {},      ("loyalty +5 rule:check-in", "check_in 739621 - → set", "vital energy - → 70", "vital fatigue - → 10", "streak daily 0 → 1")),
        ("2026-01-05T23:59Z", "check_in", {},      ("refused ALREADY_CHECKED_IN",)),
        ("2026-01-06T00:00Z", "check_in", {},      ("loyalty +5 rule:check-in", "check_in 739622 - → set", "vital energy 70 → 90", "vital fatigue 10 → 20", "streak daily 1 → 2")),
        ("2026-01-06T09:00Z", "$buy", COFFEE,      ("loyalty -10 item:coffee:buy", "item coffee - → 1")),
        ("2026-01-06T09:01Z", "$buy", COFFEE,      ("refused INSUFFICIENT_BALANCE",)),
        ("2026-01-06T09:02Z", "$use", COFFEE,      ("level +1 vital:energy", "item coffee 1 → 0", "vital energy 90 → 0", "vital fatigue 20 → 22", "level level 1 → 2")),
        ("2026-01-06T09:03Z", "$use", COFFEE,      ("refused NOT_OWNED",)),
        ("2026-01-07T09:00Z", "check_in", {},      ("loyalty +5 rule:check-in", "check_in 739623 - → set", "item coffee 0 → 1", "vital energy 0 → 20", "vital fatigue 22 → 32", "streak daily 2 → 3")),
    ]  # fmt: skip
    assert effects(scenario, *(row[:3] for row in table)) == [row[3] for row in table]


@pytest.mark.parametrize(("level", "gained"), [(1, 5), (2, 5), (3, 6), (7, 7), (11, 8), (40, 8)])
def test_loyalty_gains_grow_with_the_level_to_half_as_much_again(level: int, gained: int) -> None:
    scenario = loop()
    scenario.user().balances["level"] = scenario.user().levels["level"] = level
    assert effects(scenario, ("2026-01-05T08:00Z", "check_in", {}))[0][0] == f"loyalty +{gained} rule:check-in"


def test_a_check_in_is_of_the_users_own_day() -> None:
    scenario = loop()
    scenario.user().timezone = "Pacific/Kiritimati"  # UTC+14
    rows = [("2026-01-05T09:59Z", "check_in", {}), ("2026-01-05T10:00Z", "check_in", {})]
    assert [len(found) > 1 for found in effects(scenario, *rows)] == [True, True]


@pytest.mark.parametrize(
    ("journey", "rows"),
    [
        ("a user who hops over all zones", [
            ("2026-01-05T10:30Z", "Pacific/Kiritimati", True),
            ("2026-01-05T10:30Z", "UTC",                False),
            ("2026-01-05T10:31Z", "Etc/GMT+12",         False),
            ("2026-01-05T10:32Z", "Pacific/Kiritimati", False),
            ("2026-01-05T18:29Z", "UTC",                False),
            ("2026-01-05T18:30Z", "UTC",                True),
            ("2026-01-06T18:30Z", "UTC",                False),
            ("2026-01-07T00:00Z", "UTC",                True),
        ]),
        ("east, the first evening", [
            ("2026-01-05T21:00Z", "Europe/Berlin",      True),
            ("2026-01-06T04:59Z", "Asia/Tokyo",         False),
            ("2026-01-06T05:00Z", "Asia/Tokyo",         True),
        ]),
        ("west, where the date comes again", [
            ("2026-01-05T21:00Z", "Asia/Tokyo",         True),
            ("2026-01-06T05:00Z", "America/Los_Angeles", True),
            ("2026-01-06T08:00Z", "America/Los_Angeles", False),
            ("2026-01-07T08:00Z", "America/Los_Angeles", True),
        ]),
        ("over the date line, where a date is left out", [
            ("2026-01-05T10:30Z", "Etc/GMT+12",         True),
            ("2026-01-05T18:30Z", "Pacific/Kiritimati", True),
        ]),
        ("midnight, in a zone that stays", [
            ("2026-01-05T22:59Z", "Europe/Berlin",      True),
            ("2026-01-05T23:00Z", "Europe/Berlin",      True),
        ]),
        ("midnight, after the zone changed within a day", [
            ("2026-01-05T22:59Z", "Europe/Berlin",      True),
            ("2026-01-05T23:30Z", "Europe/London",      False),
            ("2026-01-06T00:00Z", "Europe/London",      True),
        ]),
        ("the hour that summer leaves out", [
            ("2026-03-28T22:59Z", "Europe/Berlin",      True),
            ("2026-03-28T23:00Z", "Europe/Berlin",      True),
            ("2026-03-29T21:59Z", "Europe/Berlin",      False),
            ("2026-03-29T22:00Z", "Europe/Berlin",      True),
        ]),
        ("the day that Apia left out", [
            ("2011-12-30T09:59Z", "Pacific/Apia",       True),
            ("2011-12-30T10:00Z", "Pacific/Apia",       True),
        ]),
    ],
)  # fmt: skip
def test_a_change_of_zone_gives_no_second_check_in_and_takes_none_from_a_traveller(
    journey: str, rows: list[tuple[str, str, bool]]
) -> None:
    scenario = loop()
    found = []
    for at, zone, _ in rows:
        scenario.play([(at, "$profile_update", {"timezone": zone})])
        found.append(len(effects(scenario, (at, "check_in", {}))[0]) > 1)
    assert found == [one for _, _, one in rows], journey


@pytest.mark.parametrize(("by", "bought"), [("units", [True, True, False]), ("kinds", [True, True, True])])
def test_the_inventory_is_bounded_by_units_or_by_kinds(by: str, bought: list[bool]) -> None:
    scenario = loop(inventory={"cap": 2, "by": by})
    scenario.user().balances["loyalty"] = 1_000
    done = effects(scenario, *[(f"2026-01-05T08:0{n}Z", "$buy", COFFEE) for n in range(3)])
    assert [found != ("refused INVENTORY_FULL",) for found in done] == bought
    if by == "kinds":
        more = effects(
            scenario, *[(f"2026-01-05T09:0{n}Z", "$buy", {"item": i}) for n, i in enumerate(("rest", "focus"))]
        )
        assert [found == ("refused INVENTORY_FULL",) for found in more] == [False, True]


def test_a_reward_that_does_not_fit_is_told_and_stops_nothing() -> None:
    scenario = loop(inventory={"cap": 1})
    scenario.user().balances["loyalty"] = 10
    played = scenario.play(
        [("2026-01-05T08:00Z", "$buy", COFFEE), *[(f"2026-01-0{day}T08:00Z", "check_in", {}) for day in (5, 6, 7)]]
    )
    notices = {notice.type: notice.data for notice in played[-1].decision.notices}
    assert notices["inventory.full"] == {"item": "coffee", "left": 1}
    assert "streak daily 2 → 3" in played[-1].effects


CARD: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "items": {
        "pass": {"price": {"coins": 1}, "expiresAfter": {"duration": 2, "unit": "days"}, "stack": 3,
                 "use": [{"currency": "coins", "value": 2}], "cooldown": {"duration": 6, "unit": "hours"}},
        "medal": {"price": {"coins": 1}},
    },
}  # fmt: skip


def test_items_stack_expire_cool_down_and_go_in_the_order_they_expire() -> None:
    scenario = Scenario(CARD)
    scenario.user().balances["coins"] = 10
    table = [
        ("2026-01-05T08:00Z", "$buy", {"item": "pass", "quantity": 2},  ("coins -2 item:pass:buy", "item pass - → 2")),
        ("2026-01-06T08:00Z", "$buy", {"item": "pass", "quantity": 2},  ("refused INVENTORY_FULL",)),
        ("2026-01-06T08:00Z", "$buy", {"item": "pass"},                 ("coins -1 item:pass:buy", "item pass 2 → 3")),
        ("2026-01-06T09:00Z", "$use", {"item": "pass"},                 ("coins +2 item:pass:use", "item pass 3 → 2")),
        ("2026-01-06T14:59Z", "$use", {"item": "pass"},                 ("refused COOLDOWN",)),
        ("2026-01-06T15:00Z", "$use", {"item": "pass"},                 ("coins +2 item:pass:use", "item pass 2 → 1")),
        ("2026-01-08T07:59Z", "$use", {"item": "pass"},                 ("coins +2 item:pass:use", "item pass 1 → 0")),
        ("2026-01-08T14:00Z", "$use", {"item": "pass"},                 ("refused NOT_OWNED",)),
        ("2026-01-08T14:00Z", "$buy", {"item": "medal"},                ("coins -1 item:medal:buy", "item medal - → 1")),
        ("2026-01-08T14:00Z", "$use", {"item": "medal"},                ("refused INVALID_COMMAND",)),
        ("2026-01-08T14:00Z", "$use", {"item": "sword"},                ("refused UNKNOWN_ITEM",)),
        ("2026-01-08T14:00Z", "$buy", {"item": "medal", "quantity": 0}, ("refused INVALID_COMMAND",)),
    ]  # fmt: skip
    assert effects(scenario, *(row[:3] for row in table)) == [row[3] for row in table]


def test_an_expired_lot_is_gone() -> None:
    scenario = Scenario(CARD)
    scenario.user().balances["coins"] = 10
    rows = [("2026-01-05T08:00Z", "$buy", {"item": "pass"}), ("2026-01-07T08:00Z", "$use", {"item": "pass"})]
    assert effects(scenario, *rows)[1] == ("refused NOT_OWNED",)


@pytest.mark.parametrize(
    ("regenerate", "after_hours", "value"),
    [
        ({"amount": 5, "every": 2, "unit": "hours"}, 1.99, 10),
        ({"amount": 5, "every": 2, "unit": "hours"}, 2, 15),
        ({"amount": 5, "every": 2, "unit": "hours"}, 5, 20),
        ({"amount": 5, "every": 2, "unit": "hours"}, 1_000, 100),
        ({"amount": -1, "every": 30, "unit": "minutes"}, 2, 6),
        ({"amount": -1, "every": 1, "unit": "days"}, 24 * 30, 0),
    ],
)
def test_a_vital_regenerates_by_whole_spans_of_time(regenerate: dict[str, Any], after_hours: float, value: int) -> None:
    program = {
        "vitals": {"v": {"start": 0, "regenerate": regenerate}},
        "rules": {"r": {"on": "e", "rewards": [{"vital": "v", "value": 10}]}},
        "currencies": {"seen": {"kind": "currency"}},
    }
    program["rules"]["look"] = {
        "on": "look",
        "when": {"field": "vital.v", "op": "eq", "value": value},
        "award": {"seen": 1},
    }
    scenario = Scenario(program)
    minutes = int(after_hours * 60)
    at = f"2026-01-{5 + minutes // 1440:02d}T{minutes // 60 % 24:02d}:{minutes % 60:02d}Z"
    if minutes // 1440 > 20:
        at = "2026-02-16T00:00Z" if after_hours == 1_000 else "2026-02-04T00:00Z"
    done = effects(scenario, ("2026-01-05T00:00Z", "e", {}), (at, "look", {}))
    assert done[1] == ("seen +1 rule:look",)


@pytest.mark.parametrize(
    ("document", "path", "part"),
    [
        ({"vitals": {"v": {"start": 101}}}, "vitals.v", "start (101) must lie from min (0) to max (100)"),
        ({"vitals": {"v": {"atTop": {"then": 100}}}}, "vitals.v.atTop.then", "below max"),
        ({"vitals": {"v": {"atTop": {"rewards": [{"vital": "v", "value": 1}]}}}}, "vitals.v.atTop.rewards[0].vital", "may not move"),
        ({"vitals": {"v": {"gains": {"level": "xp", "perLevel": 1}}}}, "vitals.v.gains.level", "there is no currency with levels 'xp'"),
        ({"items": {"i": {"price": {"gold": 1}}}}, "items.i.price.gold", "there is no currency 'gold'"),
        ({"items": {"i": {"use": [{"vital": "v", "item": "i"}]}}}, "items.i.use[0]", "exactly one of currency, item, vital"),
        ({"items": {"i": {"use": [{"vital": "energi", "value": 1}]}}, "vitals": {"energy": {}}}, "items.i.use[0].vital", "did you mean 'energy'?"),
        ({"items": {"i": {"cooldown": {"duration": 1, "unit": "hours"}}}}, "items.i.cooldown", "without 'use'"),
        ({"items": {"i": {"level": {"xp": 2}}}}, "items.i.level.xp", "there is no currency with levels 'xp'"),
        ({"rules": {"r": {"on": "e"}}}, "rules.r", "lacks 'award' or 'rewards'"),
    ],
)  # fmt: skip
def test_an_error_of_a_vital_or_an_item_names_its_path(document: dict[str, Any], path: str, part: str) -> None:
    errors = [error for error in validate(document) if error.path == path]
    assert [part in error.message for error in errors[:1]] == [True], validate(document)
