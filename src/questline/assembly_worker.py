"""The part of the composition root that builds workers, and what is every process's: its clock, metrics, traces and seals.

It stands apart because workers, relays and deliverers serve no API: without its parts they start in half the time.
"""

from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from questline.assembly_caches import BoardsKept
from questline.assembly_carriers import carrier_of
from questline.assembly_kafka import build_feed
from questline.processing.archive import Archive, ArchiveFailed
from questline.processing.log_lane import Reading
from questline.processing.meters import BacklogMeters, LogMeters, ProcessingMeters
from questline.processing.pruning import Pruning
from questline.processing.schedule import Schedule
from questline.processing.worker import Worker
from questline.settings import CannotStart, SettingError, Settings, retention_of, variable_of
from questline.store.ids import EventIds
from questline.store.sealing import Sealer, keys_of
from questline.telemetry.projects import ProjectEvents
from questline.telemetry.tracing import Tracer, TracingMissing, open_tracer


def now() -> datetime:
    """Return the time: the one clock of events, handed to all who need it."""
    return datetime.now(UTC)


def build_worker(settings: Settings, registry: CollectorRegistry | None = None) -> Worker:
    """Return a worker that is ready to run."""
    registry = registry or new_registry()
    meters = ProcessingMeters(registry, ProjectEvents(registry))
    tracer = build_tracer(settings, "questline-worker")
    schedule = Schedule(settings.retry_seconds, settings.retry_jitter_percent)
    feed = build_feed(settings, registry, now)
    return Worker(
        settings.dsn,
        now,
        EventIds().new,
        meters,
        BacklogMeters(registry),
        schedule,
        settings.lanes,
        tracer,
        _build_pruning(settings),
        carrier_of(settings),
        None if feed is None else Reading(feed, LogMeters(registry)),
        _build_copies(settings, registry),
    )


def new_registry() -> CollectorRegistry:
    """Return a registry of metrics for one process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def build_tracer(settings: Settings, service: str) -> Tracer | None:
    """Return what makes the spans of a process; None where nobody wants them. Raises CannotStart."""
    try:
        return open_tracer(settings.otlp_endpoint, settings.trace_percent, service, now)
    except TracingMissing as error:
        raise CannotStart(
            f"{variable_of('otlp_endpoint')} is set, and OpenTelemetry is not installed: pip install 'questline[tracing]'"
        ) from error


def build_sealer(settings: Settings) -> Sealer:
    """Return what secrets are sealed with; raises CannotStart for keys that are none."""
    try:
        return Sealer(keys_of(settings.secret_keys))
    except ValueError as error:
        raise CannotStart(f"{variable_of('secret_keys')} cannot be used: {error}") from None


def _build_copies(settings: Settings, registry: CollectorRegistry) -> BoardsKept | None:
    try:
        return BoardsKept(settings, registry, now) if settings.redis_url else None
    except SettingError as error:
        raise CannotStart(str(error)) from error


def _build_pruning(settings: Settings) -> Pruning | None:
    retention = retention_of(settings)
    if not retention or not settings.prune_every_hours:
        return None
    try:
        archive = Archive(Path(settings.archive_dir)) if settings.archive_dir else None
    except ArchiveFailed as error:
        raise CannotStart(str(error)) from error
    owner = settings.owner_dsn or settings.dsn
    return Pruning(owner, now, EventIds().new, retention, archive, settings.prune_every_hours)
