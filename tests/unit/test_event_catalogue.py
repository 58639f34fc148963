"""The event catalogue: payloads are held against schemas whose cost is bounded, and upcast by steps that are data."""

import re
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questline.control.documents import read_document
from questline.control.inference import infer
from questline.engine.compile import Program, compile_program
from questline.engine.decide import decide_again
from questline.engine.validate import validate
from questline.model.event import Event
from questline.model.state import UserState
from questline.testing.scenario import Scenario

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs/how-to/event-schemas.md"


def compiled(**types: Any) -> Program:
    return compile_program({"eventTypes": types}, 1)


def read(program: Program, payload: dict[str, Any], version: str | None = None, type_: str = "order") -> str | None:
    return program.read(Event(UUID(int=1), 1, type_, "ada", payload, NOON, None, version))


def upcast(*steps: dict[str, Any], payload: dict[str, Any]) -> dict[str, Any]:
    versions = {"1": {"upcast": {"to": "2", "steps": list(steps)}}, "2": {}}
    assert read(compiled(order={"version": "2", "versions": versions}), payload, "1") is None
    return payload


ITEMS = {"items": [{"p": 1}, {"p": "2.5"}, 7]}

STEPS = [
    # step                                                                          payload                    becomes
    ({"op": "move", "from": "a", "to": "b"},                                        {"a": 1},                  {"b": 1}),
    ({"op": "move", "from": "a", "to": "b.c"},                                      {"a": 1},                  {"b": {"c": 1}}),
    ({"op": "move", "from": "a", "to": "a.b"},                                      {"a": 1},                  {"a": {"b": 1}}),
    ({"op": "move", "from": "a", "to": "b.c"},                                      {"a": 1, "b": 2},          {"a": 1, "b": 2}),
    ({"op": "move", "from": "x.y", "to": "y"},                                      {"x.y": 1, "x": {"y": 2}}, {"y": 1, "x": {"y": 2}}),
    ({"op": "move", "from": "a", "to": "b"},                                        {"c": 1},                  {"c": 1}),
    ({"op": "move", "from": "items.*.p", "to": "items.*.price"},                    ITEMS,                     {"items": [{"price": 1}, {"price": "2.5"}, 7]}),
    ({"op": "copy", "from": "a", "to": "b"},                                        {"a": 1},                  {"a": 1, "b": 1}),
    ({"op": "copy", "from": "a", "to": "b"},                                        {"a": {}},                 {"a": {}}),
    ({"op": "default", "path": "a", "value": 1},                                    {"a": None},               {"a": 1}),
    ({"op": "default", "path": "a", "value": 1},                                    {"a": 0},                  {"a": 0}),
    ({"op": "default", "path": "a.b", "value": 1},                                  {},                        {"a": {"b": 1}}),
    ({"op": "set", "path": "items.*.c", "value": "EUR"},                            {"items": [{}, 1]},        {"items": [{"c": "EUR"}, 1]}),
    ({"op": "drop", "path": "a.b"},                                                 {"a": {"b": 1, "c": 2}},   {"a": {"c": 2}}),
    ({"op": "map", "path": "a", "values": {"g": "gold", "1": True}},                {"a": "g"},                {"a": "gold"}),
    ({"op": "map", "path": "a", "values": {"g": "gold", "1": True}},                {"a": 1},                  {"a": True}),
    ({"op": "map", "path": "a", "values": {"g": "gold"}},                           {"a": "x"},                {"a": "x"}),
    ({"op": "map", "path": "a", "values": {"g": "gold"}, "otherwise": None},        {"a": "x"},                {"a": None}),
    ({"op": "times", "path": "a", "by": 100},                                       {"a": 1.1},                {"a": 110}),
    ({"op": "times", "path": "a", "by": 0.5},                                       {"a": 3},                  {"a": 1.5}),
    ({"op": "times", "path": "a", "by": 0.5, "round": "half_up"},                   {"a": 3},                  {"a": 2}),
    ({"op": "times", "path": "a", "by": 2},                                         {"a": True},               {"a": True}),
    ({"op": "times", "path": "a", "by": 2},                                         {"a": "3"},                {"a": "3"}),
    ({"op": "convert", "path": "a", "to": "number"},                                {"a": "2.5"},              {"a": 2.5}),
    ({"op": "convert", "path": "a", "to": "number"},                                {"a": "9" * 60},           {"a": "9" * 60}),
    ({"op": "convert", "path": "a", "to": "integer"},                               {"a": "3.0"},              {"a": 3}),
    ({"op": "convert", "path": "a", "to": "integer"},                               {"a": 3.5},                {"a": 3.5}),
    ({"op": "convert", "path": "a", "to": "string"},                                {"a": 7},                  {"a": "7"}),
    ({"op": "convert", "path": "a", "to": "boolean"},                               {"a": 1},                  {"a": True}),
]  # fmt: skip


