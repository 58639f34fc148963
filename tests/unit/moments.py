"""A history whose clock and line a test sets."""

from questline.store.history import Moment


class Moments:
    """Stands for `store.history.History`, known to the millisecond."""

    def __init__(self) -> None:
        self.line: str | None = "00000001"
        self.seconds = 1_000_000.0

    def now(self) -> Moment:
        return Moment(self.seconds, self.seconds)

    def doubt(self) -> None:
        self.line = None
