"""Which rows of a user's state an event can touch: what the store must load before the engine may decide."""

import msgspec

from questline.model.records import RecordKey


class Footprint(msgspec.Struct, frozen=True, gc=False):
    """Names, known per event type when a program is compiled (chains of consequences included)."""

    currencies: frozenset[str] = frozenset()
    metrics: frozenset[str] = frozenset()
    streaks: frozenset[str] = frozenset()
    achievements: frozenset[str] = frozenset()
    limited_rules: frozenset[str] = frozenset()
    distinct_metrics: frozenset[str] = frozenset()
    records: frozenset[RecordKey] = frozenset()
    stocks: frozenset[str] = frozenset()  # shared by all users of the project
