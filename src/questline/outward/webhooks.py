"""Messages as receivers get them: Standard Webhooks (https://www.standardwebhooks.com), signed with the project's secret."""

import base64
import binascii
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version

import msgspec
from standardwebhooks import Webhook

from questline.model.limits import (
    DELIVERY_JITTER_PERCENT,
    DELIVERY_RETRY_AFTER_SECONDS_MAX,
    DELIVERY_WAIT_SECONDS,
    DELIVERY_WAIT_SECONDS_MAX,
)
from questline.store.deliveries import Message

_PREFIX = "whsec_"
_USER_AGENT = f"Questline/{version('questline')}"


class _Body(msgspec.Struct):
    """What a receiver reads. `timestamp` is when it happened, whenever it is sent."""

    type: str
    timestamp: datetime
    data: dict[str, object]


def body_of(message: Message) -> bytes:
    """Return the JSON of a message, the same for every try."""
    data = {"userId": message.user, **msgspec.json.decode(message.data, type=dict[str, object])}
    return msgspec.json.encode(_Body(message.type, message.at.astimezone(UTC), data))


def key_of(secret: str) -> bytes:
    """Return the bytes that a project's secret signs with: `whsec_` and base64 as the standard has it, else the text itself."""
    if secret.startswith(_PREFIX):
        encoded = secret.removeprefix(_PREFIX)
        try:
            return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def headers_of(message: Message, body: bytes, key: bytes, now: datetime, traceparent: str | None) -> dict[str, str]:
    """Return the headers of one try; the key must not be empty."""
    headers = {
        "content-type": "application/json",
        "user-agent": _USER_AGENT,
        "webhook-id": message.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(key).sign(message.id, now.astimezone(UTC), body.decode()),
    }
    return headers if traceparent is None else {**headers, "traceparent": traceparent}


def retry_after_seconds(value: str | None, now: datetime) -> float:
    """Return how long a receiver wants us to wait by its Retry-After (RFC 9110): seconds or a date; 0: it does not say."""
    if not value:
        return 0.0
    if value.isascii() and value.isdigit():
        asked = float(value[:9])
    else:
        try:
            asked = (parsedate_to_datetime(value).astimezone(UTC) - now).total_seconds()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(asked, 0.0), DELIVERY_RETRY_AFTER_SECONDS_MAX)


def wait_seconds(tries: int, asked: float = 0.0) -> float:
    """Return the wait after so many tries, with jitter, and no shorter than what the receiver asked for."""
    longest = min(DELIVERY_WAIT_SECONDS * 2.0 ** min(tries - 1, 30), DELIVERY_WAIT_SECONDS_MAX)
    jitter = DELIVERY_JITTER_PERCENT / 100
    return max(longest * random.uniform(1 - jitter, 1 + jitter), asked)
