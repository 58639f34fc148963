"""Commands of users whom somebody holds for long: tried again for a while, so that nobody else's wait for them."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from questline.model.event import AcceptedEvent
from questline.model.limits import CATCH_UP_COMMANDS_MAX, HELD_AGAIN_SECONDS, HELD_SECONDS
from questline.store.users import UserKey

Caller = tuple[AcceptedEvent, "asyncio.Future[Any]"]


class UserHeld(Exception):
    """Another transaction holds the user for longer than one waits; nothing was stored. Try again under the same key."""


class Held:
    """Who was held a moment ago, and their commands."""

    def __init__(self, again: Callable[[Caller], None], gave_up: Callable[[Caller, Exception], None]) -> None:
        """`again` takes a command back that is to be tried again; `gave_up` one that is turned away, and why."""
        self._again = again
        self._gave_up = gave_up
        self._users: dict[UserKey, float] = {}  # and until when that is believed
        self._deadlines: dict[asyncio.Future[Any], float] = {}  # of callers who were here, until they are answered
        self._waiting: dict[asyncio.Future[Any], tuple[Caller, asyncio.TimerHandle]] = {}
        self._closing = False

    def known(self, keys: Collection[UserKey]) -> Collection[UserKey]:
        """Return whom of them nobody should wait for."""
        if not self._users:  # as it nearly always is
            return ()
        now = time.monotonic()
        return {key for key in keys if self._users.get(key, 0.0) > now}

    def found(self, asked: Collection[UserKey], locked: Collection[UserKey]) -> None:
        """Learn who of those that were asked for without waiting could be had."""
        now = time.monotonic()
        self._users = {key: until for key, until in self._users.items() if until > now}
        for key in asked:
            if key in locked:
                self._users.pop(key, None)
            else:
                self._users[key] = now + HELD_SECONDS

    def add(self, caller: Caller) -> None:
        """Let a command wait for its next try; it is turned away once it has been tried for long enough."""
        future, now = caller[1], time.monotonic()
        if future not in self._deadlines:
            self._deadlines[future] = now + HELD_SECONDS
            future.add_done_callback(lambda done: self._deadlines.pop(done, None))
        if self._closing or len(self._waiting) >= CATCH_UP_COMMANDS_MAX or self._deadlines[future] <= now:
            return self._gave_up(caller, UserHeld())
        timer = asyncio.get_running_loop().call_later(HELD_AGAIN_SECONDS, self._try_again, future)
        self._waiting[future] = caller, timer
        return None

    def close(self) -> None:
        """Turn away who waits."""
        self._closing = True
        for caller, timer in self._waiting.values():
            timer.cancel()
            self._gave_up(caller, UserHeld())
        self._waiting.clear()

    def _try_again(self, future: "asyncio.Future[Any]") -> None:
        caller, _ = self._waiting.pop(future)
        if future.done():  # its caller went away: nothing of it is stored
            self._gave_up(caller, UserHeld())
        else:
            self._again(caller)
