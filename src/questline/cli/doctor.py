"""`questline doctor`: what an installation needs, looked at one by one."""

import asyncio
import time
from datetime import datetime
from importlib.metadata import version
from urllib.parse import urlsplit

import psutil

from questline.assembly_worker import now
from questline.cli import lag
from questline.cli.clashes import clashes
from questline.cli.database import NoDatabase, app_dsn
from questline.cli.findings import Finding, State
from questline.cli.redis_findings import examine_redis
from questline.model.limits import LANES_PER_WORKER
from questline.settings import Settings, unknown_variables, variable_of
from questline.store import deliveries, health, relay
from questline.store.pool import Connection, connect
from questline.store.roles import APP_ROLE

_OLDEST_POSTGRES = 15
_LAG_SECONDS_MAX = 10.0
_DELIVERY_SECONDS_MAX = 60.0
_PARKED_SECONDS_MAX = 3_600.0
_CLOCK_SECONDS_MAX = 1.0
_EVENT_CLOCK_SECONDS_MAX = 60.0
_REACH_SECONDS = 3.0
_REPLICAS_LEAST = 2
_DISK_WRONG_SHARE, _DISK_DOUBTFUL_SHARE = 0.03, 0.10  # that is free
_CONNECTIONS_SHARE = 0.8  # in use
_API_BESIDE, _WORKER_BESIDE = 9, 6  # connections of a process beside its pool, or its lanes


async def examine(settings: Settings) -> list[Finding]:
    """Return what was found, in the order in which to mend it."""
    findings = [Finding("doubtful", f"no setting reads {name}") for name in unknown_variables()]
    findings += [Finding("doubtful", text) for text in clashes(settings)] or [Finding("good", "no settings clash")]
    findings += await _collector(settings.otlp_endpoint)
    findings += await examine_redis(settings.redis_url)
    try:
        began = time.perf_counter()
        conn = await connect(app_dsn(settings))
    except NoDatabase as error:
        return [*findings, Finding("wrong", str(error))]
    except Exception as fault:  # whatever the driver finds wrong with a DSN or a server
        return [*findings, Finding("wrong", f"PostgreSQL cannot be reached: {fault}; start it, or correct the DSN")]
    try:
        took_ms = (time.perf_counter() - began) * 1000
        findings.append(Finding("good", f"PostgreSQL answers ({took_ms:.0f} ms to connect)"))
        findings += await _database(settings, conn)
        findings += await _log(settings)
    finally:
        await conn.close()
    if not settings.dsn:
        findings.append(_disk(str(settings.data_dir)))
    return findings


async def _collector(endpoint: str) -> list[Finding]:
    if not endpoint:
        return []
    at = urlsplit(endpoint)
    if fault := await _unreachable(at.hostname, at.port or (443 if at.scheme == "https" else 80)):
        text = f"the collector of traces at {endpoint} cannot be reached ({fault}); events go on without traces"
        return [Finding("doubtful", text)]
    return [Finding("good", f"the collector of traces at {endpoint} can be reached")]


