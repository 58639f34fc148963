"""How many items a batch has, found out before they are kept: a few KB of gzip may hold millions of them."""

from typing import Any

import msgspec

from questline.api.problems import Problem

_COMMAS_UNCOUNTED = 250_000  # no batch of fewer has more items than some 20 MB hold for a moment


class _Item:
    """Stands for an item while they are counted."""


_ITEM = _Item()


class _Batch(msgspec.Struct):
    events: list[_Item] | None = None
    batch: list[_Item] | None = None


class _TooMany(Exception):
    """There are more items than may be; the rest of them is not looked at."""


def check_count(body: bytes, most: int, what: str = "events") -> None:
    """Raise a 413 problem where a batch has so many items that even counting them as they are read would cost memory.

    Most batches are too small for that, which their size or their commas say. What is no batch is left to who reads it.
    """
    if len(body) <= 2 * _COMMAS_UNCOUNTED or body.count(b",") <= max(_COMMAS_UNCOUNTED, most):
        return
    seen = 0

    def count(_: type, __: Any) -> _Item:
        nonlocal seen
        seen += 1
        if seen > most:
            raise _TooMany
        return _ITEM

    form: Any = list[_Item] if body.lstrip()[:1] == b"[" else _Batch
    try:
        msgspec.json.Decoder(form, dec_hook=count).decode(body)
    except _TooMany:
        raise too_many(most, "more", what) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return


def too_many(most: int, found: int | str, what: str = "events") -> Problem:
    """The batch has too many items."""
    return Problem(413, "batch-too-large", f"a batch may hold {most} {what}; this one has {found}", limit=most)
