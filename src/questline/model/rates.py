"""How many requests a caller may make: by class of route, of a key and of its project."""

from enum import StrEnum
from typing import Annotated

import msgspec

from questline.model.limits import RATE_LIMIT_MAX


class RouteClass(StrEnum):
    INGEST = "ingest"  # counted in events, however many come in one request
    COMMAND = "command"  # spends, check-ins, claims: each waits for its outcome
    READ = "read"
    WRITE = "write"  # programs, keys, users: what changes the project


class RateLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second's worth of each class; 0: no limit."""

    ingest: int = 0
    command: int = 0
    read: int = 0
    write: int = 0

    def of(self, class_: RouteClass) -> int:
        """Return the limit of a class."""
        limit: int = getattr(self, class_.value)
        return limit


_Limit = Annotated[int, msgspec.Meta(ge=0, le=RATE_LIMIT_MAX)]


class RateOverrides(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A project's own limits, of each class where it has one; None: what the setting says."""

    ingest: _Limit | None = None
    command: _Limit | None = None
    read: _Limit | None = None
    write: _Limit | None = None

    def over(self, limits: RateLimits) -> RateLimits:
        """Return the limits that hold: these where they are given, else those below."""
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.structs.replace(limits, **given)


class ProjectRates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an operator grants one project: limits of each of its keys, and of all of it."""

    key: RateOverrides | None = None
    project: RateOverrides | None = None