async def _unreachable(host: str | None, port: int) -> str | None:
    """Return why a place cannot be reached; None when it can."""
    try:
        async with asyncio.timeout(_REACH_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except (OSError, ValueError) as fault:
        return type(fault).__name__
    return None


async def _rabbitmq(settings: Settings, conn: Connection) -> list[Finding]:
    """Look at the broker, and at how far relays are; its URL holds a password, so only the host is shown."""
    if settings.transport != "rabbitmq" or not settings.rabbitmq_url:
        return []
    at = urlsplit(settings.rabbitmq_url)
    port = at.port or (5671 if at.scheme == "amqps" else 5672)
    if fault := await _unreachable(at.hostname, port):
        text = (
            f"RabbitMQ at {at.hostname}:{port} cannot be reached ({fault}); events wait in PostgreSQL until it is back"
        )
        findings = [Finding("wrong", text)]
    else:
        findings = [Finding("good", f"RabbitMQ at {at.hostname}:{port} can be reached")]
    carried = await relay.measure(conn)
    ago = 0.0 if carried.oldest_at is None else (now() - carried.oldest_at).total_seconds()
    text = (
        f"{carried.published:,} waiting events were handed to the broker and {carried.pending:,} were not,"
        f" {carried.failed:,} failed"
    )
    if ago > _LAG_SECONDS_MAX:
        text += f"; the oldest has waited for {ago:.0f} s: start questline relay, or see its log"
    return [*findings, Finding("doubtful" if ago > _LAG_SECONDS_MAX else "good", text)]


async def _database(settings: Settings, conn: Connection) -> list[Finding]:
    moment = now()
    facts = await health.facts(conn, moment)
    findings = [_version(facts.server_version), _role(facts), *_clocks(facts, moment)]
    if facts.migrations_missing:
        names = ", ".join(facts.migrations_missing)
        return [*findings, Finding("wrong", f"migrations are missing: {names}; run questline migrate")]
    findings.append(Finding("good", "every migration is applied"))
    if facts.partitions_missing:
        names = ", ".join(facts.partitions_missing)
        findings.append(Finding("doubtful", f"partitions are missing: {names}; run questline migrate once a month"))
    findings += [
        *_durability(facts),
        _connections(facts, settings.pool_connections),
        *_workers(facts),
        *_waiting(facts, moment),
    ]
    return [*findings, *await _deliveries(conn), *await _rabbitmq(settings, conn)]


async def _deliveries(conn: Connection) -> list[Finding]:
    """Look at messages to webhooks, where there are any that wait."""
    found = await deliveries.measure(conn)
    if not found.messages:
        return []
    text = f"{found.messages:,} messages to webhooks are not settled"
    if found.overdue_seconds > _DELIVERY_SECONDS_MAX:
        text += f", the first due for {found.overdue_seconds:.0f} s: start questline deliver, or see its log"
        return [Finding("doubtful", text)]
    return [Finding("good", text)]


def _version(number: int) -> Finding:
    major = number // 10_000
    good = major >= _OLDEST_POSTGRES
    return Finding("good" if good else "wrong", f"PostgreSQL is version {major}; {_OLDEST_POSTGRES} or later is needed")


def _role(facts: health.Facts) -> Finding:
    if facts.role_is_unbound:
        return Finding("wrong", f"the role {facts.role!r} is not bound by row-level security; log in as {APP_ROLE!r}")
    return Finding("good", f"the role {facts.role!r} is bound by row-level security")


def _clocks(facts: health.Facts, here: datetime) -> list[Finding]:
    """Compare the clocks of this machine, of PostgreSQL, of the API that received the newest event, and of its sender."""
    apart = abs((facts.server_time - here).total_seconds())
    state: State = "good" if apart < _CLOCK_SECONDS_MAX else "doubtful"
    findings = [Finding(state, f"the clocks here and of PostgreSQL are {apart:.2f} s apart")]
    for what, latest, bound in (
        ("the API's clock", facts.newest_received, _CLOCK_SECONDS_MAX),
        ("a sender's clock", facts.newest_occurred, _EVENT_CLOCK_SECONDS_MAX),
    ):
        ahead = 0.0 if latest is None else (latest - facts.server_time).total_seconds()
        if ahead > bound:
            text = f"{what} was {ahead:.0f} s ahead of PostgreSQL's at the newest event; days and limits go by it: set it right"
            findings.append(Finding("doubtful", text))
    return findings


def _durability(facts: health.Facts) -> list[Finding]:
    if facts.fsync != "on" or facts.full_page_writes != "on":
        return [
            Finding(
                "wrong",
                "PostgreSQL runs with fsync or full_page_writes off: what is acknowledged can be lost; set both on",
            )
        ]
    if facts.synchronous_commit in ("off", "local"):
        text = f"synchronous_commit is {facts.synchronous_commit}: what is acknowledged can be lost; set it on"
        return [Finding("wrong" if facts.synchronous_commit == "off" else "doubtful", text)]
    return [Finding("good", "PostgreSQL keeps what it has committed (fsync, full_page_writes, synchronous_commit)")]


def _connections(facts: health.Facts, pool: int) -> Finding:
    """Compare PostgreSQL's connections with those in use, and with what the processes that live may come to need."""
    workers = sum(facts.workers.values())
    needed = facts.api_processes * (pool + _API_BESIDE) + workers * (LANES_PER_WORKER + _WORKER_BESIDE)
    text = (
        f"{facts.connections} of PostgreSQL's {facts.connections_max} connections are in use; "
        f"{facts.api_processes} API processes and {workers} workers take up to {needed}"
    )
    if max(facts.connections, needed * _CONNECTIONS_SHARE) < facts.connections_max * _CONNECTIONS_SHARE:
        return Finding("good", text)
    return Finding("doubtful", f"{text}; raise its max_connections, or lower {variable_of('pool_connections')}")


def _workers(facts: health.Facts) -> list[Finding]:
    live = sum(facts.workers.values())
    if not live:
        waits = facts.backlog is not None and facts.backlog.waiting > 0
        return [Finding("wrong" if waits else "doubtful", "no worker runs; start questline work")]
    findings = [Finding("good", f"{live} {'worker runs' if live == 1 else 'workers run'}")]
    if others := {name: count for name, count in facts.workers.items() if name != version("questline")}:
        named = ", ".join(f"{count} of {name}" for name, count in others.items())
        text = f"workers of other versions run beside {version('questline')}: {named}; finish the roll-out"
        findings.append(Finding("doubtful", text))
    if facts.stuck_partitions:
        named = ", ".join(map(str, facts.stuck_partitions))
        text = f"events wait in partitions that no worker holds: {named}; if that lasts for more than ten seconds, see their logs"
        findings.append(Finding("doubtful", text))
    return findings


def _waiting(facts: health.Facts, moment: datetime) -> list[Finding]:
    backlog = facts.backlog
    assert backlog is not None  # every migration is applied
    lag = 0.0 if backlog.oldest_received_at is None else (moment - backlog.oldest_received_at).total_seconds()
    state: State = "good" if lag < _LAG_SECONDS_MAX else "doubtful"
    findings = [Finding(state, f"{backlog.waiting:,} events wait to be applied, the oldest for {lag:.1f} s")]
    if backlog.dead_letters:
        text = f"{backlog.dead_letters:,} events gave up and are dead letters; see questline dlq reasons"
        findings.append(Finding("doubtful", text))
    if facts.parked_since is not None:
        parked = (moment - facts.parked_since).total_seconds()
        text = f"{backlog.parked_users:,} users are parked behind an event that is tried again, the first for {parked:.0f} s"
        findings.append(Finding("doubtful" if parked > _PARKED_SECONDS_MAX else "good", text))
    return [*findings, Finding("good", f"the database holds {facts.database_bytes / 2**20:,.0f} MB")]


async def _log(settings: Settings) -> list[Finding]:
    """Look at the log where it carries events, or where it is set and may still hold some."""
    if not settings.kafka_servers:
        return []
    try:
        found = await lag.measure(settings)
    except Exception as fault:  # whatever the client finds wrong with brokers, topic or options
        return [Finding("wrong" if settings.transport == "kafka" else "doubtful", f"Kafka cannot be used: {fault}")]
    findings = [Finding("good", f"{found.logged:,} records wait in Kafka's log")]
    if settings.transport != "kafka" and found.logged:
        text = f"{found.logged:,} records wait in Kafka's log, and {variable_of('transport')} is {settings.transport}: run a"
        findings = [Finding("wrong", f"{text} worker with kafka until nothing is left")]
    if found.rejected:
        findings.append(Finding("doubtful", f"{found.rejected:,} records were no events: see the table kafka_rejects"))
    if found.replicas < _REPLICAS_LEAST:
        text = "the topic has one copy of each record: a broker that loses its disk or its power loses what was acknowledged"
        findings.append(Finding("doubtful", text))
    return findings


def _disk(directory: str) -> Finding:
    usage = psutil.disk_usage(directory)
    share = usage.free / usage.total
    state: State = "wrong" if share < _DISK_WRONG_SHARE else "doubtful" if share < _DISK_DOUBTFUL_SHARE else "good"
    text = f"{usage.free / 2**30:,.1f} GB ({share:.0%}) of the disk of {directory} are free"
    return Finding(state, text if state == "good" else f"{text}; PostgreSQL stops when it is full: make room")
