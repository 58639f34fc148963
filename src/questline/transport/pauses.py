"""How long lanes, relays and services wait: until told to stop, or for a time that grows with each fault."""

import asyncio
import random
from collections.abc import Callable

from questline.model.limits import RETRY_BACKOFF_SECONDS_MAX


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait for so long, or until `stop` is set."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def later(seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
    """Call something in so long, if nobody cancels it."""
    return asyncio.get_running_loop().call_later(seconds, call)


def backoff_seconds(tries: int, longest: float = RETRY_BACKOFF_SECONDS_MAX) -> float:
    """Return a wait that doubles with each try up to a bound, with full jitter, so that lanes do not march in step."""
    return random.uniform(0.02, min(0.1 * 2.0 ** min(tries, 30), longest))