@pytest.mark.parametrize(("step", "payload", "becomes"), STEPS)
def test_a_step_does_what_its_row_says(step: dict[str, Any], payload: dict[str, Any], becomes: dict[str, Any]) -> None:
    found = upcast(step, payload=payload)
    assert (found, {k: type(v) for k, v in found.items()}) == (becomes, {k: type(v) for k, v in becomes.items()})


def test_what_one_step_puts_into_many_places_is_not_one_object() -> None:
    steps = [
        {"op": "default", "path": "items.*.a.b", "value": 1},
        {"op": "move", "from": "items.*.a.b", "to": "items.*.n"},
    ]
    assert upcast(*steps, payload={"items": [{}, {"a": {"b": 2}}]}) == {"items": [{"a": {}, "n": 1}, {"a": {}, "n": 2}]}


V1 = {
    "schema": {"required": ["total"]},
    "upcast": {"to": 2, "steps": [{"op": "move", "from": "total", "to": "amount"}]},
}
V2 = {"schema": {"properties": {"amount": {"type": "integer"}, "at": {"format": "date-time"}}, "required": ["amount"]}}
ORDER = {"version": 2, "unversioned": 1, "versions": {"1": V1, "2": V2}}

READINGS = [
    # version  payload                                  violation
    (None,     {"total": 5},                            None),
    ("1",      {"total": 5},                            None),
    ("2",      {"amount": 5},                           None),
    ("1",      {"amount": 5},                           'payload: "total" is a required property'),
    (None,     {"total": "ada@example.org"},            'payload.amount: the value is not of type "integer" (once upcast from version 1 to 2)'),
    ("2",      {"amount": 5, "at": "yesterday"},        'payload.at: the value is not a "date-time"'),
    ("3",      {"amount": 5},                           "schemaVersion: the catalogue has no version '3' of this type"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "payload", "violation"), READINGS)
def test_a_payload_is_held_against_its_own_version_and_the_one_rules_read(
    version: str | None, payload: dict[str, Any], violation: str | None
) -> None:
    assert read(compiled(order=ORDER), payload, version) == violation


def test_a_type_without_a_schema_is_taken_with_any_payload() -> None:
    program = compiled(order=ORDER, other={"title": "Other", "trusted": True})
    assert [read(program, {"x": 1}, "9", type_) for type_ in ("other", "never-named")] == [None, None]


def test_rules_see_the_payload_as_upcast() -> None:
    rules = {"order": {"on": "order", "award": {"coins": {"field": "amount"}}}}
    document = {"currencies": {"coins": {"kind": "currency"}}, "rules": rules, "eventTypes": {"order": ORDER}}
    scenario = Scenario(document)
    assert [t.amount for t in scenario.play([(NOON, "order", {"total": 5})])[0].decision.transfers] == [5]


