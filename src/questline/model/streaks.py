"""What a user may choose of a streak, and what streaks that count days remember."""

from datetime import datetime

import msgspec


class StreakChoices(msgspec.Struct, frozen=True, gc=False):
    """Both lists begin with the oldest; what is in force is the last that has begun, or else what the streak says.

    `days` is a multirange text of active local days. `targets` are (from this period on, days); `day_starts` are (from this
    instant on, hours after midnight).
    """

    days: str = "{}"
    targets: tuple[tuple[int, int], ...] = ()
    day_starts: tuple[tuple[datetime, int], ...] = ()
