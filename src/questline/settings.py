"""The environment, read once into one frozen object. Each setting is documented here and nowhere else."""

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from questline.model import limits
from questline.model.rates import RateLimits, RouteClass
from questline.model.retention import Retention

PREFIX = "QUESTLINE_"


class SettingError(ValueError):
    """A setting has a value it cannot have; the message names it and what it takes."""


class CannotStart(Exception):
    """A process lacks what it needs; the message says what."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting. The variable of `field` is QUESTLINE_FIELD; DESCRIPTIONS says what each means."""

    dsn: str = ""
    owner_dsn: str = ""
    data_dir: Path = Path(".questline")
    host: str = "127.0.0.1"
    port: int = 8080
    worker_port: int = 0
    workers: int = 0
    dev: bool = False
    admin_token: str = ""
    secret_keys: str = ""
    token_keys: str = ""
    user_token_seconds: int = limits.USER_TOKEN_SECONDS
    user_session_seconds: int = limits.USER_SESSION_SECONDS
    signature_tolerance_seconds: int = limits.SIGNATURE_TOLERANCE_SECONDS
    lanes: int = limits.LANES_PER_WORKER
    pool_connections: int = limits.POOL_CONNECTIONS_MAX
    event_bytes_max: int = limits.EVENT_BYTES_MAX
    batch_events_max: int = limits.BATCH_EVENTS_MAX
    stream_bytes_max: int = limits.STREAM_BYTES_MAX
    accept_queue_bytes: int = limits.ACCEPT_QUEUE_BYTES_MAX
    backlog_events_max: int = 0
    transport: Literal["postgres", "rabbitmq", "kafka"] = "postgres"
    rabbitmq_url: str = ""
    kafka_servers: str = ""
    kafka_topic: str = "questline.events"
    kafka_options: str = ""
    kafka_partitions: int = limits.KAFKA_PARTITIONS
    retry_seconds: tuple[int, ...] = limits.RETRY_SECONDS
    retry_jitter_percent: int = limits.RETRY_JITTER_PERCENT
    event_future_seconds: int = limits.EVENT_FUTURE_SECONDS_MAX
    retain_events_days: int = 0
    retain_attempts_days: int = 0
    retain_notices_days: int = 0
    retain_keys_days: int = 0
    prune_every_hours: int = 0
    archive_dir: str = ""
    tenants: str = ""
    rate_limits_key: RateLimits = RateLimits()
    rate_limits_project: RateLimits = RateLimits()
    rate_limit_address: int = 50
    rate_limit_seconds: int = 2
    trusted_proxies: tuple[str, ...] = ()
    hsts_seconds: int = 0
    connections_max: int = limits.CONNECTIONS_MAX
    outbound_private: bool = False
    otlp_endpoint: str = ""
    trace_percent: int = 100
    redis_url: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "pretty"] = "json"


class Description(msgspec.Struct, frozen=True):
    """What a setting means, in one or two sentences, and the unit of a number; `least` is the lowest it may be."""

    meaning: str
    unit: str = ""
    least: int = 0