def test_what_is_decided_again_is_read_anew_each_time_and_stays_as_it_was_sent() -> None:
    rules = {"order": {"on": "order", "award": {"coins": {"field": "amount"}}}}
    steps = [{"op": "move", "from": "total", "to": "amount"}, {"op": "times", "path": "amount", "by": 2}]
    order = {"version": 2, "unversioned": 1, "versions": {"1": {"upcast": {"to": 2, "steps": steps}}, "2": {}}}
    document = {"currencies": {"coins": {"kind": "currency"}}, "rules": rules, "eventTypes": {"order": order}}
    program, event = compile_program(document, 1), Event(UUID(int=1), 1, "order", "ada", {"total": 5}, NOON)
    given = [decide_again(program, UserState(1, "ada"), event).transfers[0].amount for _ in range(2)]
    assert (given, event.payload) == ([10, 10], {"total": 5})


def test_a_list_longer_than_an_upcast_goes_through_is_a_violation() -> None:
    steps = [{"op": "set", "path": "items.*.a", "value": 1}]
    program = compiled(order={"version": "2", "versions": {"1": {"upcast": {"to": "2", "steps": steps}}, "2": {}}})
    found = read(program, {"items": [{} for _ in range(1_001)]}, "1")
    assert found == "payload.items.*: has more than the 1,000 elements that an upcast goes through"


def refs(count: int) -> dict[str, Any]:
    """Each definition refers to the next one twice: written out, 2 to the power of `count`."""
    defs = {f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(count)}
    return {"$defs": {**defs, f"n{count}": {}}, "$ref": "#/$defs/n0"}


HOSTILE = [
    # schema                                                                  what is said of it
    ({"$ref": "#"},                                                           "must not refer to itself"),
    ({"properties": {"a": {"items": {"$ref": "#"}}}},                         "must not refer to itself"),
    ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, "must not refer to itself"),
    ({"$ref": "http://169.254.169.254/latest"},                               "nothing is fetched"),
    ({"$ref": "file:///etc/passwd"},                                          "nothing is fetched"),
    ({"$ref": "#/$defs/none"},                                                "finds no schema"),
    ({"$id": "http://x/", "type": "object"},                                  "'$id' is no keyword"),
    ({"$dynamicRef": "#a"},                                                   "'$dynamicRef' is no keyword"),
    ({"$schema": "http://json-schema.org/draft-07/schema#"},                  "must be https://json-schema.org/draft/2020-12"),
    (refs(40),                                                                "has more than 1,000 schemas"),
    ({"properties": {f"p{i}": {} for i in range(1_001)}},                     "has more than 1,000 schemas"),
    ({"properties": {"a": {"pattern": r"(a+)+\1"}}},                          "linear-time kind"),
    ({"properties": {"a": {"pattern": "(?=a)b"}}},                            "linear-time kind"),
    ({"properties": {"a": {"pattern": "((a{100}){100}){100}"}}},              "linear-time kind"),
    ({"properties": {"a": {"pattern": "a" * 513}}},                           "longer than 512 characters"),
    ({"patternProperties": {"a" * 513: {}}},                                  "longer than 512 characters"),
    ({"propertes": {"a": {}}},                                                "did you mean 'properties'?"),
    ({"type": "objekt"},                                                      "not valid"),
    ({"items": 5},                                                            "must be a schema"),
    ({"properties": {"a": {"multipleOf": 0}}},                                "less than or equal to the minimum"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "said"), HOSTILE, ids=lambda value: str(value)[:40])
def test_a_schema_that_would_cost_too_much_or_fetch_is_refused(schema: dict[str, Any], said: str) -> None:
    errors = validate({"eventTypes": {"order": {"schema": schema}}})
    assert len(errors) == 1
    assert errors[0].path.startswith("eventTypes.order.schema")
    assert said in errors[0].message


def test_a_pattern_that_would_take_for_ever_elsewhere_takes_no_time() -> None:
    program = compiled(order={"schema": {"properties": {"a": {"pattern": "^(a+)+$"}}}})
    assert read(program, {"a": "a" * 100_000 + "b"}) == 'payload.a: the value does not match "^(a+)+$"'


