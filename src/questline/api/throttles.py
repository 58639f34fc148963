"""How often may be tried what can be guessed: logins, registrations, the operator's token."""

import math
from collections.abc import Mapping
from hashlib import sha256

import msgspec

from questline.api.problems import Problem
from questline.api.rates import headers_of
from questline.cache.buckets import Ask, Buckets, Limit
from questline.model.limits import (
    LOGINS_PER_MINUTE,
    MEMBER_REQUESTS_PER_MINUTE,
    OPERATOR_REQUESTS_PER_MINUTE,
    REGISTRATIONS_PER_MINUTE,
    USER_LOGINS_PER_MINUTE,
)

_MINUTE = 60


class Throttle:
    """So many tries a minute for each name (an address, an account); they come back one by one.

    `buckets` are its own: no flood of tries at something else makes a name forgotten.
    """

    def __init__(self, buckets: Buckets, per_minute: int, what: str) -> None:
        self._buckets = buckets
        self._limit = Limit(per_minute / _MINUTE, _MINUTE)
        self._what = what

    async def take(self, name: str) -> None:
        """Take a try; raises a 429 problem that says when the next one comes."""
        # By its hash, for a name may be of any length, and an email has no business in Redis.
        levels = await self._buckets.take([Ask(sha256(name.encode()).hexdigest(), self._limit)])
        if not levels[0].wait_seconds:
            return
        wait = max(1, math.ceil(levels[0].wait_seconds))
        headers = {name.decode(): value.decode() for name, value in headers_of([self._what], levels)}
        tries = math.floor(levels[0].limit.room)
        raise Problem(
            429,
            "rate-limited",
            f"{self._what} may be tried {tries} times a minute; come back in {wait} s",
            headers={"Retry-After": str(wait), **headers},
        )


class Throttles(msgspec.Struct, frozen=True):
    """The throttles of one process, by what may be tried."""

    operators: Throttle
    logins: Throttle
    requests_of_members: Throttle
    registrations: Throttle
    user_logins: Throttle


TRIES = {
    "operators": (OPERATOR_REQUESTS_PER_MINUTE, "X-Admin-Token"),
    "logins": (LOGINS_PER_MINUTE, "login"),
    "requests_of_members": (MEMBER_REQUESTS_PER_MINUTE, "management"),
    "registrations": (REGISTRATIONS_PER_MINUTE, "registration"),
    "user_logins": (USER_LOGINS_PER_MINUTE, "login"),
}
"""How many a minute, and what callers are told they are, by the name of the throttle."""


def throttles_over(buckets: Mapping[str, Buckets]) -> Throttles:
    """Return the throttles, each over the buckets of its name."""
    return Throttles(**{name: Throttle(buckets[name], per_minute, what) for name, (per_minute, what) in TRIES.items()})