DESCRIPTIONS: dict[str, Description] = {
    "dsn": Description(
        "PostgreSQL as the processes log in: a role that is a member of questline_service and questline_tenant."
    ),
    "owner_dsn": Description("PostgreSQL as migrations log in: the owner of the tables. Empty: the DSN above."),
    "data_dir": Description("Where `questline dev` keeps its database, keys and logs."),
    "host": Description("The address the API and the worker's page of health listen on."),
    "port": Description("The port the API listens on; 0: any that is free.", "port"),
    "worker_port": Description(
        "The port a worker, a relay or a deliverer answers /health, /ready and /metrics on; 0: any that is free, which it logs.",
        "port",
    ),
    "workers": Description(
        "Worker processes that `questline dev` starts; 0: one for each processor, 4 at most.", "processes"
    ),
    "dev": Description("Development: projects may be created without an operator token. `questline dev` sets it."),
    "admin_token": Description(
        "The operator's token, sent as X-Admin-Token; 16 characters or more. But in development, no API starts without it."
    ),
    "secret_keys": Description(
        "Keys that secrets are sealed with in the database: 32 bytes in base64 each, parted by commas. The first seals, all open."
    ),
    "token_keys": Description(
        "Keys that tokens of end users are signed with: 32 bytes in base64 each, parted by commas. The first signs, all verify."
    ),
    "user_token_seconds": Description("How long an access token of an end user lives.", "seconds", 1),
    "user_session_seconds": Description(
        "How long an end user stays logged in without refreshing the token.", "seconds", 1
    ),
    "signature_tolerance_seconds": Description(
        "How old the signature of an event may be, or how far ahead its sender's clock.", "seconds", 1
    ),
    "lanes": Description("Lanes of one worker process; each has a connection of its own.", "lanes", 1),
    "pool_connections": Description(
        "Connections of one API process, beside two for single events and two for commands.", "connections", 2
    ),
    "event_bytes_max": Description("The largest event.", "bytes", 1024),
    "batch_events_max": Description("The most events in one batch.", "events", 1),
    "stream_bytes_max": Description("The largest stream, as sent and as unpacked.", "bytes", 1024),
    "accept_queue_bytes": Description(
        "Payloads of single events that may wait in an API process to be stored, and of batches as many; beyond, 503.",
        "bytes",
        1024,
    ),
    "backlog_events_max": Description(
        "Events that may wait to be applied; beyond, new ones are refused with 503 until fewer do. 0: as many as the disk holds.",
        "events",
    ),
    "transport": Description(
        "What carries accepted events to workers: PostgreSQL itself; RabbitMQ, which needs `questline relay` and"
        " `questline[rabbitmq]` ([carriers](../how-to/carriers.md)); or Kafka, which holds them before PostgreSQL does and needs"
        " `questline[kafka]` ([Kafka](../how-to/kafka.md)). The same for all processes."
    ),
    "rabbitmq_url": Description(
        "The broker, such as `amqps://user:password@host:5671/vhost`; relays and workers read it where the transport is rabbitmq."
    ),
    "kafka_servers": Description(
        "Brokers to begin with, such as `kafka-1:9092,kafka-2:9092`; needs `questline[kafka]`. Read where the transport is kafka,"
        " and by `questline lag`."
    ),
    "kafka_topic": Description("The topic that holds the log; its workers' group has the same name."),
    "kafka_options": Description(
        "Options of librdkafka, such as `security.protocol=SASL_SSL,sasl.mechanism=PLAIN,sasl.username=…,sasl.password=…`."
    ),
    "kafka_partitions": Description(
        "Partitions of the topic, each read by one worker at a time: not to be changed while it holds records, for a user's"
        " must not move. A process that finds another number says so and carries nothing.",
        "partitions",
        1,
    ),
    "retry_seconds": Description(
        "How long an event that failed waits before each further try; then it is a dead letter.", "seconds"
    ),
    "retry_jitter_percent": Description("By how much each of these waits is changed at random.", "percent"),
    "event_future_seconds": Description("How far ahead of the server's clock occurredAt may lie.", "seconds"),
    "retain_events_days": Description(
        "How long events and decisions are kept after their receipt, and events of visitors whom nobody names; 0: for ever."
        " [Retention](../how-to/retention.md) tells more.",
        "days",
    ),
    "retain_attempts_days": Description(
        "Likewise attempts; with their events they go anyway. 0: as long as these.", "days"
    ),
    "retain_notices_days": Description("Likewise notices; 0: for ever.", "days"),
    "retain_keys_days": Description(
        "Likewise dedupe keys: what is sent again after that is a new event. 0: for ever.", "days"
    ),
    "prune_every_hours": Description(
        "How often a worker prunes by itself, as the owner of QUESTLINE_OWNER_DSN; 0: never, `questline prune` does it.",
        "hours",
    ),
    "archive_dir": Description(
        "Where `questline prune`, and a worker that prunes, write what they drop as Parquet first. Empty: nowhere."
    ),
    "tenants": Description(
        "The projects that are served here, by id, with commas between them; keys of others get 403. Empty: all."
    ),
    "rate_limits_key": Description(
        "What one key may do, such as `ingest=500,command=100,read=50,write=5`; ingest counts events. A class left out, or 0:"
        " no limit. [Limits](../how-to/limits.md) tells more.",
        "a second",
    ),
    "rate_limits_project": Description("What all keys of a project may do together, likewise.", "a second"),
    "rate_limit_address": Description(
        "Requests without a key, or with a wrong one, of one address (one /64 of IPv6); 0: no limit. None in development.",
        "requests a second",
    ),
    "rate_limit_seconds": Description(
        "How many seconds' worth of a limit may come at once, after a pause.", "seconds", 1
    ),
    "trusted_proxies": Description(
        "Networks of the proxies in front, such as `10.0.0.0/8,192.0.2.7`: from them alone X-Forwarded-For is believed."
    ),
    "hsts_seconds": Description(
        "How long browsers are told to come by https only (Strict-Transport-Security); 0: they are not told.", "seconds"
    ),
    "connections_max": Description("Connections one API process has open at once; beyond, 503.", "connections", 16),
    "outbound_private": Description(
        "Webhooks may go to private, loopback and link-local addresses. Development allows it anyway."
    ),
    "otlp_endpoint": Description(
        "Where traces are sent by OTLP over HTTP, such as `http://collector:4318`; needs `questline[tracing]`. Empty: nowhere."
        " [Watch it](../how-to/watch.md) tells more."
    ),
    "trace_percent": Description(
        "Of requests that come without a trace, how many begin one. Those that come with one go by its own flag.",
        "percent",
    ),
    "redis_url": Description(
        "Redis, such as `redis://cache:6379/0`, for what processes share and may lose; needs `questline[redis]`. Empty: none."
    ),
    "log_level": Description("The least serious lines that are logged."),
    "log_format": Description("One JSON object a line, or lines for people."),
}