def test_a_schema_may_use_the_words_that_programs_use_themselves() -> None:
    schema = {"properties": {"when": {"type": "string"}, "$ref": {"type": "number"}, "enum": {"const": {"$ref": "x"}}}}
    assert validate({"eventTypes": {"order": {"schema": schema}}}) == []


STEP: dict[str, Any] = {"op": "drop", "path": "a"}


def to(version: str, *steps: dict[str, Any]) -> dict[str, Any]:
    return {"upcast": {"to": version, "steps": list(steps)}}


MISTAKES = [
    # definition                                                                          path                                        message
    ({"schema": {}, "versions": {"1": {}}, "version": "1"},                               "eventTypes.e",                             "has both schema and versions"),
    ({"versions": {"1": {}}},                                                             "eventTypes.e",                             "lacks 'version'"),
    ({"version": "2", "versions": {"1": {}}},                                             "eventTypes.e.version",                     "there is no version '2'"),
    ({"version": "1", "unversioned": "0", "versions": {"1": {}}},                         "eventTypes.e.unversioned",                 "there is no version '0'"),
    ({"version": "2", "versions": {"1": {}, "2": {}}},                                    "eventTypes.e.versions.1",                  "do not lead to version '2'"),
    ({"version": "2", "versions": {"1": to("3"), "2": {}}},                               "eventTypes.e.versions.1.upcast.to",        "there is no version '3'"),
    ({"version": "3", "versions": {"1": to("2"), "2": to("1"), "3": {}}},                 "eventTypes.e.versions.1",                  "do not lead to version '3'"),
    ({"version": "2", "versions": {"1": to("2"), "2": to("1")}},                          "eventTypes.e.versions.1",                  "do not lead to version '2'"),
    ({"version": "2", "versions": {"1": to("2", {"op": "move", "from": "a"}), "2": {}}},  "eventTypes.e.versions.1.upcast.steps[0]",  "move lacks 'to'"),
    ({"version": "2", "versions": {"1": to("2", {**STEP, "by": 2}), "2": {}}},            "eventTypes.e.versions.1.upcast.steps[0]",  "drop takes no 'by'"),
    ({"version": "2", "versions": {"1": to("2", {"op": "drop", "path": "a..b"}), "2": {}}}, "eventTypes.e.versions.1.upcast.steps[0]", "has an empty step"),
    ({"version": "2", "versions": {"1": to("2", {"op": "drop", "path": "a.*"}), "2": {}}}, "eventTypes.e.versions.1.upcast.steps[0]", "must end in the name"),
    ({"version": "2", "versions": {"1": to("2", {"op": "move", "from": "a.*.b", "to": "c"}), "2": {}}}, "eventTypes.e.versions.1.upcast.steps[0]", "the same lists"),
    ({"version": "2", "versions": {"1": to("2", *[STEP] * 60), "0": to("2", *[STEP] * 60), "2": {}}}, "eventTypes.e", "more than 100 steps"),
    ({"version": "2", "versions": {"1": to("2", {"op": "run", "path": "a"}), "2": {}}},   "eventTypes.e.versions.1.upcast.steps[0].op", "is not one of move"),
    ({"version": "2", "versions": {"1": to("2", {"op": "set", "path": "a", "value": {}}), "2": {}}}, "eventTypes.e.versions.1.upcast.steps[0].value", "must be of type"),
]  # fmt: skip


@pytest.mark.parametrize(("definition", "path", "message"), MISTAKES)
def test_a_mistake_in_the_catalogue_is_told_with_its_path(definition: dict[str, Any], path: str, message: str) -> None:
    assert message in {e.path: e.message for e in validate({"eventTypes": {"e": definition}})}[path]


