"""The items of a batch are counted before they are kept."""

import tracemalloc

import msgspec
import pytest

from questline.api.hot.counting import check_count
from questline.api.problems import Problem

MANY = 2_000_000
ZEROS = b"[" + b"0," * MANY + b"0]"


@pytest.mark.parametrize("body", [ZEROS, b'{"events":' + ZEROS + b"}", b' {"sentAt":1,"batch":' + ZEROS + b"}"])
def test_a_batch_of_millions_of_items_is_refused_without_keeping_them(body: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(Problem) as caught:
        check_count(body, 1_000)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (caught.value.status, caught.value.code, caught.value.extra["limit"]) == (413, "batch-too-large", 1_000)
    assert held < 2 * len(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"[0,0]",
        msgspec.json.encode([{"type": "t", "payload": {"a": [0] * 2_000}}] * 1_000),
        msgspec.json.encode({"events": [{"type": "t", "payload": {"batch": [0] * 2_000}}] * 1_000}),
        b'"' + b"," * MANY,  # no JSON, which is for its reader to say
        b"[" * MANY + b"0," * MANY,
    ],
)
def test_any_other_body_is_left_to_who_reads_it(body: bytes) -> None:
    check_count(body, 1_000)
