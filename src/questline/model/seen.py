"""What a process has seen of an event type since it last wrote that down."""

from collections import deque
from datetime import datetime
from uuid import UUID

import msgspec

TypeKey = tuple[int, str]  # project id, event type


class Seen(msgspec.Struct):
    """Events of one type; `samples` are the ids of the latest."""

    first_at: datetime
    last_at: datetime
    events: int
    samples: deque[UUID]
