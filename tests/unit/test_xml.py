"""XML becomes the same events as JSON would, in memory that is bounded; what could hurt its reader is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questline.ingest.envelope import Rejection
from questline.ingest.xml import Item, XmlReader, XmlRefused
from questline.model.limits import XML_DEPTH_MAX, XML_NAMES_MAX, XML_PIECE_BYTES

LIMIT = 2_000
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def read(document: str | bytes, cut: int = 1 << 20, limit: int = LIMIT) -> list[Any]:
    """Return the events as values, the rejections as messages, and last why the stream was refused, if it was."""
    content = document.encode() if isinstance(document, str) else document
    reader, found = XmlReader(limit), []
    try:
        for start in range(0, len(content), cut):
            found.extend(told(item) for item in reader.feed(content[start : start + cut]))
        found.extend(told(item) for item in reader.end())
    except XmlRefused as refused:
        found.append(("malformed" if refused.malformed else "unsafe", str(refused)))
    return found


def told(item: Item) -> Any:
    body = item[1]
    return body.message if isinstance(body, Rejection) else json.loads(body) if body else body


def payload(content: str) -> Any:
    [event] = read(f"<events><event><payload {XSI}>{content}</payload></event></events>")
    return event["payload"] if isinstance(event, dict) else event


@pytest.mark.parametrize(
    "document",
    [
        '<events><event type="t" userId="7" eventId="e-1"><payload><a>1</a></payload></event></events>',
        "<log><event><type>t</type><userId> 7 </userId><eventId>e-1</eventId><payload><a>1</a></payload></event></log>",
        '<event type="t" userId="7"><eventId>e-1</eventId><payload>{"a": 1}</payload></event>',
        """<?xml version="1.0" encoding="ISO-8859-1"?><?style x?><!-- all --><x:all xmlns:x="urn:x">
           <x:event type='t' eventId="e-1" payload='{"a": 1}'><x:userId><![CDATA[7]]></x:userId></x:event></x:all>""",
    ],
)
def test_attributes_and_child_elements_under_any_root_say_the_same(document: str) -> None:
    assert read(document) == [{"type": "t", "userId": "7", "eventId": "e-1", "payload": {"a": 1}}]


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("<n>5</n>", {"n": 5}), ("<n>-12.50</n>", {"n": -12.5}), ("<n>007</n>", {"n": "007"}), ("<n>+4</n>", {"n": "+4"}),
        ("<n>1e3</n>", {"n": "1e3"}), ("<n>1234567890123456</n>", {"n": "1234567890123456"}), ("<n>true</n>", {"n": True}),
        ("<n> hard </n>", {"n": "hard"}), ("<n/>", {"n": ""}), ("<n xsi:nil='true'/>", {"n": None}), ("", {}), (" ", {}),
        ("<n xsi:type='xs:string'>5</n>", {"n": "5"}), ("<n xsi:type='xs:long'>05</n>", {"n": 5}),
        ("<n xsi:type='xs:decimal'>5</n>", {"n": 5.0}), ("<n xsi:type='xs:boolean'>1</n>", {"n": True}),
        ("<n xsi:type='xs:int'>x</n>", "payload: <n> holds 'x', which is no int"),
        ("<n xsi:type='xs:double'>NaN</n>", "payload: <n> holds 'NaN', which is no double"),
        ("<a><b><c>x</c></b></a>", {"a": {"b": {"c": "x"}}}), ("<i>1</i><j>2</j><i>3</i>", {"i": [1, 3], "j": 2}),
        ("<i sku='A' qty='2'/>", {"i": {"sku": "A", "qty": 2}}), ("<p currency='EUR'>9.5</p>", {"p": {"currency": "EUR", "value": 9.5}}),
        ("<l xsi:type='soap:Array'><i>1</i></l>", {"l": [1]}), ("<l xsi:type='soap:Array'/>", {"l": []}),
        ("{", "payload: is no JSON: Input data was truncated"), ("x", "x"),
    ],
)  # fmt: skip
def test_a_payload_has_numbers_truth_values_objects_and_lists(content: str, value: Any) -> None:
    assert payload(content) == value


@pytest.mark.parametrize(
    ("document", "kind", "why"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><a><event type="&b;"/></a>', "unsafe", "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "unsafe", "document type"),
        ('<!DOCTYPE a [<!ENTITY % b SYSTEM "http://169.254.169.254/"> %b;]><a/>', "unsafe", "document type"),
        ('<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>', "unsafe", "document type"),
        ("<a>" * (XML_DEPTH_MAX + 1), "unsafe", "nested deeper than 128"),
        ("<a><event>" + "<b>" * XML_DEPTH_MAX, "unsafe", "nested deeper than 128"),
        ("<a " + "b" * (LIMIT + 2 * XML_PIECE_BYTES) + "='1'/>", "unsafe", "a tag is longer than 2000 bytes"),
        ("<a><!--" + "b" * (LIMIT + 2 * XML_PIECE_BYTES), "unsafe", "a tag is longer than 2000 bytes"),
        ('<?xml version="1.0" encoding="idna"?><a/>', "unsafe", "the encoding 'idna' is not taken"),
        ("<a>&b;</a>", "malformed", "line 1, column 4: undefined entity"),
        ("<a>\n<event></a>", "malformed", "line 2, column 10: mismatched tag"),
        ("<x:a/>", "malformed", "unbound prefix"), ("<a><event/>", "malformed", "no element found"),
        ("", "malformed", "no element found"), ("{}", "malformed", "not well-formed"), ("<a/><b/>", "malformed", "junk"),
    ],
)  # fmt: skip
def test_what_could_hurt_or_is_no_xml_stops_the_stream(document: str, kind: str, why: str) -> None:
    found = read(document)[-1]
    assert (found[0], why in found[1]) == (kind, True), found


def test_names_are_bounded_because_the_parser_remembers_them() -> None:
    for name in ("<n{}/>", "<a xmlns:p{}='u'/>", "<a n{}=''/>"):
        document = "<a><event>" + "".join(name.format(i) for i in range(XML_NAMES_MAX)) + "</event></a>"
        assert (
            read(document, limit=len(document))[-1][1]
            == "there are more than 5000 different names of elements and attributes"
        )


def test_one_bad_event_stops_no_other_and_each_has_its_line() -> None:
    long = "x" * LIMIT
    document = f"<a>\n<event type='1'/>\n<other><event/></other><event><payload>{long}</payload></event>\n<event type='2'/></a>"
    reader = XmlReader(LIMIT)
    assert [(line, told((line, body))) for line, body in [*reader.feed(document.encode()), *reader.end()]] == [
        (2, {"type": "1"}),
        (3, "<other> is no <event>: only those may stand below the root"),
        (3, None),
        (4, {"type": "2"}),
    ]


def test_events_before_a_fault_are_given() -> None:
    assert read("<a><event type='1'/><event type='2'/><b></a>")[:2] == [{"type": "1"}, {"type": "2"}]


def test_the_example_of_the_reference_is_what_the_reference_says() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/events.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```xml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    items = [{"sku": "A", "qty": 2}, {"sku": "B", "qty": 1}]
    assert read(example) == [
        {"type": "order", "userId": "ada", "eventId": "o-1",
         "payload": {"amount": 12.5, "paid": True, "sku": "1234", "item": items}},
        {"eventType": "visit", "subject": "bob", "payload": {"page": "/"}},
    ]  # fmt: skip


_TEXT = st.text(st.characters(exclude_characters="<&", exclude_categories=["Cs", "Cc"]), max_size=8)
_PIECES = st.sampled_from(
    ["<event>", "</event>", "<payload a='1'>", "</payload>", "<b>", "</b>", "<b/>", "&amp;", "<!--x-->"]
)


@settings(max_examples=30)
@given(st.lists(st.one_of(_PIECES, _TEXT), max_size=10), st.integers(1, 5))
def test_what_is_read_does_not_depend_on_where_chunks_end(pieces: list[str], cut: int) -> None:
    document = ("<a>" + "".join(pieces) + "</a>").encode()
    assert read(document, cut) == read(document)
