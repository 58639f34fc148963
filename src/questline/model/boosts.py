"""Boosts and segments: timed multipliers of what rules award, for all, for some, or for one user."""

from datetime import datetime, timedelta
from typing import Literal

import msgspec

from questline.model.definition import Condition, Definition, Instant
from questline.model.items import Span


class Segment(Definition, frozen=True, rename="camel", omit_defaults=True):
    """The users for whom a condition on their state holds."""

    when: Condition
    title: str = ""


class Boost(Definition, frozen=True, rename="camel", omit_defaults=True):
    """What rules award is multiplied by `by`, from `from` to before `until`, by the event's own time.

    With `segment` for its users only. With `lasts` it is personal: a reward gives it to one user, for so long.
    """

    by: float
    currencies: tuple[str, ...] = ()  # none: every one
    rules: tuple[str, ...] = ()  # none: every one
    from_: Instant | None = msgspec.field(default=None, name="from")
    until: Instant | None = None
    segment: str | None = None
    lasts: Span | None = None
    title: str = ""


class Boosting(Definition, frozen=True, rename="camel", omit_defaults=True):
    """How boosts that hold together stack: their product, 1 + the sum of what each adds, or the highest; `max` bounds it."""

    stack: Literal["multiply", "add", "highest"] = "multiply"
    max: float | None = None


Held = tuple[datetime, datetime]  # from, and before


class BoostState(msgspec.Struct, frozen=True, gc=False):
    """A personal boost holds from `since` to before `until`, and held in the `earlier` spans, the oldest first.

    `since` is None where only `until` was kept, as it was at first; then it is taken to have begun as long ago as it lasts.
    """

    until: datetime
    since: datetime | None = None
    earlier: tuple[Held, ...] = ()

    def spans(self, lasts: timedelta) -> tuple[Held, ...]:
        """Return every span that is known, the oldest first."""
        since = self.until - lasts if self.since is None else self.since
        return (*self.earlier, (since, self.until))
