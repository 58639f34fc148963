"""Which event types a process applied, counted in memory until that is written down."""

from collections import deque
from collections.abc import Iterable

from questline.model.event import SYSTEM_PREFIX, WaitingEvent
from questline.model.limits import SEEN_SAMPLES_AT_ONCE, SEEN_TYPES_AT_ONCE
from questline.model.seen import Seen, TypeKey


class SeenTypes:
    """Counts in memory, within bounds; whoever writes it down takes it."""

    def __init__(self) -> None:
        self._seen: dict[TypeKey, Seen] = {}

    def note(self, events: Iterable[WaitingEvent]) -> None:
        """Count events that were applied. Commands are no types of the customer's."""
        seen = self._seen
        for event in events:
            known = seen.get((event.project_id, event.type))
            at = event.received_at
            if known is None:
                if event.type[0] == SYSTEM_PREFIX or len(seen) >= SEEN_TYPES_AT_ONCE:
                    continue
                samples = deque([event.id], SEEN_SAMPLES_AT_ONCE)
                seen[event.project_id, event.type] = Seen(at, at, 1, samples)
                continue
            known.events += 1
            known.samples.append(event.id)
            if at > known.last_at:
                known.last_at = at
            elif at < known.first_at:
                known.first_at = at

    def take(self) -> dict[TypeKey, Seen]:
        """Return what was counted, and begin anew."""
        taken, self._seen = self._seen, {}
        return taken
