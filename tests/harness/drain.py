"""When what waits after a run counts as stuck: nothing of it moves, or it takes longer than anybody should wait for so much."""

import math

DRAINED_PER_SECOND_MIN = (
    100.0  # rows and records; one worker applies some thousand, and a tenth of them on a machine that is busy
)


class Drain:
    """Is told again and again how much waits, and tells when that has lasted too long."""

    def __init__(self, seconds: float, at: float) -> None:
        """`seconds` for those who were hit to begin again; `at` is of a stopwatch, as below."""
        self._seconds = seconds
        self._began = at
        self._most = 0
        self._least, self._since = math.inf, at

    def is_stuck(self, waiting: int, at: float) -> bool:
        """Tell whether nothing has moved for so long, or whether it should all be done by now."""
        self._most = max(self._most, waiting)
        if waiting < self._least:
            self._least, self._since = waiting, at
        return at - self._since > self._seconds or at - self._began > self.seconds_max

    @property
    def seconds_max(self) -> float:
        """How long all that waited may take."""
        return self._seconds + self._most / DRAINED_PER_SECOND_MIN
