"""When an event happened: every way clients write it."""

from datetime import UTC, datetime

import pytest

from questline.ingest.instants import NoInstant, instant

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2026-11-21T12:00:00Z", NOON),
        ("2026-11-21t12:00:00z", NOON),
        ("2026-11-21 12:00:00Z", NOON),
        ("2026-11-21T12:00:00+00:00", NOON),
        ("2026-11-21T12:00:00-00:00", NOON),
        ("2026-11-21T17:30:00+05:30", NOON),
        ("2026-11-21T00:00:00-12:00", NOON),
        ("2026-11-22T02:00:00+14:00", NOON),
        ("2026-11-21T12:00:00.0Z", NOON),
        ("2026-11-21T12:00:00.000000000000Z", NOON),
        ("2026-11-21T12:00:00.1234567891Z", NOON.replace(microsecond=123456)),
        ("2026-12-31T23:59:60Z", datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2027-01-01T05:29:60.5+05:30", datetime(2026, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        (1795262400000, NOON),
        (1795262400000.0, NOON),
        ("1795262400000", NOON),
        (1795262400123, NOON.replace(microsecond=123000)),
        (1795262400000.5, NOON.replace(microsecond=500)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-1000, datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_and_given_in_utc(value: object, at: datetime) -> None:
    read = instant(value)
    assert (read, read.tzinfo) == (at, UTC)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "no RFC 3339 time"),
        ("yesterday", "no RFC 3339 time"),
        ("2026-11-21", "lacks an offset"),
        ("2026-11-21T12:00:00", "lacks an offset"),
        ("2026-13-01T00:00:00Z", "no RFC 3339 time"),
        ("2025-02-29T00:00:00Z", "no RFC 3339 time"),
        ("2026-11-21T24:00:01Z", "no RFC 3339 time"),
        ("2026-11-21T12:30:60Z", "no RFC 3339 time"),
        ("2026-11-21T12:00:00+24:00", "no RFC 3339 time"),
        ("0001-01-01T00:00:00+14:00", "out of range"),
        ("9999-12-31T23:59:59-14:00", "out of range"),
        ("9" * 5000, "no RFC 3339 time"),
        (1e300, "out of range"),
        (10**30, "out of range"),
        (True, "must be"),
        ([], "must be"),
        ({}, "must be"),
    ],
)
def test_what_is_no_time_is_refused_with_what_is_wrong(value: object, message: str) -> None:
    with pytest.raises(NoInstant, match=message):
        instant(value)
