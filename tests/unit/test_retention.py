"""For how long what is kept: the arithmetic."""

from datetime import UTC, date, datetime

import pytest

from questline.model.retention import Class, Retention, month_after

NOW = datetime(2026, 3, 31, 23, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kept",                            "class_",       "days", "first"),
    [
        (Retention(),                       Class.EVENTS,   0,      None),
        (Retention(events=30),              Class.EVENTS,   30,     date(2026, 3, 1)),
        (Retention(events=31),              Class.EVENTS,   31,     date(2026, 2, 1)),
        (Retention(events=365),             Class.ATTEMPTS, 365,    date(2025, 3, 1)),
        (Retention(events=365, attempts=7), Class.ATTEMPTS, 7,      date(2026, 3, 1)),
        (Retention(events=7, attempts=365), Class.ATTEMPTS, 7,      date(2026, 3, 1)),
        (Retention(events=7),               Class.KEYS,     0,      None),
        (Retention(attempts=7),             Class.EVENTS,   0,      None),
        (Retention(notices=90),             Class.NOTICES,  90,     date(2025, 12, 1)),
    ],
)  # fmt: skip
def test_what_is_kept_for_how_long(kept: Retention, class_: Class, days: int, first: date | None) -> None:
    assert (kept.days(class_), kept.first_month(class_, NOW)) == (days, first)


@pytest.mark.parametrize(("first", "next_"), [((2026, 1), (2026, 2)), ((2026, 2), (2026, 3)), ((2026, 12), (2027, 1))])
def test_the_month_after(first: tuple[int, int], next_: tuple[int, int]) -> None:
    assert month_after(date(*first, 1)) == date(*next_, 1)
