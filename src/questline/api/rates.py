"""Rate limits: of a key and of its project by class of route, of an address where nobody says who they are."""

import asyncio
import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from random import uniform

from questline.api.addresses import Addresses
from questline.api.asgi import Header, Scope
from questline.api.notes import Notes
from questline.api.problems import Problem
from questline.cache.buckets import Ask, Buckets, Level, Limit
from questline.model.limits import RATE_OVERRIDES_REMEMBERED, REFUSALS_HELD_MAX, REFUSALS_HELD_SECONDS
from questline.model.principal import Principal, Project
from questline.model.rates import ProjectRates, RateLimits, RouteClass

Bounds = dict[RouteClass, tuple[tuple[str, Limit], ...]]

_UNITS = {
    RouteClass.INGEST: "events",
    RouteClass.COMMAND: "commands",
    RouteClass.READ: "reads",
    RouteClass.WRITE: "writes",
}


class Rates:
    """The limits of one process. Whatever is refused is answered a little late, so that who insists slows down.

    `buckets` count keys and projects; `strangers` count addresses, apart, so that no flood of them makes a key's
    bucket forgotten.
    """

    def __init__(
        self, buckets: Buckets, strangers: Buckets, addresses: Addresses, *, key: RateLimits, project: RateLimits,
        address: int, seconds: int,
    ) -> None:  # fmt: skip
        self._buckets = buckets
        self._strangers = strangers
        self._addresses = addresses
        self._key = key
        self._project = project
        self._address = Limit(address, seconds)
        self._seconds = seconds
        self._usual = self._bounds(None)
        self._overridden = lru_cache(RATE_OVERRIDES_REMEMBERED)(self._bounds)
        self._held = 0
        self.in_use = any(self._usual.values())  # or a project has limits of its own: answers tell of them

    async def take(self, principal: Principal, class_: RouteClass, notes: Notes | None, tokens: int = 1) -> None:
        """Take tokens of a key and of its project for a request; raises a 429 problem that says when to come back.

        0 tokens only ask whether there are any.
        """
        bounds = self._bounds_of(principal.project)[class_]
        if not bounds:
            return
        asks = [Ask(_bucket(name, principal, class_), limit, tokens) for name, limit in bounds]
        levels = await self._buckets.take(asks)
        if any(level.wait_seconds for level in levels):
            if notes is not None:
                notes.rates = ()  # the problem tells
            raise await self._refused([name for name, _ in bounds], levels, _UNITS[class_])
        if notes is not None:
            notes.rates = headers_of([name for name, _ in bounds], levels)

    async def pace(self, principal: Principal, events: int) -> None:
        """Take tokens for events of a stream, waiting until they are there: its sender is slowed down, not refused."""
        bounds = self._bounds_of(principal.project)[RouteClass.INGEST]
        asks = [Ask(_bucket(name, principal, RouteClass.INGEST), limit, events) for name, limit in bounds]
        while asks:
            wait_seconds = max(level.wait_seconds for level in await self._buckets.take(asks))
            if not wait_seconds:
                return
            await asyncio.sleep(wait_seconds)

    async def stranger(self, scope: Scope, tokens: int = 1) -> None:
        """Take tokens of the address of a request that names no caller, once; raises a 429 problem."""
        state = scope.setdefault("state", {})
        if state.get("counted"):
            return
        state["counted"] = bool(tokens)
        if self._address.per_second:
            await self._take_one("address", self._addresses.of(scope), self._address, tokens, self._strangers)

    async def _take_one(self, name: str, bucket: Hashable, limit: Limit, tokens: int, buckets: Buckets) -> None:
        levels = await buckets.take([Ask(bucket, limit, tokens)])
        if levels[0].wait_seconds:
            raise await self._refused([name], levels, "requests")

    def _bounds_of(self, project: Project) -> Bounds:
        if project.rates is None:
            return self._usual
        self.in_use = True
        return self._overridden(project.rates)

    def _bounds(self, rates: ProjectRates | None) -> Bounds:
        key, project = self._key, self._project
        if rates is not None:
            key = rates.key.over(key) if rates.key else key
            project = rates.project.over(project) if rates.project else project
        return {
            class_: tuple(
                (name, Limit(limits.of(class_), self._seconds))
                for name, limits in (("key", key), ("project", project))
                if limits.of(class_)
            )
            for class_ in RouteClass
        }

    async def _refused(self, names: Sequence[str], levels: Sequence[Level], unit: str) -> Problem:
        position = max(range(len(levels)), key=lambda n: levels[n].wait_seconds)
        name, level = names[position], levels[position]
        seconds = max(1, math.ceil(level.wait_seconds))
        if self._held < REFUSALS_HELD_MAX:
            self._held += 1
            try:
                await asyncio.sleep(REFUSALS_HELD_SECONDS * uniform(0.5, 1.5))  # else they come back all at once
            finally:
                self._held -= 1
        detail = f"this {name} may make {level.limit.per_second:g} {unit} a second; come back in {seconds} s"
        told = {name.decode(): value.decode() for name, value in headers_of(names, levels)}
        return Problem(429, "rate-limited", detail, headers={"Retry-After": str(seconds), **told})


def headers_of(names: Sequence[str], levels: Sequence[Level]) -> tuple[Header, ...]:
    """Return the headers of draft-ietf-httpapi-ratelimit-headers: what may be made in a window, and what is left.

    `q` tokens in a window of `w` seconds; `r` are left, and the bucket is full, or has what was wanted, in `t` seconds.
    """
    policies = [
        f'"{name}";q={math.floor(level.limit.room)};w={level.limit.seconds}'
        for name, level in zip(names, levels, strict=True)
    ]
    left = [
        f'"{name}";r={max(0, math.floor(level.left))};t={math.ceil(_until(level))}'
        for name, level in zip(names, levels, strict=True)
    ]
    return (b"ratelimit-policy", ", ".join(policies).encode()), (b"ratelimit", ", ".join(left).encode())


def _until(level: Level) -> float:
    return level.wait_seconds or (level.limit.room - level.left) / level.limit.per_second


def _bucket(name: str, principal: Principal, class_: RouteClass) -> Hashable:
    return principal.key_id if name == "key" else principal.project.id, class_
