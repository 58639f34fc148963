"""The composition root: the only place where implementations are chosen. It builds; everyone else receives."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry

from questline.api.addresses import Addresses
from questline.api.app import build
from questline.api.auth import Find, KeyRing
from questline.api.hot.body import Room, Rooms
from questline.api.hot.commands import CommandHandlers
from questline.api.hot.events import EventHandlers
from questline.api.hot.items import Items
from questline.api.hot.router import App, HotRouter
from questline.api.hot.segment import SegmentHandlers
from questline.api.hot.spend import SpendHandler
from questline.api.hot.stream import StreamHandler
from questline.api.keyed import Once
from questline.api.mints import Mints
from questline.api.operators import Operators, weakness_of
from questline.api.rates import Rates
from questline.api.services import Services
from questline.api.throttles import TRIES, throttles_over
from questline.api.traced import Traced
from questline.assembly_caches import BoardsRead, close_redis, open_redis
from questline.assembly_kafka import open_log
from questline.assembly_worker import build_sealer, build_tracer, build_worker, new_registry, now
from questline.cache.buckets import Buckets, MemoryBuckets
from questline.control import keys as control_keys
from questline.control.end_users import Lifetimes, Logins
from questline.control.passwords import Passwords
from questline.control.user_tokens import UserTokens
from questline.ingest.accept import Acceptor
from questline.ingest.accepting import Accepting
from questline.ingest.anonymous import Visitors
from questline.ingest.envelope import Normaliser
from questline.ingest.log_first import LogAcceptor
from questline.ingest.meters import IngestMeters
from questline.ingest.signatures import Signatures
from questline.model.limits import (
    BACKLOG_CHECKED_SECONDS,
    KEY_USE_NOTED_SECONDS,
    PROCESS_ANNOUNCED_SECONDS,
    PROCESS_LIVES_SECONDS,
    RATE_BUCKETS_MAX,
    REQUEST_BODY_BYTES_MAX,
    SHUTDOWN_SECONDS_MAX,
    START_SECONDS_MAX,
    STRANGERS_BODIES_BYTES_MAX,
)
from questline.processing.commands import Commands
from questline.processing.event_types import EventTypes
from questline.processing.meters import ProcessingMeters
from questline.processing.programs import ProgramCache
from questline.processing.rankings import Rankings
from questline.processing.seen import SeenTypes
from questline.settings import CannotStart, SettingError, Settings, variable_of
from questline.store import api_processes, keys, outbox
from questline.store.faults import NOT_LET_IN, TRANSIENT_FAULTS
from questline.store.ids import EventIds
from questline.store.listener import ACCESS, Listener
from questline.store.pool import Pool, close_pool, open_pool
from questline.store.sealing import keys_of
from questline.telemetry.projects import ProjectEvents
from questline.telemetry.tracing import Tracer

if TYPE_CHECKING:
    from questline.assembly_shared import Shared
    from questline.cache.redis import RedisClient
    from questline.cache.redis_buckets import RedisBuckets

__all__ = ["build_sealer", "build_tokens", "build_tracer", "build_worker", "new_registry", "now", "running_api"]

log = structlog.get_logger(__name__)

_REACH_AGAIN_SECONDS = 0.25


def _names(listed: str) -> frozenset[str]:
    return frozenset(name.strip() for name in listed.split(",") if name.strip())


@asynccontextmanager
async def running_api(settings: Settings, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[App]:
    """Yield the API, started; on leaving, what it took is finished. Raises CannotStart.

    Limits of requests fill by the clock, in seconds.
    """
    if not settings.dev and (weakness := weakness_of(settings.admin_token)):
        raise CannotStart(f"{variable_of('admin_token')} {weakness}")
    pool = await _reach(settings)
    registry = new_registry()
    redis = await _redis(settings, registry, pool)
    ids = EventIds()
    tracer = build_tracer(settings, "questline-api")
    projects = ProjectEvents(registry)
    meters = ProcessingMeters(registry, projects)
    shared = None if redis is None else _shared(redis, pool, clock)
    acceptor = await _acceptor(settings, pool, IngestMeters(registry, projects), tracer, shared)
    seen = SeenTypes()
    copied = None if redis is None else BoardsRead(redis, registry)
    commands = Commands(settings.dsn, now, ids.new, meters, seen, tracer, None if copied is None else copied.send)
    types = EventTypes(settings.dsn, seen)
    counted = {name: _buckets(shared, name, clock) for name in ("callers", "strangers", *TRIES)}
    throttles = throttles_over(counted)
    addresses = Addresses(settings.trusted_proxies)
    rates = _rates(settings, counted["callers"], counted["strangers"], addresses)
    tokens, passwords = build_tokens(settings), Passwords()
    ring, listener = _ring(settings, pool, shared, rates, tokens)
    normaliser = Normaliser(ids.new, now, settings.event_future_seconds, settings.event_bytes_max)
    sealer = build_sealer(settings)
    lifetimes = Lifetimes(settings.user_token_seconds, settings.user_session_seconds)
    services = Services(
        settings, pool, ring, rates, addresses, Operators(settings.admin_token, throttles.operators),
        throttles, passwords, sealer, tokens, Logins(pool, passwords, tokens, now, lifetimes),
        normaliser, commands, ProgramCache(), now, ids.new, registry,
        Once(pool, settings.pool_connections), Mints(), asyncio.Lock(), None if redis is None else lambda: redis.usable,
        None if copied is None else copied.ranks,
    )  # fmt: skip
    rest = cast(App, build(services))  # Litestar types ASGI more narrowly than it is
    rooms = Rooms(Room(max(settings.accept_queue_bytes, REQUEST_BODY_BYTES_MAX)), Room(STRANGERS_BODIES_BYTES_MAX))
    items = Items(normaliser, acceptor, settings.event_bytes_max)
    events = EventHandlers(
        ring, rates, normaliser, acceptor, items, commands, Signatures(sealer, now, settings.signature_tolerance_seconds),
        settings.event_bytes_max, settings.batch_events_max, rooms.known,
    )  # fmt: skip
    stream = StreamHandler(events, items, rates, settings.event_bytes_max, settings.stream_bytes_max)
    acceptor.start()
    commands.start()
    process = ids.new()
    await _share_limits(pool, process, counted.values())
    beside = [
        asyncio.create_task(_note_key_use(ring, pool)),
        asyncio.create_task(listener.run()),
        asyncio.create_task(types.run(asyncio.Event())),
        asyncio.create_task(_keep_sharing(pool, process, counted.values())),
        asyncio.create_task(Rankings(settings.dsn, projects).run(asyncio.Event())),
    ]
    beside += [] if shared is None else shared.begin()
    if settings.backlog_events_max:
        beside.append(asyncio.create_task(_watch_backlog(acceptor, pool, settings.backlog_events_max)))
    try:
        router = HotRouter(
            rest, events, stream, SpendHandler(events, normaliser, commands), CommandHandlers(events, normaliser, commands),
            rates, SegmentHandlers(events, items, Visitors(pool, acceptor, now), settings.batch_events_max, rooms),
            rooms.strangers,
        )  # fmt: skip
        yield router if tracer is None else Traced(router, tracer)
    finally:
        for task in beside:
            task.cancel()
        await _leave(pool, process)
        await acceptor.close()
        await commands.close()
        with suppress(Exception):  # counts alone would be lost
            await types.run_once()
        if tracer is not None:
            await asyncio.to_thread(tracer.close)
        await close_redis(redis, copied)
        await close_pool(pool, SHUTDOWN_SECONDS_MAX)


async def _redis(settings: Settings, registry: CollectorRegistry, pool: Pool) -> "RedisClient | None":
    try:
        return await open_redis(settings, registry, pool)
    except SettingError as error:
        await pool.close()
        raise CannotStart(str(error)) from error


async def _acceptor(
    settings: Settings, pool: Pool, meters: IngestMeters, tracer: Tracer | None, shared: "Shared | None"
) -> Accepting:
    if settings.transport != "kafka":
        seen = None if shared is None else shared.seen(meters)
        return Acceptor(settings.dsn, pool, meters, settings.accept_queue_bytes, tracer, seen)
    try:
        return LogAcceptor(await open_log(settings), pool, meters, tracer)
    except CannotStart:
        await pool.close()
        raise


def _shared(redis: "RedisClient", pool: Pool, clock: Callable[[], float]) -> "Shared":
    from questline.assembly_shared import Shared  # with the client of Redis, which need not be installed

    return Shared(redis, pool, None if clock is time.monotonic else clock)


def _buckets(shared: "Shared | None", name: str, clock: Callable[[], float]) -> "MemoryBuckets | RedisBuckets":
    memory = MemoryBuckets(RATE_BUCKETS_MAX, clock)
    return memory if shared is None else shared.buckets(name, memory)


def _ring(
    settings: Settings, pool: Pool, shared: "Shared | None", rates: Rates, tokens: UserTokens
) -> tuple[KeyRing, Listener]:
    """Return the ring of keys, and what tells it of revocations."""
    find: Find = partial(control_keys.find, pool)
    cached = None if shared is None else shared.keys(find)
    ring = KeyRing(
        find if cached is None else cached.find,
        tenants=_names(settings.tenants),
        rates=rates,
        users=tokens,
        dev=settings.dev,
    )
    told = (ring.forget, ring.hears) if shared is None or cached is None else shared.announcements(cached, ring)
    return ring, Listener(settings.dsn, ACCESS, *told)


def _rates(settings: Settings, counted: Buckets, strangers: Buckets, addresses: Addresses) -> Rates:
    return Rates(
        counted,
        strangers,
        addresses,
        key=settings.rate_limits_key,
        project=settings.rate_limits_project,
        address=0 if settings.dev else settings.rate_limit_address,
        seconds=settings.rate_limit_seconds,
    )


async def _share_limits(pool: Pool, process: UUID, all_buckets: "Iterable[MemoryBuckets | RedisBuckets]") -> None:
    """Announce the process, and have each limit divided by the number of those that live."""
    try:
        live = await api_processes.announce(pool, process, PROCESS_LIVES_SECONDS)
    except TRANSIENT_FAULTS as fault:
        log.warning("api.not_announced", fault=repr(fault))
        return
    for buckets in all_buckets:
        buckets.processes = live


async def _keep_sharing(pool: Pool, process: UUID, all_buckets: "Iterable[MemoryBuckets | RedisBuckets]") -> None:
    while True:
        await asyncio.sleep(PROCESS_ANNOUNCED_SECONDS)
        await _share_limits(pool, process, all_buckets)


async def _leave(pool: Pool, process: UUID) -> None:
    try:
        await api_processes.leave(pool, process)
    except TRANSIENT_FAULTS as fault:
        log.warning("api.not_left", fault=repr(fault))  # it is counted until its announcement runs out


def build_tokens(settings: Settings) -> UserTokens:
    """Return what tokens of end users are made and read with; raises CannotStart for keys that are none."""
    setting = variable_of("token_keys")
    try:
        return UserTokens(keys_of(settings.token_keys), now, setting)
    except ValueError as error:
        raise CannotStart(f"{setting} cannot be used: {error}") from None


async def _reach(settings: Settings) -> Pool:
    """Open the pool; a server that is still starting is waited for."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            return await open_pool(settings.dsn, max_size=settings.pool_connections, min_size=2)
        except ValueError as fault:
            raise CannotStart(f"QUESTLINE_DSN cannot be used: {fault}") from fault
        except NOT_LET_IN as fault:
            raise CannotStart(f"PostgreSQL does not let {variable_of('dsn')} in: {fault}") from fault
        except TRANSIENT_FAULTS as fault:
            if time.monotonic() > deadline:
                raise CannotStart(f"PostgreSQL cannot be reached: {fault}") from fault
            log.warning("api.waiting_for_postgres", fault=repr(fault))
            await asyncio.sleep(_REACH_AGAIN_SECONDS)


async def _watch_backlog(acceptor: Accepting, pool: Pool, events_max: int) -> Any:
    """Let nothing in while more events wait to be applied than may. While nobody can be asked, the last answer holds."""
    while True:
        try:
            waiting, _ = await outbox.backlog(pool, events_max + 1)
            acceptor.refuse(full=waiting > events_max)
        except TRANSIENT_FAULTS as fault:
            log.warning("api.backlog_unknown", fault=repr(fault))
        await asyncio.sleep(BACKLOG_CHECKED_SECONDS)


async def _note_key_use(ring: KeyRing, pool: Pool) -> Any:
    while True:
        await asyncio.sleep(KEY_USE_NOTED_SECONDS)
        try:
            await ring.note_use(partial(keys.touch, pool))
        except Exception:
            continue
