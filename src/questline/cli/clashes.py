"""Settings that clash: each may be right by itself, and together they cannot be meant."""

from importlib.util import find_spec
from itertools import pairwise

import msgspec

from questline.api.operators import weakness_of
from questline.settings import Settings, variable_of

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def clashes(settings: Settings) -> list[str]:
    """Return what does not fit together, each with what to do."""
    s, name = settings, variable_of
    found = {
        f"{name('stream_bytes_max')} is smaller than {name('event_bytes_max')}, so the largest event fits in no stream: raise it":
            s.stream_bytes_max < s.event_bytes_max,
        f"{name('retry_seconds')} falls somewhere; each wait is best longer than the one before":
            any(later < earlier for earlier, later in pairwise(s.retry_seconds)),
        f"{name('port')} and {name('worker_port')} are the same; on one machine only one process gets it: choose another":
            s.port == s.worker_port != 0,
        f"{name('dev')} lets anybody who reaches {s.host} make projects; unset it, or listen on 127.0.0.1":
            s.dev and s.host not in _LOOPBACK,
        f"{name('hsts_seconds')} tells browsers to come by https only, and {name('dev')} says that this is no place for that":
            s.dev and s.hsts_seconds > 0,
        f"{name('admin_token')} {weakness_of(s.admin_token)}":
            not s.dev and bool(s.admin_token) and weakness_of(s.admin_token) is not None,
        f"{name('outbound_private')} lets webhooks reach your own network; unset it unless that is meant": s.outbound_private,
        f"{name('otlp_endpoint')} is set, and OpenTelemetry is not installed: pip install 'questline[tracing]'":
            bool(s.otlp_endpoint) and find_spec("opentelemetry.sdk") is None,
        f"{name('rabbitmq_url')} is set, and {name('transport')} is {s.transport}, so nobody reads it":
            bool(s.rabbitmq_url) and s.transport != "rabbitmq",
        f"{name('transport')} is rabbitmq, and {name('rabbitmq_url')} is not set: say where the broker is":
            s.transport == "rabbitmq" and not s.rabbitmq_url,
        f"{name('transport')} is rabbitmq, and its client is not installed: pip install 'questline[rabbitmq]'":
            s.transport == "rabbitmq" and find_spec("aio_pika") is None,
        f"{name('redis_url')} is set, and redis-py is not installed: pip install 'questline[redis]'":
            bool(s.redis_url) and find_spec("redis") is None,
        f"{name('trace_percent')} is set, and {name('otlp_endpoint')} is not, so nothing is traced":
            not s.otlp_endpoint and s.trace_percent != Settings().trace_percent,
    }  # fmt: skip
    of_key, of_project = msgspec.structs.asdict(s.rate_limits_key), msgspec.structs.asdict(s.rate_limits_project)
    for class_, limit in of_key.items():
        text = f"{name('rate_limits_key')} allows a key more {class_} than {name('rate_limits_project')} allows its project"
        found[text] = 0 < of_project[class_] < limit
    return [text for text, clash in found.items() if clash]
