"""A process of ours with something done to it before it begins: a defect, other limits, or a clock that can be stepped."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from questline.model import limits

from . import carrier_defects
from .defects import DEFECTS, VARIABLE

LIMITS = "QL_HARNESS_LIMITS"  # as NAME=seconds,NAME=seconds
CLOCK = "QL_HARNESS_CLOCK"  # a file with the seconds by which the processes' clock is wrong


def set_limits(text: str) -> None:
    """Let times be shorter than in earnest, before anything has read them."""
    for part in text.split(","):
        name, _, seconds = part.partition("=")
        given = type(getattr(limits, name))(float(seconds))
        setattr(limits, name, given)


def step_clock(file: Path) -> None:
    """Let the processes read their clock as somebody steps it. Stopwatches, as on a real machine, go on evenly."""
    from questline import assembly_worker
    from questline.store import ids

    read, wait = time.time_ns, [0.0, 0.0]  # how wrong it was at the last look, and when that was

    def wrong_seconds() -> float:
        if time.monotonic() > wait[1]:
            wait[:] = [float(file.read_text() or 0), time.monotonic() + 0.01]
        return wait[0]

    class Stepped:
        @staticmethod
        def time_ns() -> int:
            return read() + int(wrong_seconds() * 1e9)

    # The API and the commands take it from there, when they are imported.
    assembly_worker.now = lambda: datetime.now(UTC) + timedelta(seconds=wrong_seconds())
    ids.time = Stepped  # type: ignore[assignment]


if __name__ == "__main__":
    if changed := os.environ.get(LIMITS):
        set_limits(changed)
    from questline.cli.main import app  # which reads the limits

    if defect := os.environ.get(VARIABLE):
        (DEFECTS | carrier_defects.DEFECTS)[defect]()
    if clock := os.environ.get(CLOCK):
        step_clock(Path(clock))
    app()
