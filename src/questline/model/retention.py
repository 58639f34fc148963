"""For how long what kind of data is kept. Age is counted from receipt, which is in every id."""

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import msgspec


class Class(StrEnum):
    """What a retention is set for."""

    EVENTS = "events"  # and decisions, and events of visitors whom nobody names
    ATTEMPTS = "attempts"
    NOTICES = "notices"
    KEYS = "keys"


class Retention(msgspec.Struct, frozen=True):
    """For how many days each class is kept; 0: for ever. Attempts go with their events at the latest."""

    events: int = 0
    attempts: int = 0
    notices: int = 0
    keys: int = 0

    def days(self, class_: Class) -> int:
        """Return for how many days a class is kept; 0: for ever."""
        own: int = getattr(self, class_.value)
        if class_ is Class.ATTEMPTS and self.events:
            return min(own or self.events, self.events)
        return own

    def cutoff(self, class_: Class, now: datetime) -> datetime | None:
        """Return before when what was received is too old; None: nothing is."""
        days = self.days(class_)
        return now - timedelta(days=days) if days else None

    def first_month(self, class_: Class, now: datetime) -> date | None:
        """Return the first month of which anything is young enough, as its first day in UTC; None: all are kept."""
        cutoff = self.cutoff(class_, now)
        return None if cutoff is None else cutoff.astimezone(UTC).date().replace(day=1)

    def __bool__(self) -> bool:
        return any((self.events, self.attempts, self.notices, self.keys))


def month_after(first: date) -> date:
    """Return the first day of the month after one."""
    return (first + timedelta(days=31)).replace(day=1)


def beginning(first: date) -> datetime:
    """Return the moment a day begins in UTC."""
    return datetime(first.year, first.month, first.day, tzinfo=UTC)
