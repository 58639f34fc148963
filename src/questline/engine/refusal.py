"""How a mechanic says no."""

from questline.model.reasons import Reason


class Refusal(Exception):
    """The event has no effect: raised inside the engine, returned from it as a refused decision."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