INFERENCES = [
    # payloads                                          schema
    ([{"a": 1}, {"a": 2}],                              {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}),
    ([{"a": 1}, {"a": 2.5}],                            {"type": "object", "required": ["a"], "properties": {"a": {"type": "number"}}}),
    ([{"a": 1}, {"a": None}, {"a": "x"}],               {"type": "object", "required": ["a"], "properties": {"a": {"type": ["null", "integer", "string"]}}}),
    ([{"a": True}, {"b": {"c": "x"}}],                  {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "object", "required": ["c"], "properties": {"c": {"type": "string"}}}}}),
    ([{"a": []}, {"a": [1, "x"]}],                      {"type": "object", "required": ["a"], "properties": {"a": {"type": "array", "items": {"type": ["integer", "string"]}}}}),
    ([{f"id-{n}": n for n in range(201)}],              {"type": "object"}),
    ([{}],                                              {"type": "object"}),
]  # fmt: skip


@pytest.mark.parametrize(("payloads", "schema"), INFERENCES, ids=lambda value: str(value)[:40])
def test_a_schema_is_inferred_of_what_payloads_have_in_common(payloads: list[dict[str, Any]], schema: Any) -> None:
    assert infer(payloads) == schema


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), min_size=1, max_size=3))
def test_whatever_payloads_are_they_match_the_schema_inferred_from_them(payloads: list[dict[str, Any]]) -> None:
    program = compiled(order={"schema": infer(payloads)})
    assert [read(program, payload) for payload in payloads] == [None] * len(payloads)


PATHS = st.sampled_from(["a", "b", "a.b", "items.*.a", "a.*.b", "b.c.d", "*.a"])
STEP_OF = st.one_of(
    st.builds(lambda f, t: {"op": "move", "from": f, "to": t}, st.sampled_from(["a", "a.b", "b"]), st.sampled_from(["a", "c.d", "a.b.c"])),
    st.builds(lambda p: {"op": "drop", "path": p}, PATHS),
    st.builds(lambda p: {"op": "set", "path": p, "value": 1}, PATHS),
    st.builds(lambda p: {"op": "default", "path": p, "value": "x"}, PATHS),
    st.builds(lambda p, to: {"op": "convert", "path": p, "to": to}, PATHS, st.sampled_from(["string", "number", "integer", "boolean"])),
    st.builds(lambda p: {"op": "times", "path": p, "by": 1.5, "round": "half_up"}, PATHS),
    st.builds(lambda p: {"op": "map", "path": p, "values": {"1": 2}, "otherwise": None}, PATHS),
)  # fmt: skip
PAYLOAD = st.dictionaries(st.sampled_from(["a", "b", "c", "items", "a.b"]), JSON, max_size=4)


@settings(max_examples=12, deadline=None)
@given(st.lists(STEP_OF, max_size=6), PAYLOAD)
def test_no_step_fails_whatever_it_finds_and_equal_payloads_become_equal(
    steps: list[Any], payload: dict[str, Any]
) -> None:
    versions = {"1": {"upcast": {"to": "2", "steps": steps}}, "2": {}}
    program = compiled(order={"version": "2", "versions": versions})
    twin = deepcopy(payload)
    assert (read(program, payload, "1"), read(program, twin, "1")) == (None, None)
    assert payload == twin


def test_commands_and_all_types_are_no_entries_of_the_catalogue() -> None:
    assert [e.path for e in validate({"eventTypes": {"*": {}, "$spend": {}}})] == ["eventTypes.$spend", "eventTypes.*"]


def test_the_programs_of_the_how_to_read_old_and_new_payloads_as_it_says() -> None:
    first, second = (
        read_document(b.encode()).value for b in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    )
    known = compile_program(first, 1).known_types
    assert "lesson.finished" in known
    assert read(compile_program(first, 1), {"lesson": "a", "minutes": 0}, type_="lesson.finished") is not None
    payload = {"lesson": "a", "seconds": 90}
    assert read(compile_program(second, 2), payload, type_="lesson.finished") is None
    assert payload == {"lesson": "a", "minutes": 2}
