"""When an event happened, as clients write it: RFC 3339, or milliseconds since 1970 as a number or as digits."""

import re
from datetime import UTC, datetime, time, timedelta

from questline.model.limits import OCCURRED_YEARS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_MS_MIN, _EPOCH_MS_MAX = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999
_LEAP = re.compile(r"(.*[T ]\d\d:\d\d):60(?:\.\d+)?(Z|[+-]\d\d:?\d\d)")
_BEFORE_LEAP = time(23, 59, 59, 999_999)


class NoInstant(ValueError):
    """The value says no time that can be understood; the message says what would."""


def instant(value: object) -> datetime:
    """Return the time in UTC; raises NoInstant.

    Fractions of a second are cut to microseconds. A leap second (23:59:60) is taken as the last microsecond before it,
    because no clock of ours can show it.
    """
    if type(value) is str:
        if value.isdecimal() and len(value) < 20:
            return _of_epoch(int(value))
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            at = _unusual(value)
        zone = at.tzinfo
        if zone is UTC:
            return at
        if zone is None:
            raise NoInstant(f"{value!r} lacks an offset; end it with Z or +hh:mm")
        try:
            return at.astimezone(UTC)
        except OverflowError:
            raise NoInstant(f"{value!r} is out of range") from None
    if type(value) is int or type(value) is float:
        return _of_epoch(value)
    raise NoInstant("must be an RFC 3339 time, such as 2026-11-21T12:00:00Z, or milliseconds since 1970")


def plausible(at: datetime) -> datetime:
    """Return the time of an event; raises NoInstant for one that no event has, as when a client left a field unset."""
    first, last = OCCURRED_YEARS
    if at.year < first:
        raise NoInstant(f"{at.isoformat()} lies before {first}: it looks like a zero time, of a field that was not set")
    if at.year > last:
        raise NoInstant(f"{at.isoformat()} lies after {last}")
    return at


def _unusual(text: str) -> datetime:
    """Read small letters and leap seconds, which the standard library does not."""
    upper = text.upper()
    leap = _LEAP.fullmatch(upper)
    try:
        at = datetime.fromisoformat(f"{leap[1]}:59.999999{leap[2]}" if leap else upper)
        if not leap or at.astimezone(UTC).time() == _BEFORE_LEAP:  # they come at the end of a day of UTC alone
            return at
    except (ValueError, OverflowError):
        pass
    shown = text if len(text) <= 40 else text[:40] + "…"
    raise NoInstant(f"{shown!r} is no RFC 3339 time, such as 2026-11-21T12:00:00Z")


def _of_epoch(ms: float) -> datetime:
    if not _EPOCH_MS_MIN <= ms <= _EPOCH_MS_MAX:
        raise NoInstant(f"{ms} is out of range for milliseconds since 1970")
    return _EPOCH + timedelta(milliseconds=ms)
