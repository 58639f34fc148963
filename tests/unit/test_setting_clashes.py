"""Settings that may each be right, and together cannot be meant."""

from typing import Any

import pytest

from questline.cli.clashes import clashes
from questline.model.rates import RateLimits
from questline.settings import Settings


def test_settings_as_they_come_do_not_clash() -> None:
    assert clashes(Settings()) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"stream_bytes_max": 2048}, "the largest event fits in no stream"),
        ({"retry_seconds": (1, 30, 5)}, "QUESTLINE_RETRY_SECONDS falls"),
        ({"worker_port": 8080}, "are the same"),
        ({"dev": True, "host": "0.0.0.0"}, "lets anybody who reaches 0.0.0.0"),
        ({"dev": True, "hsts_seconds": 60}, "no place for that"),
        ({"admin_token": "short"}, "QUESTLINE_ADMIN_TOKEN is shorter"),
        ({"outbound_private": True}, "your own network"),
        ({"trace_percent": 5}, "nothing is traced"),
        ({"rabbitmq_url": "amqp://broker"}, "QUESTLINE_TRANSPORT is postgres, so nobody reads it"),
        ({"transport": "rabbitmq"}, "QUESTLINE_RABBITMQ_URL is not set"),
        (
            {"rate_limits_key": RateLimits(ingest=9), "rate_limits_project": RateLimits(ingest=5)},
            "allows a key more ingest",
        ),
    ],
)
def test_a_clash_is_told_with_what_to_do(changed: dict[str, Any], told: str) -> None:
    (found,) = clashes(Settings(**changed))
    assert told in found
