"""What a day is: zones at the edges, clocks that jump, dates that never were."""

from datetime import UTC, date, datetime, timedelta

import pytest

from questline.model import calendar


def day(text: str, zone: str) -> str:
    at = datetime.fromisoformat(text)
    return date.fromordinal(calendar.period_number("day", at, calendar.zone(zone))).isoformat()


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        ("2026-01-01T10:30:00+00:00", "Pacific/Kiritimati", "2026-01-02"),  # UTC+14
        ("2026-01-01T11:30:00+00:00", "Etc/GMT+12", "2025-12-31"),  # UTC-12
        ("2026-01-01T09:59:59+00:00", "Pacific/Kiritimati", "2026-01-01"),
        ("2026-03-29T00:59:59+00:00", "Europe/Berlin", "2026-03-29"),  # the gap: 02:00 to 03:00 never is
        ("2026-03-28T22:59:59+00:00", "Europe/Berlin", "2026-03-28"),
        ("2026-10-25T00:30:00+00:00", "Europe/Berlin", "2026-10-25"),  # 02:30 for the first time
        ("2026-10-25T01:30:00+00:00", "Europe/Berlin", "2026-10-25"),  # and for the second
        ("2011-12-30T09:59:59+00:00", "Pacific/Apia", "2011-12-29"),
        ("2011-12-30T10:00:00+00:00", "Pacific/Apia", "2011-12-31"),  # there was no 30 December
        ("2024-02-29T12:00:00+00:00", "UTC", "2024-02-29"),
        ("2026-01-01T01:00:00+02:00", "UTC", "2025-12-31"),  # the offset sent says nothing of the user's day
    ],
)
def test_a_day_is_a_day_on_the_clocks_of_the_zone(at: str, zone: str, expected: str) -> None:
    assert day(at, zone) == expected


def test_a_date_the_zone_skipped_never_existed() -> None:
    apia = calendar.zone("Pacific/Apia")
    assert not calendar.day_exists(date(2011, 12, 30).toordinal(), apia)
    assert calendar.day_exists(date(2011, 12, 29).toordinal(), apia)
    assert calendar.day_exists(date(2026, 3, 29).toordinal(), calendar.zone("Europe/Berlin"))


def test_a_move_across_the_date_line_skips_the_dates_between() -> None:
    at = datetime(2026, 1, 1, 10, 30, tzinfo=UTC)
    west, east = calendar.zone("Etc/GMT+12"), calendar.zone("Pacific/Kiritimati")
    assert calendar.skipped_days([(at, west)], east) == (date(2026, 1, 1).toordinal(),)
    assert calendar.skipped_days([(at, east)], west) == ()
    assert calendar.skipped_days([(at, east), (at, west)], east) == ()  # east has shown the date after it


@pytest.mark.parametrize(
    ("at", "keys"),
    [
        ("2026-11-21T12:00:00+00:00", ["2026-11-21", "2026-W47", "2026-11", "2026", "all-time"]),
        ("2021-01-03T12:00:00+00:00", ["2021-01-03", "2020-W53", "2021-01", "2021", "all-time"]),
        ("2024-12-30T12:00:00+00:00", ["2024-12-30", "2025-W01", "2024-12", "2024", "all-time"]),
    ],
)
def test_period_keys_follow_iso_8601(at: str, keys: list[str]) -> None:
    when = datetime.fromisoformat(at)
    found = [calendar.period_key(period, when, UTC) for period in calendar.PERIOD_KEY_NAMES]
    assert found == keys
    assert [calendar.period_of_key(key) for key in keys] == list(calendar.PERIOD_KEY_NAMES)


@pytest.mark.parametrize("key", ["", "2026-13", "2026-W54", "2026-02-30", "20x6", "alltime", "2026-11-21T"])
def test_a_key_that_names_no_period_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="no period key"):
        calendar.period_of_key(key)


def test_weeks_and_months_are_numbered_without_gaps() -> None:
    start = datetime(2020, 1, 1, 12, tzinfo=UTC)
    days = [start + timedelta(days=n) for n in range(800)]
    weeks = sorted({calendar.period_number("week", d, UTC) for d in days})
    months = sorted({calendar.period_number("month", d, UTC) for d in days})
    assert weeks == list(range(weeks[0], weeks[-1] + 1))
    assert months == list(range(months[0], months[-1] + 1))
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    numbers = {calendar.period_number("week", monday + timedelta(days=n), UTC) for n in range(7)}
    assert len(numbers) == 1


def test_the_zone_in_force_when_the_event_happened_counts() -> None:
    history = ((datetime(2026, 1, 1, tzinfo=UTC), None), (datetime(2026, 2, 1, tzinfo=UTC), "Asia/Tokyo"))

    def at(month: int) -> str:
        return str(
            calendar.zone_in_force("Europe/Paris", history, datetime(2026, month, 15, tzinfo=UTC), "America/Lima")
        )

    before = calendar.zone_in_force("Europe/Paris", history, datetime(2025, 1, 1, tzinfo=UTC), "America/Lima")
    assert (str(before), at(1), at(3)) == ("America/Lima", "Asia/Tokyo", "Europe/Paris")


def test_an_unknown_zone_says_what_to_use() -> None:
    with pytest.raises(calendar.UnknownZone, match="IANA name"):
        calendar.zone("Mars/Olympus")


ZONES = (
    "UTC",
    "America/Santiago",
    "Asia/Beirut",
    "Africa/Cairo",
    "Pacific/Chatham",
    "America/Havana",
)  # clocks that jump at midnight


@pytest.mark.parametrize("zone", ZONES)
def test_a_week_begins_where_the_one_before_ends(zone: str) -> None:
    tz = calendar.zone(zone)
    first = calendar.period_number("week", datetime(2015, 1, 5, 12, tzinfo=UTC), tz)
    for week in range(first, first + 700):
        start = calendar.week_start(week, tz)
        found = [calendar.period_number("week", at, tz) for at in (start - timedelta(seconds=1), start)]
        assert found == [week - 1, week]
        assert calendar.week_of_key(calendar.week_key(week)) == week


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-12-01", "UTC", "2026-12-01T00:00:00+00:00"),
        ("2026-12-01", "Asia/Tokyo", "2026-11-30T15:00:00+00:00"),
        ("2026-09-06", "America/Santiago", "2026-09-06T04:00:00+00:00"),  # midnight is skipped: the day begins at one
        ("2026-12-01T09:00:00+01:00", "Asia/Tokyo", "2026-12-01T08:00:00+00:00"),
        ("2026-12-01T09:00:00Z", "Asia/Tokyo", "2026-12-01T09:00:00+00:00"),
    ],
)
def test_a_moment_is_a_dates_first_or_an_instant(text: str, zone: str, expected: str) -> None:
    assert calendar.moment(text, calendar.zone(zone)).isoformat() == expected


@pytest.mark.parametrize("text", ["2026-12-01T09:00:00", "2026-13-01", "tomorrow", "0001-01-01", "2026-W47-1"])
def test_what_is_no_moment_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write a date such as"):
        calendar.moment(text, calendar.zone("Asia/Tokyo"))
