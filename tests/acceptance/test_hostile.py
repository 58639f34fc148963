"""Every parser against inputs that were made to break it: no answer of 5xx, none that takes long, bounded memory."""

import gzip
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from questline.api.app import description

from . import hostile
from .conftest import Instance, eventually

SECONDS_MAX = 45.0  # of one answer, on a machine that does other things as well
GROWTH_MAX = 128 * 1024 * 1024
XML, YAML, NDJSON = "application/xml", "application/yaml", "application/x-ndjson"
CLOUD, CLOUDS = "application/cloudevents+json", "application/cloudevents-batch+json"
SEGMENT = [f"/v1/{kind}" for kind in ("track", "identify", "page", "screen", "group", "alias", "batch")]

# parser, path, content type, the corpora that are meant for it
PARSERS: list[tuple[str, str, str, str, list[list[bytes]]]] = [
    ("event",       "POST", "/v1/events",         "application/json", [hostile.JSON]),
    ("cloud event", "POST", "/v1/events",         CLOUD,              [hostile.JSON]),
    ("cloud batch", "POST", "/v1/events",         CLOUDS,             [hostile.JSON]),
    ("batch",       "POST", "/v1/events/batch",   "application/json", [hostile.JSON]),
    ("track",       "POST", "/v1/events/track",   "application/json", [hostile.JSON]),
    ("NDJSON",      "POST", "/v1/ingest/stream",  NDJSON,             [hostile.JSON]),
    ("XML",         "POST", "/v1/ingest/stream",  XML,                [hostile.XML]),
    ("command",     "POST", "/v1/currency/spend", "application/json", [hostile.JSON]),
    ("program",     "PUT",  "/v1/program",        "application/json", [hostile.JSON]),
    ("YAML",        "POST", "/v1/program/plan",   YAML,               [hostile.YAML, hostile.JSON]),
    ("coupons",     "POST", "/v1/coupons/p",      NDJSON,             [hostile.JSON]),
    ("user",        "POST", "/v1/users",          "application/json", [hostile.JSON]),
    *(("Segment",   "POST", path,                 "application/json", [hostile.JSON]) for path in SEGMENT),
]  # fmt: skip
tried: Counter[str] = Counter()


@pytest.fixture(scope="module")
def watched(running: Instance) -> Iterator[Instance]:
    """The instance, whose API must not have grown by much when all is over; how much was tried is printed."""
    process = psutil.Process(running.pids()["api"])
    before = process.memory_info().rss
    with _peak_of(process) as peak:
        yield running
    print(
        f"\ntried {sum(tried.values()):,}: " + ", ".join(f"{name} {count:,}" for name, count in sorted(tried.items()))
    )
    print(f"the API grew by {(peak[0] - before) / 2**20:.0f} MB at most")
    assert peak[0] - before < GROWTH_MAX
    assert "Traceback" not in (running.data / "logs" / "api.log").read_text()


def ask(instance: Instance, name: str, method: str, path: str, **more: Any) -> httpx.Response:
    """Send one input; the answer is no 5xx, comes in time and is a problem document where it is an error."""
    tried[name] += 1
    started = time.monotonic()
    answer = instance.client.request(method, path, timeout=SECONDS_MAX, **more)
    told = (name, method, path, answer.status_code, answer.text[:300], str(more)[:300])
    assert answer.status_code < 500, told
    assert time.monotonic() - started < SECONDS_MAX, told
    if answer.status_code >= 400:
        assert answer.json()["status"] == answer.status_code, told
    return answer


@pytest.mark.parametrize(
    ("name", "method", "path", "media", "corpora"), PARSERS, ids=[f"{p[0]} {p[2]}" for p in PARSERS]
)
def test_a_parser_survives_its_corpus(
    watched: Instance, name: str, method: str, path: str, media: str, corpora: list[list[bytes]]
) -> None:
    for body in itertools.chain(hostile.ANYTHING, *corpora):
        ask(watched, name, method, path, content=body, headers={"Content-Type": media})


