"""Correlation ids: taken from a caller, or made, and given back in a header."""

from collections.abc import Iterable

from questline.model.limits import SHORT_TEXT_CHARS_MAX

Header = tuple[bytes, bytes]

NAME = b"x-correlation-id"


def given(headers: Iterable[Header]) -> str | None:
    """Return the correlation id a caller sent, cut to its length; None without one."""
    for name, value in headers:
        if name == NAME:
            return value.decode("latin-1")[:SHORT_TEXT_CHARS_MAX] or None
    return None


def echo(correlation: str) -> Header:
    """Return the header that gives an id back. An id from a body may hold line breaks, and a header must not."""
    shown = correlation if correlation.isprintable() else "".join(c if c.isprintable() else "?" for c in correlation)
    return NAME, shown.encode("latin-1", "replace")
