"""Who may set what of a user's profile: servers all of it, pages and users nothing that the program reads."""

from typing import Any
from uuid import UUID

import pytest
from scenario import COINS, START

from questline.engine.compile import compile_program
from questline.engine.decide import decide_again
from questline.model.event import BY_USER, PUBLISHABLE, Event
from questline.testing.scenario import Scenario

SERVER = None
PROGRAM: dict[str, Any] = {
    "currencies": COINS,
    "metrics": {"n": {"on": "e", "count": True, "when": {"not": {"field": "user.bot", "op": "exists"}}}},
    "segments": {"local": {"when": {"any": [{"field": "user.address.city", "op": "eq", "value": "Ulm"}]}}},
    "rules": {
        "gold": {"on": "e", "when": {"field": "user.plan", "op": "eq", "value": "gold"}, "award": {"coins": 1_000}},
        "off": {"on": "e", "enabled": False, "award": {"coins": {"field": "user.rate"}}},
        "times": {"on": "e", "award": {"coins": 1}, "multiply": [{"field": "user.tier", "map": {"gold": 2}}]},
        "own": {"on": "e", "when": {"field": "payload.user.nick", "op": "exists"}, "award": {"coins": 1}},
        "who": {"on": "e", "when": {"field": "user.id", "op": "eq", "value": "ada"}, "award": {"coins": 1}},
    },
    "quests": {
        "q": {"title": "Q", "steps": [{"id": "s", "on": "e", "when": {"field": "user.level", "op": "gt", "value": 1}}]}
    },
}
READ = {"bot", "address", "plan", "rate", "tier", "level"}
ALL = dict.fromkeys(READ, "x")
BEFORE = {"attributes": {"plan": "free"}, "displayName": "Ada", "timezone": "UTC"}
NEW = {"displayName": "HACKED", "timezone": "Pacific/Kiritimati"}


def update(scenario: Scenario, sent_with: str | None, payload: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the profile after an update, and what its decision says."""
    id_ = UUID(int=100 + len(scenario._applied))
    decision = scenario.apply(Event(id_, 1, "$profile_update", "ada", payload, START, sent_with=sent_with))
    state = scenario.user()
    assert decision.reason == "PROCESSED"
    return {
        "attributes": dict(state.attributes),
        "displayName": state.display_name,
        "timezone": state.timezone,
    }, decision.message


def test_the_attributes_that_a_program_reads_are_found_wherever_it_reads_them() -> None:
    assert compile_program(PROGRAM, 1).attributes_read == READ


ATTRIBUTES = [
    # sent by      attributes                        become                          named as left out
    (SERVER,      {"plan": "gold", "nick": "a"},     {"plan": "gold", "nick": "a"},  []),
    (PUBLISHABLE, {"plan": "gold", "nick": "a"},     {"plan": "free", "nick": "a"},  ["plan"]),
    (BY_USER,     {"plan": "gold", "nick": "a"},     {"plan": "free", "nick": "a"},  ["plan"]),
    (PUBLISHABLE, {"plan": None},                    {"plan": "free"},               ["plan"]),
    (SERVER,      {"plan": None},                    {},                             []),
    (PUBLISHABLE, {"plan": "free", "id": "bob"},     {"plan": "free", "id": "bob"},  []),
    (PUBLISHABLE, {"tier": "gold", "address": {}},   {"plan": "free"},               ["address", "tier"]),
]  # fmt: skip


@pytest.mark.parametrize(("sent_with", "attributes", "become", "left_out"), ATTRIBUTES)
def test_who_is_not_trusted_sets_no_attribute_that_the_program_reads_and_is_told_so(
    sent_with: str | None, attributes: dict[str, Any], become: dict[str, Any], left_out: list[str]
) -> None:
    scenario = Scenario(PROGRAM)
    update(scenario, SERVER, BEFORE)
    profile, message = update(scenario, sent_with, {"attributes": attributes})
    assert profile["attributes"] == become
    assert message.startswith(f"attributes {', '.join(left_out)}: left out" if left_out else "")
    assert bool(message) == bool(left_out)


OWN = [
    # sent by      before   sets?
    (SERVER,      BEFORE,  True),
    (BY_USER,     BEFORE,  True),
    (PUBLISHABLE, BEFORE,  False),
    (PUBLISHABLE, {},      True),
]  # fmt: skip


@pytest.mark.parametrize(("sent_with", "before", "sets"), OWN)
def test_a_publishable_key_gives_a_name_and_a_zone_to_who_has_none_and_changes_nobodys(
    sent_with: str | None, before: dict[str, Any], sets: bool
) -> None:
    scenario = Scenario(PROGRAM)
    update(scenario, SERVER, before)
    profile, message = update(scenario, sent_with, NEW)
    assert {name: profile[name] for name in NEW} == (NEW if sets else {name: BEFORE[name] for name in NEW})
    assert [name in message for name in NEW] == [not sets] * 2


def test_a_message_about_many_attributes_is_short() -> None:
    leaves = [{"field": f"user.a{n}", "op": "exists"} for n in range(100)]
    program = {"currencies": COINS, "rules": {"r": {"on": "e", "when": {"all": leaves}, "award": {"coins": 1}}}}
    _, message = update(Scenario(program), PUBLISHABLE, {"attributes": {f"a{n}": n for n in range(100)}})
    assert "and others" in message
    assert len(message) < 300


def test_what_was_left_out_is_left_out_when_the_event_is_decided_again() -> None:
    scenario = Scenario(PROGRAM)
    event = Event(UUID(int=1), 1, "$profile_update", "ada", {"attributes": ALL}, START, sent_with=PUBLISHABLE)
    decision = decide_again(scenario.program, scenario.user(), event)
    assert decision.profile is not None
    assert decision.profile.attributes == {}
