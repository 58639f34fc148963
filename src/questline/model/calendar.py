"""What a day is, and every other period, in a named zone. The only place that knows.

Periods are numbered, so that a streak is a set of integers: a day by its proleptic ordinal (`date.toordinal()`), a
week (Monday to Sunday, ISO 8601) by the ordinal of its Monday divided by 7, a month by year * 12 + month - 1, a year by
itself, an hour by day * 24 + local hour. Instants are aware datetimes.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

ZoneHistory = Sequence[tuple[datetime, str | None]]

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MINUTE = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PERIOD_KEY_NAMES = ("daily", "weekly", "monthly", "yearly", "all-time")


class UnknownZone(ValueError):
    """There is no time zone of that name; use an IANA name such as Europe/Berlin, or UTC."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no time zone {name!r}; use an IANA name such as Europe/Berlin, or UTC")


@lru_cache(maxsize=1024)
def zone(name: str) -> tzinfo:
    """Return the zone of an IANA name; raises UnknownZone."""
    if name == "UTC":
        return UTC  # the standard library's own, whose arithmetic is free
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError) as error:
        raise UnknownZone(name) from error


def zone_in_force(timezone: str | None, history: ZoneHistory, at: datetime, project_zone: str) -> tzinfo:
    """Return a user's zone at an instant: `history` holds (until, zone) pairs, oldest first, before `timezone`."""
    for until, name in history:
        if at < until:
            return zone(name or project_zone)
    return zone(timezone or project_zone)


def local(at: datetime, tz: tzinfo) -> datetime:
    """Return the instant on the zone's clocks."""
    return at if tz is at.tzinfo else at.astimezone(tz)


def period_number(every: str, at: datetime, tz: tzinfo, day_start_hours: int = 0) -> int:
    """Return the number of the period (hour, day, week, month, year or ever) that an instant lies in, in a zone.

    With `day_start_hours`, days begin so many hours after midnight, by the clocks on the wall; and weeks and months with them.
    """
    there = at if tz is at.tzinfo else at.astimezone(tz)
    if day_start_hours:
        there -= timedelta(hours=day_start_hours)
    if every == "day":
        return there.toordinal()
    if every == "week":
        return (there.toordinal() - 1) // 7
    if every == "month":
        return there.year * 12 + there.month - 1
    if every == "hour":
        return there.toordinal() * 24 + there.hour
    if every == "year":
        return there.year
    if every == "ever":
        return 0
    raise ValueError(f"unknown period {every!r}; use hour, day, week, month, year or ever")


def bucket_number(unit: str, at: datetime, tz: tzinfo) -> int:
    """Return the number of the bucket of a rolling window: minutes and hours since 1970, days as in `period_number`."""
    if unit == "days":
        return local(at, tz).toordinal()
    return (at - _EPOCH) // (_MINUTE if unit == "minutes" else _HOUR)


def period_end(every: str, number: int, tz: tzinfo) -> datetime:
    """Return the instant, in UTC, at which a numbered day, week or month ends in a zone: the next one's midnight."""
    if every == "day":
        first = date.fromordinal(number + 1)
    elif every == "week":
        first = date.fromordinal((number + 1) * 7 + 1)
    elif every == "month":
        first = date((number + 1) // 12, (number + 1) % 12 + 1, 1)
    else:
        raise ValueError(f"unknown period {every!r}; use day, week or month")
    return datetime(first.year, first.month, first.day, tzinfo=tz).astimezone(UTC)


def period_key(period: str, at: datetime, tz: tzinfo) -> str:
    """Return the key of a board's period: 2026-11-21, 2026-W47, 2026-11, 2026 or all-time."""
    if period == "all-time":
        return period
    there = at if tz is at.tzinfo else at.astimezone(tz)
    if period == "daily":
        return f"{there.year:04d}-{there.month:02d}-{there.day:02d}"
    if period == "weekly":
        year, week, _ = there.isocalendar()
        return f"{year:04d}-W{week:02d}"
    if period == "monthly":
        return f"{there.year:04d}-{there.month:02d}"
    if period == "yearly":
        return f"{there.year:04d}"
    raise ValueError(f"unknown period {period!r}; use one of {', '.join(PERIOD_KEY_NAMES)}")


def week_key(week: int) -> str:
    """Return the key of a week given by its number, such as 2026-W47."""
    year, number, _ = date.fromordinal(week * 7 + 1).isocalendar()
    return f"{year:04d}-W{number:02d}"


def week_of_key(key: str) -> int:
    """Return the number of the week that a key names; ValueError for a key that names none."""
    if period_of_key(key) != "weekly":
        raise ValueError(f"{key!r} is no week; write 2026-W47")
    return (date.fromisocalendar(int(key[:4]), int(key[6:]), 1).toordinal() - 1) // 7


def week_start(week: int, tz: tzinfo) -> datetime:
    """Return the instant at which a week, given by its number, begins on the zone's clocks, in UTC."""
    return _midnight(date.fromordinal(week * 7 + 1), tz)


def moment(text: str, tz: tzinfo) -> datetime:
    """Return the instant of a text, in UTC: a date is its first moment on the zone's clocks. ValueError for others."""
    try:
        if len(text) == 10:
            return _midnight(datetime.strptime(text, "%Y-%m-%d").date(), tz)  # noqa: DTZ007 - a date, no instant
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text!r} is no time; write a date such as 2026-12-01, or 2026-12-01T09:00:00+01:00")