@pytest.mark.parametrize(
    "path", ["/v1/events", "/v1/events/batch", "/v1/ingest/stream", "/v1/batch", "/v1/currency/spend"]
)
def test_packed_bodies_are_unpacked_within_bounds(watched: Instance, path: str) -> None:
    for body in hostile.GZIP:
        ask(watched, "gzip", "POST", path, content=body, headers={"Content-Encoding": "gzip"})
    for body in hostile.XML if path == "/v1/ingest/stream" else hostile.JSON[:20]:
        packed = {"Content-Encoding": "gzip", "Content-Type": XML}
        ask(watched, "gzip", "POST", path, content=gzip.compress(body), headers=packed)


@pytest.mark.parametrize(
    "path", ["/v1/events", "/v1/track", "/v1/ingest/stream", "/v1/currency/spend", "/v1/program/plan"]
)
def test_headers_that_no_client_sends_break_nothing(watched: Instance, path: str) -> None:
    for headers in hostile.HEADERS:
        ask(watched, "headers", "POST", path, content=b'{"type":"t","userId":"u"}', headers=headers)


def test_every_route_survives_bodies_and_paths_that_are_not_its_own(watched: Instance) -> None:
    """The same draw each time; each route gets some of everything."""
    draw = random.Random(4)
    words = [
        "%00",
        "%2F",
        "..%2F..",
        "%F0%9F%92%A9",
        "a" * 600,
        "'%22%3B--",
        "%E2%80%AE",
        "-1",
        "9" * 40,
        "%FF",
        "nan",
        "{a}",
        " ",
    ]
    for path, item in description()["paths"].items():
        for method in item:
            for _ in range(6):
                filled = path
                while "{" in filled and "}" in filled:
                    before, _, rest = filled.partition("{")
                    filled = before + draw.choice(words).replace("{a}", "%7Ba%7D") + rest.partition("}")[2]
                query = draw.choice(
                    ["", "?limit=-1", "?limit=1e9", "?cursor=%00", "?cursor=x&cursor=y", "?" + "a=b&" * 200, "?%FF=%FF"]
                )
                body = draw.choice(hostile.ANYTHING + hostile.JSON) if method in ("post", "put", "patch") else b""
                if len(filled) < 8_000:
                    ask(watched, "any route", method.upper(), filled + query, content=body)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["u", "t", "", "\0", "$x"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["type", "userId", "payload", "occurredAt", "eventId", "idempotencyKey", "event", "timestamp", "sentAt", "messageId", "data", "time",
     "specversion", "id", "source", "subject", "traits", "properties", "context", "anonymousId", "previousId", "groupId", "batch", "events",
     "currency", "amount", "schemaVersion", "correlationId"]
)  # fmt: skip


@seed(4)
@settings(max_examples=250, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(names, values, max_size=8), st.sampled_from(PARSERS), st.binary(max_size=6), st.integers(0, 400))
def test_what_hypothesis_makes_of_an_event_breaks_no_parser(
    watched: Instance, document: dict[str, Any], parser: tuple[Any, ...], splice: bytes, place: int
) -> None:
    """A document with odd values, and the same with some bytes put into it."""
    name, method, path, media, _ = parser
    body = json.dumps(document).encode()
    if media == XML:
        inner = "".join(f"<{key}>{str(value)[:50]}</{key}>" for key, value in document.items())
        body = f"<r><event>{inner}</event></r>".encode(errors="replace")
    for content in (body, body[:place] + splice + body[place:]):
        ask(watched, f"drawn: {name}", method, path, content=content, headers={"Content-Type": media})


@pytest.mark.tells
def test_it_all_still_works(watched: Instance) -> None:
    """The events that were accepted are applied or refused, and the next one is."""
    answer = watched.client.post(
        "/v1/events", json={"type": "after", "userId": "survivor"}, headers={"Prefer": "wait=10"}
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "processed")
    eventually(lambda: watched.client.get("/v1/events?status=pending&limit=1").json()["items"] == [])


@contextmanager
def _peak_of(process: psutil.Process) -> Iterator[list[int]]:
    """Watch a process's memory; the list holds the most it had."""
    peak, over = [process.memory_info().rss], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
