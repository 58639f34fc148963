"""When what a broker was handed is handed over again."""

import pytest

from questline.transport.unapplied import Depth, Patience


@pytest.mark.parametrize(
    ("messages", "consumers", "older_than"),
    [
        (       0,         1,           60.0),  # all was brought, or lost
        (       0,         0,           60.0),
        (       1,         0,           None),  # nobody reads: nothing can be known, nor applied
        (       1,         1,        3_600.0),  # something before it may be lost
        (      64,         1,        3_600.0),
        (      65,         1,           None),  # they are to be read first
    ],
)  # fmt: skip
def test_what_the_queue_holds_decides_how_long_rows_wait(
    messages: int, consumers: int, older_than: float | None
) -> None:
    found = Patience().with_these({7: Depth(messages, consumers)}, 0.0)
    assert found == ({} if older_than is None else {7: older_than})


def test_each_further_wait_is_twice_as_long_up_to_an_hour_and_the_first_again_once_all_is_applied() -> None:
    patience, empty, at, waits = Patience(), {7: Depth(0, 1)}, 0.0, []
    for _ in range(8):
        waits.append(patience.with_these(empty, at)[7])
        patience.tried([7], at)
        at += waits[-1]
    assert waits == [60.0, 120.0, 240.0, 480.0, 960.0, 1_920.0, 3_600.0, 3_600.0]
    patience.with_these({}, at)
    assert patience.with_these(empty, at)[7] == 60.0


def test_partitions_wait_each_by_itself() -> None:
    patience, empty = Patience(), Depth(0, 1)
    patience.tried([7], 0.0)
    assert patience.with_these({7: empty, 8: empty}, 60.0) == {7: 120.0, 8: 60.0}
