"""Rate limits: a token bucket a key, in this process."""

import time
from collections import OrderedDict
from uuid import UUID

from questline.api.problems import Problem
from questline.model.limits import KEY_CACHE_ENTRIES_MAX


class RateLimiter:
    """`per_second` tokens flow into each bucket, up to `burst`; 0 per second means no limit."""

    def __init__(self, per_second: int, burst: int) -> None:
        self._rate = per_second
        self._burst = float(burst or 2 * per_second)
        self._buckets: OrderedDict[UUID, tuple[float, float]] = OrderedDict()  # tokens, as of

    def take(self, key_id: UUID, tokens: int = 1) -> None:
        """Take tokens for a request; raises a 429 problem that says when to come back."""
        if not self._rate:
            return
        now = time.monotonic()
        left, at = self._buckets.pop(key_id, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        allowed = left >= min(tokens, self._burst)
        self._buckets[key_id] = (left - tokens if allowed else left, now)
        if len(self._buckets) > KEY_CACHE_ENTRIES_MAX:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = max(1, -int(-(min(tokens, self._burst) - left) // self._rate))
            raise Problem(
                429,
                "rate-limited",
                f"this key may make {self._rate} requests a second; come back in {wait} s",
                headers={
                    "Retry-After": str(wait),
                    "RateLimit-Policy": f'"key";q={self._rate};w=1',
                    "RateLimit": f'"key";r=0;t={wait}',
                },
            )
