"""What an answer means, how long is waited, and what a secret signs with."""

from datetime import UTC, datetime, timedelta

import pytest

from questline.model.deliveries import Result, meaning_of
from questline.model.limits import DELIVERY_JITTER_PERCENT, DELIVERY_TRIES_MAX, DELIVERY_WAIT_SECONDS_MAX
from questline.outward.webhooks import key_of, retry_after_seconds, wait_seconds

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MEANINGS = {
    Result.DONE: [200, 201, 203, 204, 206, 299],
    Result.TAKEN: [202],
    Result.REFUSED: [400, 401, 403, 404, 409, 410, 413, 422, 451, 499],
    Result.AGAIN: [None, 100, 199, 300, 301, 302, 307, 308, 399, 408, 425, 429, 500, 501, 502, 503, 504, 599, 600],
}


@pytest.mark.parametrize(("result", "statuses"), MEANINGS.items())
def test_every_status_means_one_thing(result: Result, statuses: list[int | None]) -> None:
    assert {status: meaning_of(status) for status in statuses} == dict.fromkeys(statuses, result)


def test_a_message_is_tried_for_about_a_day() -> None:
    jitter = DELIVERY_JITTER_PERCENT / 100
    waits = [wait_seconds(tries) for tries in range(1, DELIVERY_TRIES_MAX)]
    assert all(
        (1 - jitter) * even <= wait <= (1 + jitter) * even
        for even, wait in zip([min(5.0 * 2**n, DELIVERY_WAIT_SECONDS_MAX) for n in range(17)], waits, strict=True)
    )
    assert 0.8 * 86_400 < sum(waits) < 1.4 * 86_400
    assert len({wait_seconds(1) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        ("0", 0),
        ("99999999999999999999", 21_600),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("Mon, 04 May 2026 12:10:00 GMT", 600),
        ("Mon, 04 May 2026 11:00:00 GMT", 0),
        ("Tue, 04 May 2027 12:00:00 GMT", 21_600),
        ("Mon, 99 May 2026 12:10:00 GMT", 0),
        ("²", 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_and_bounded(value: str | None, seconds: float) -> None:
    assert retry_after_seconds(value, NOW) == seconds
    assert wait_seconds(1, seconds) >= seconds


def test_a_date_without_a_zone_breaks_nothing() -> None:
    assert 0 <= retry_after_seconds("Mon, 04 May 2026 12:10:00", NOW) <= timedelta(hours=6).total_seconds()


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("whsec_AAECAw==", b"\x00\x01\x02\x03"),
        ("whsec_AAECAw", b"\x00\x01\x02\x03"),
        ("whsec_no base64!", b"whsec_no base64!"),
        ("AAECAw==", b"AAECAw=="),
        ("ünïcode", "ünïcode".encode()),
        ("", b""),
    ],
)
def test_a_secret_signs_with_its_base64_only_where_it_says_so(secret: str, key: bytes) -> None:
    assert key_of(secret) == key
