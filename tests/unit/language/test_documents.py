"""Program documents as text: what YAML and JSON mean, where each thing stands, and what is refused before it costs."""

from contextlib import suppress
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questline.control.documents import DocumentUnreadable, read_document, write_yaml
from questline.model.limits import PROGRAM_BYTES_MAX

SCALARS: list[tuple[str, Any]] = [
    ("on", "on"), ("yes", "yes"), ("no", "no"), ("off", "off"), ("y", "y"),
    ("true", True), ("True", True), ("FALSE", False), ("tRue", "tRue"),
    ("null", None), ("~", None), ("", None), ("NULL", None), ("nil", "nil"),
    ("12:30", "12:30"), ("190:20:30", "190:20:30"), ("2026-01-01", "2026-01-01"), ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
    ("40", 40), ("-3", -3), ("+5", 5), ("010", 10), ("0o10", 8), ("0x1f", 31), ("0b11", "0b11"), ("1_000", "1_000"),
    ("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("-1.5e-3", -0.0015), ("1e", "1e"), (".", "."), ("-", [None]),
    ("'40'", "40"), ('"true"', "true"), ("=", "="), ("<<", "<<"), ("a b", "a b"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS, ids=[text or "nothing" for text, _ in SCALARS])
def test_a_bare_word_means_what_yaml_1_2_says(text: str, value: Any) -> None:
    found = read_document(f"a:\n  {text}\n".encode()).value["a"]
    assert (found, type(found)) == (value, type(value))


def test_keys_are_texts_as_they_are_written() -> None:
    assert read_document(b"on: 1\n7: 2\ntrue: 3\n010: 4\n<<: 5").value == {
        "on": 1,
        "7": 2,
        "true": 3,
        "010": 4,
        "<<": 5,
    }


REFUSED = [
    ("a: 1\na: 2", "line 2: 'a' stands twice"),
    ("7: 1\n'7': 2", "line 2: '7' stands twice"),
    ('{"a": 1,\n "b": {"c": 1,\n "c": 2}}', "line 3: 'c' stands twice"),
    ("a: &x [1]\nb: *x", "line 1: aliases"),
    ("a: !!python/object:os.system x", "line 1: tags"),
    ("a: !!set {x, y}", "line 1: tags"),
    ("? [a, b]\n: 1", "line 1: a key must be a text"),
    ("a: 1\n---\nb: 2", "line 2: a second document"),
    ("a: [1, 2", "line 1: "),
    ("a:\n\t- b", "line 2: "),
    ("a: 1\nb: .nan", "line 2: .nan is no number"),
    ("a: -.inf", "line 1: -.inf is no number"),
    ("a: 1e999", "line 1: 1e999 is no number"),
    ("a: 0x" + "f" * 5_000, "line 1: a number has more than"),
    ('a: "\\ud800"', "line 1: "),
    ("a: \0", "is no YAML"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:20] for text, _ in REFUSED])
def test_what_is_no_document_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(DocumentUnreadable) as refused:
        read_document(text.encode())
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{\n"a":\n}', "line 3: the body is no JSON"),
        (b'{"a": 1,\n "a": 2}', "line 2: 'a' stands twice"),
        (b"a: 1", "line 1: the body is no JSON"),
        (b"\xff", "the body is no JSON"),
        (b"[" * 100_000, "nested deeper"),
    ],
)
def test_where_json_is_asked_for_yaml_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(DocumentUnreadable, match=message):
        read_document(text, yaml_allowed=False)


def test_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(DocumentUnreadable, match="no UTF-8"):
        read_document(b"\xff\xfe")


YAML = """\
rules:
  hard-task:
    on: task
    when:
      all:
        - {field: x, op: eq, value: 1}
        - field: y
          op: gt
    award:
      Builder XP: 40
"""

JSON = """{
  "rules": {
    "a.b": {
      "on": [
        "x{:", "y"
      ], "award": {"coins":
        5}
    }
  }
}"""


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        (YAML, "", 1),
        (YAML, "rules", 1),
        (YAML, "rules.hard-task", 2),
        (YAML, "rules.hard-task.when.all[0].op", 6),
        (YAML, "rules.hard-task.when.all[1].op", 8),
        (YAML, "rules.hard-task.when.all[1].value", 7),  # missing: the leaf it is missing from
        (YAML, "rules.hard-task.award.Builder XP", 10),
        (YAML, "boards.none", 1),
        (JSON, "rules", 2),
        (JSON, "rules.a.b", 3),
        (JSON, "rules.a.b.on[1]", 5),
        (JSON, "rules.a.b.award.coins", 6),
    ],
)
def test_a_path_is_found_on_its_line(text: str, path: str, line: int) -> None:
    assert read_document(text.encode()).line_of(path) == line


def test_an_empty_text_is_the_empty_program() -> None:
    for text in (b"", b"# nothing yet\n", b"---\n", b"\xef\xbb\xbf"):
        assert read_document(text).value == {}


HOSTILE = {
    "lists": b"[" * PROGRAM_BYTES_MAX,
    "mappings": b"{a: " * (PROGRAM_BYTES_MAX // 4),
    "blocks": b"- " * (PROGRAM_BYTES_MAX // 2),
    "keys": b"a: {" + b"b," * (PROGRAM_BYTES_MAX // 3) + b"}",
    "digits": b"a: " + b"9" * (PROGRAM_BYTES_MAX - 3),
    "values": b"[" + b"1," * (PROGRAM_BYTES_MAX // 2 - 2) + b"1]",
    "laughs": b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (i + 1, i + 1, i, i) for i in range(97, 121)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_text_made_to_cost_is_refused_soon(name: str) -> None:
    begun = process_time()
    with pytest.raises(DocumentUnreadable):
        read_document(HOSTILE[name])
    assert (
        process_time() - begun < 30
    )  # of a processor, and below one on a free machine; without bounds it takes minutes


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.from_regex(r"[-+]?[0-9.eExo_:]{1,6}", fullmatch=True),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), plain, max_size=4))
def test_what_is_written_as_yaml_reads_as_it_was(document: dict[str, Any]) -> None:
    assert read_document(write_yaml(document)).value == document


@given(st.binary(max_size=60) | st.text(alphabet="{}[]:,-?&*!|>'\"%@#\n ab1.", max_size=40).map(str.encode))
def test_no_bytes_raise_anything_but_the_refusal(text: bytes) -> None:
    for yaml_allowed in (True, False):
        with suppress(DocumentUnreadable):
            read_document(text, yaml_allowed=yaml_allowed)
