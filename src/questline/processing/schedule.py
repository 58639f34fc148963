"""When an event that failed is tried again."""

import random
from collections.abc import Sequence

import msgspec


class Schedule(msgspec.Struct, frozen=True):
    """The waits after the first try, the second and so on; each is changed at random by up to `jitter_percent`."""

    seconds: Sequence[int]
    jitter_percent: int

    def wait_after(self, failed_tries: int) -> float | None:
        """Return how many seconds to wait after so many failed tries; None: there is no further try."""
        if failed_tries > len(self.seconds):
            return None
        share = self.jitter_percent / 100
        return self.seconds[failed_tries - 1] * random.uniform(1 - share, 1 + share)
