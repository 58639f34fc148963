"""Rolling windows of a metric, and progress that customers report: what requirements look at beside the metric itself."""

from datetime import datetime
from decimal import Decimal

import msgspec

from questline.model.items import Span

Bucket = tuple[int, int | Decimal]  # number of the minute, hour or day; what was counted or summed in it


class WindowState(msgspec.Struct, frozen=True, gc=False):
    """Buckets with activity, the oldest first."""

    buckets: tuple[Bucket, ...]


class ProgressState(msgspec.Struct, frozen=True, gc=False):
    """How far the customer says a user is with an achievement, as of `at`."""

    value: int | Decimal
    at: datetime


def window_name(metric: str, span: Span) -> str:
    """Return the name of the record that holds a metric's buckets of a span's unit."""
    return f"{span.unit}:{metric}"
