"""The header `traceparent` of W3C Trace Context, read and written: https://www.w3.org/TR/trace-context/#traceparent-header."""

import re

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def parse(text: str) -> tuple[int, int, int] | None:
    """Return (trace id, span id, flags); None for what is no traceparent. Later versions are read as far as this one goes."""
    found = _FORM.fullmatch(text.strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5] is not None):
        return None
    trace_id, span_id = int(found[2], 16), int(found[3], 16)
    return (trace_id, span_id, int(found[4], 16)) if trace_id and span_id else None


def render(trace_id: int, span_id: int, flags: int) -> str:
    """Return the header's value."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags & 1:02x}"
