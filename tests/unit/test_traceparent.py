"""traceparent, by the rules of W3C Trace Context."""

import pytest

from questline.telemetry.traceparent import parse, render

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_what_is_written_is_what_was_read() -> None:
    text = f"00-{TRACE}-{SPAN}-01"
    found = parse(text)
    assert found == (int(TRACE, 16), int(SPAN, 16), 1)
    assert render(*found) == text


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        (f"00-{TRACE}-{SPAN}-00", True),
        (f" 00-{TRACE}-{SPAN}-01 ", True),
        (f"01-{TRACE}-{SPAN}-01-later", True),  # a later version may say more
        (f"00-{TRACE}-{SPAN}-01-later", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
        ("00-" + "4" * 100_000, False),
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace(text: str, is_read: bool) -> None:
    assert (parse(text) is not None) is is_read