def _midnight(day: date, tz: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=tz).astimezone(UTC)


def period_of_key(key: str) -> str:
    """Return which kind of period a key names; ValueError for a key that names none."""
    try:
        if key == "all-time":
            return key
        if len(key) == 10:
            date.fromisoformat(key)
            return "daily"
        if len(key) == 8 and key[4:6] == "-W":
            date.fromisocalendar(int(key[:4]), int(key[6:]), 1)
            return "weekly"
        if len(key) == 7 and key[4] == "-":
            date(int(key[:4]), int(key[5:]), 1)
            return "monthly"
        if len(key) == 4 and key.isascii() and key.isdigit():
            date(int(key), 1, 1)
            return "yearly"
    except ValueError as error:
        raise _bad_key(key) from error
    raise _bad_key(key)


def _bad_key(key: str) -> ValueError:
    return ValueError(f"{key!r} is no period key; use 2026-11-21, 2026-W47, 2026-11, 2026 or all-time")


@lru_cache(maxsize=65_536)
def day_exists(day: int, tz: tzinfo) -> bool:
    """Tell whether a local date, given by its ordinal, was ever on the zone's clocks (Apia had no 2011-12-30)."""
    if tz is UTC:
        return True
    noon = datetime.fromordinal(day).replace(hour=12, tzinfo=tz)
    return noon.astimezone(UTC).astimezone(tz).toordinal() == day


def skipped_days(left: Sequence[tuple[datetime, tzinfo]], new: tzinfo, day_start_hours: int = 0) -> tuple[int, ...]:
    """Return the dates a user's change of zone skips: before the new zone's date, after any that an old one has shown.

    `left` are the zones the user had, each with the instant at which it was left; the last one is left for `new`.
    """
    begun = max(period_number("day", at, tz, day_start_hours) for at, tz in left)
    return tuple(range(begun + 1, period_number("day", left[-1][0], new, day_start_hours)))


def period_of_day(every: str, day: int) -> int:
    """Return the number of the day, week or month that a date, given by its ordinal, lies in."""
    if every == "day":
        return day
    if every == "week":
        return (day - 1) // 7
    there = date.fromordinal(day)
    return there.year * 12 + there.month - 1


def first_day(every: str, period: int) -> int:
    """Return the ordinal of the first date of a day, week or month, given by its number."""
    if every == "day":
        return period
    return period * 7 + 1 if every == "week" else date(period // 12, period % 12 + 1, 1).toordinal()


def day_of(text: str) -> int:
    """Return the ordinal of a date such as 2026-07-01; raises ValueError."""
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        raise ValueError(f"{text!r} is no date; write it as 2026-07-01")
    return date.fromisoformat(text).toordinal()


def date_text(day: int) -> str:
    """Return a date, given by its ordinal, as text."""
    return date.fromordinal(day).isoformat()


def periods_begun(every: str, at: datetime, tz: tzinfo, hours: int, day_start_hours: int = 0) -> bool:
    """Tell whether an instant lies in the first `hours` hours of its local day, and that day begins its period."""
    there = local(at, tz) - timedelta(hours=day_start_hours)
    if there.hour >= hours:
        return False
    if every == "day":
        return True
    return there.weekday() == 0 if every == "week" else there.day == 1
