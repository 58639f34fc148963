"""Messages to receivers outside: what becomes of them, and what a receiver's answer means."""

from enum import StrEnum


class DeliveryStatus(StrEnum):
    PENDING = "PENDING"
    DELIVERED = "DELIVERED"  # the receiver has taken it
    FAILED = "FAILED"  # it refused, or was tried for too long
    CANCELLED = "CANCELLED"  # what it asked for was settled by hand meanwhile


class Result(StrEnum):
    """What one try led to. The first four are what an answer means."""

    DONE = "done"
    TAKEN = "taken"  # the receiver says later what became of it
    REFUSED = "refused"  # and would refuse it again
    AGAIN = "again"
    GIVEN_UP = "given_up"  # it was tried often enough
    CANCELLED = "cancelled"  # nobody wants it any more


_TAKEN = 202
TAKEN_ANSWER = str(_TAKEN)  # of a message that is DELIVERED: what became of it is not known yet
_PASSING = {408, 425, 429}  # of the 4xx, these say: not now


def meaning_of(status: int | None) -> Result:
    """Return what an answer's status says; None: there was no answer."""
    if status is None or status in _PASSING:
        return Result.AGAIN
    if 200 <= status < 300:
        return Result.TAKEN if status == _TAKEN else Result.DONE
    return Result.REFUSED if 400 <= status < 500 else Result.AGAIN
