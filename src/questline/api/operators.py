"""The operator's token: compared in constant time, and guessed at slowly."""

import hmac
import time
from collections import OrderedDict
from hashlib import sha256

from questline.api.problems import Problem
from questline.model.limits import ADMIN_TOKEN_CHARS_MIN, OPERATOR_REQUESTS_PER_MINUTE, THROTTLED_MAX


class Throttle:
    """So many tries a minute for each name (an address, an account), in this process; they come back one by one."""

    def __init__(self, per_minute: int, what: str) -> None:
        self._per_minute = per_minute
        self._what = what
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tries, as of

    def take(self, name: str) -> None:
        """Take a try; raises a 429 problem that says when the next one comes."""
        now = time.monotonic()
        left, at = self._left.pop(name, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - at) * self._per_minute / 60)
        allowed = left >= 1
        self._left[name] = (left - 1 if allowed else left, now)
        if len(self._left) > THROTTLED_MAX:
            self._left.popitem(last=False)
        if not allowed:
            wait = max(1, -int(-(1 - left) * 60 // self._per_minute))
            raise Problem(
                429,
                "rate-limited",
                f"{self._what} may be tried {self._per_minute} times a minute; come back in {wait} s",
                headers={
                    "Retry-After": str(wait),
                    "RateLimit-Policy": f'"{self._what}";q={self._per_minute};w=60',
                    "RateLimit": f'"{self._what}";r=0;t={wait}',
                },
            )


class Operators:
    """Knows the operator's token, by its hash alone."""

    def __init__(self, token: str) -> None:
        self._hash = sha256(token.encode()).digest() if token else None
        self._throttle = Throttle(OPERATOR_REQUESTS_PER_MINUTE, "X-Admin-Token")

    def is_operator(self, given: str | None, address: str) -> bool:
        """Tell whether a token is the operator's, in constant time; without a token set, nobody is. Raises 429 problems."""
        if given is None:
            return False
        self._throttle.take(address)
        return self._hash is not None and hmac.compare_digest(sha256(given.encode()).digest(), self._hash)


def weakness_of(token: str) -> str | None:
    """Say why a token cannot guard a server; None for one that can."""
    if not token:
        return (
            "is not set: operators need it to create projects; choose one, such as the output of `openssl rand -hex 32`"
        )
    if len(token) < ADMIN_TOKEN_CHARS_MIN:
        return f"is shorter than {ADMIN_TOKEN_CHARS_MIN} characters: choose one, such as the output of `openssl rand -hex 32`"
    return None
