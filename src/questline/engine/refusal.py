"""How a mechanic says no."""

from questline.model.decision import Outcome
from questline.model.reasons import Reason


class Refusal(Exception):
    """The event has no effect: raised inside the engine, returned from it as a refused decision."""

    outcome = Outcome.REFUSED

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Held(Refusal):
    """The event has no effect until somebody approves it."""

    outcome = Outcome.HELD
