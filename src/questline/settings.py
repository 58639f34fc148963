"""The environment, read once into one frozen object. Each setting is documented here and nowhere else."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from questline.model import limits

PREFIX = "QUESTLINE_"


class SettingError(ValueError):
    """A setting has a value it cannot have; the message names it and what it takes."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting. The variable of `field` is QUESTLINE_FIELD; DESCRIPTIONS says what each means."""

    dsn: str = ""
    owner_dsn: str = ""
    data_dir: Path = Path(".questline")
    host: str = "127.0.0.1"
    port: int = 8080
    worker_port: int = 0
    dev: bool = False
    admin_token: str = ""
    lanes: int = limits.LANES_PER_WORKER
    pool_connections: int = limits.POOL_CONNECTIONS_MAX
    event_bytes_max: int = limits.EVENT_BYTES_MAX
    batch_events_max: int = limits.BATCH_EVENTS_MAX
    stream_bytes_max: int = limits.STREAM_BYTES_MAX
    event_future_seconds: int = limits.EVENT_FUTURE_SECONDS_MAX
    rate_limit_per_second: int = 0
    rate_limit_burst: int = 0
    log_level: str = "info"
    log_format: str = "json"


DESCRIPTIONS: dict[str, str] = {
    "dsn": "PostgreSQL as the processes log in: a role that is a member of questline_service and questline_tenant.",
    "owner_dsn": "PostgreSQL as migrations log in: the owner of the tables. Default: the DSN above.",
    "data_dir": "Where `questline dev` keeps its database, keys and logs.",
    "host": "The address the API listens on.",
    "port": "The port the API listens on.",
    "worker_port": "The port a worker answers /health, /ready and /metrics on; 0: none.",
    "dev": "Development: projects may be created without an operator token. Set by `questline dev`.",
    "admin_token": "The operator's token, sent as X-Admin-Token. Without one, operator routes refuse everybody.",
    "lanes": "Lanes of one worker process; each has a connection of its own.",
    "pool_connections": "Connections of the API's pool for reads.",
    "event_bytes_max": "The largest event, in bytes.",
    "batch_events_max": "The most events in one batch.",
    "stream_bytes_max": "The largest stream, in bytes, as sent and as unpacked.",
    "event_future_seconds": "How far ahead of the server's clock occurredAt may lie, in seconds.",
    "rate_limit_per_second": "Requests a second that one key may make; 0: no limit.",
    "rate_limit_burst": "Requests that one key may make at once; 0: twice the rate.",
    "log_level": "debug, info, warning or error.",
    "log_format": "json, or pretty for people.",
}


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of the environment; raises SettingError for a value or a name that cannot be."""
    source = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    known = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    for variable, text in source.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in known:
            values[name] = _value(variable, text, known[name])
    return Settings(**values)


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return variables with our prefix that no setting reads: most likely misspelt."""
    source = os.environ if environment is None else environment
    known = {PREFIX + field.name.upper() for field in msgspec.structs.fields(Settings)}
    return sorted(v for v in source if v.startswith(PREFIX) and v not in known)


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables that give a child process these settings."""
    fields = msgspec.structs.fields(Settings)
    return {PREFIX + f.name.upper(): _text(getattr(settings, f.name)) for f in fields}


def base_environment() -> dict[str, str]:
    """Return the environment without our variables, to build a child's from."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(variable: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off", ""):
            return False
        raise SettingError(f"{variable} is {text!r}; use true or false")
    if kind is int:
        try:
            number = int(text)
        except ValueError:
            raise SettingError(f"{variable} is {text!r}; use a whole number") from None
        if number < 0:
            raise SettingError(f"{variable} is {number}; it cannot be negative")
        return number
    return Path(text) if kind is Path else text