def retention_of(settings: Settings) -> Retention:
    """Return for how long the settings keep what."""
    return Retention(
        settings.retain_events_days,
        settings.retain_attempts_days,
        settings.retain_notices_days,
        settings.retain_keys_days,
    )


def load(environment: Mapping[str, str] | None = None, **defaults: Any) -> Settings:
    """Return the settings of the environment; raises SettingError that names every value that cannot be.

    `defaults` are a command's own, for what the environment does not say.
    """
    source = os.environ if environment is None else environment
    values: dict[str, Any] = dict(defaults)
    errors: list[str] = []
    for field in msgspec.structs.fields(Settings):
        variable = variable_of(field.name)
        if variable not in source:
            continue
        try:
            values[field.name] = _value(field.name, source[variable], field.type)
        except ValueError as error:
            errors.append(f"{variable} is {source[variable]!r}; {error}")
    if errors:
        raise SettingError("; ".join(errors))
    return Settings(**values)


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return variables with our prefix that no setting reads: most likely misspelt."""
    source = os.environ if environment is None else environment
    known = {variable_of(field.name) for field in msgspec.structs.fields(Settings)}
    return sorted(v for v in source if v.startswith(PREFIX) and v not in known)


def variable_of(field: str) -> str:
    """Return the name of a setting's environment variable."""
    return PREFIX + field.upper()


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that give a child process these settings."""
    return {variable_of(f.name): text_of(getattr(settings, f.name)) for f in msgspec.structs.fields(Settings)}


def base_environment() -> dict[str, str]:
    """Return the environment without our variables, to build a child's from."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def text_of(value: Any) -> str:
    """Return a setting's value as it stands in the environment."""
    if isinstance(value, RateLimits):
        return ",".join(f"{name}={limit}" for name, limit in msgspec.structs.asdict(value).items() if limit)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off", ""):
            return False
        raise ValueError("use true or false")
    if kind is int:
        least = DESCRIPTIONS[name].least
        if not text.isascii() or not text.isdigit() or int(text) < least:
            raise ValueError(f"use a whole number of {DESCRIPTIONS[name].unit}, {least} or more")
        if DESCRIPTIONS[name].unit == "port" and int(text) > 65535:
            raise ValueError("use a port up to 65535")
        if DESCRIPTIONS[name].unit == "percent" and int(text) > 100:
            raise ValueError("use a percentage up to 100")
        return int(text)
    if kind == tuple[int, ...]:
        numbers = [number.strip() for number in text.split(",")] if text.strip() else []
        if not all(number.isascii() and number.isdigit() and len(number) < 8 for number in numbers):
            raise ValueError(f"use whole numbers of {DESCRIPTIONS[name].unit}, separated by commas")
        return tuple(map(int, numbers))
    if kind is RateLimits:
        return _rates(text)
    if kind == tuple[str, ...]:
        return _networks(text)
    if choices := get_args(kind):
        if text.lower() not in choices:
            raise ValueError(f"use one of {', '.join(choices)}")
        return text.lower()
    return Path(text) if kind is Path else text


def _rates(text: str) -> RateLimits:
    given: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, limit = part.partition("=")
        if name not in list(RouteClass) or not (limit.isascii() and limit.isdigit()):
            raise ValueError(f"use {', '.join(f'{class_}=100' for class_ in RouteClass)}, or some of them")
        given[name] = int(limit)
    return RateLimits(**given)


def _networks(text: str) -> tuple[str, ...]:
    found = tuple(filter(None, (part.strip() for part in text.split(","))))
    for part in found:
        try:
            ip_network(part)
        except ValueError as error:
            raise ValueError(f"use addresses or networks such as 10.0.0.0/8: {error}") from error
    return found
