"""One thing wrong with a program, as its author is told."""

from collections.abc import Iterable
from difflib import get_close_matches

import msgspec


class ProgramError(msgspec.Struct, frozen=True):
    """One thing wrong: `path` such as rules.hard-task.when.all[0].op, and a message that says how to mend it."""

    path: str
    message: str


def hint(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" where a known name is close, else nothing."""
    close = get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""
