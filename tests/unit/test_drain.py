"""When the crash harness calls what waits stuck."""

import pytest

from tests.harness.drain import Drain


@pytest.mark.parametrize(
    ("what", "waiting", "stuck_at"),
    [
        ("all is done in time",        [500, 400, 300, 200, 100, 0],                      None),
        ("it begins late, and fast",   [500] * 10 + [250, 0],                             None),
        ("nothing moves",              [500] * 20,                                        11),
        ("it stops on its way",        [500, 9, 8] + [7] * 20,                            14),
        ("a trickle",                  list(range(500, 0, -1)),                           16),
        ("a trickle of little",        list(range(15, 0, -1)),                            11),
        ("much takes its time",        list(range(9_000, 0, -150)),                       None),
        ("more comes while it drains", [100, 900, 600, 300, 50, 0],                      None),
    ],
)  # fmt: skip
def test_what_waits_is_stuck(what: str, waiting: list[int], stuck_at: int | None) -> None:
    drain = Drain(10.0, 0.0)
    found = (second for second, rows in enumerate(waiting) if rows and drain.is_stuck(rows, float(second)))
    assert next(found, None) == stuck_at
