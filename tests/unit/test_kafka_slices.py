"""What a lane takes up of a partition of the log."""

from datetime import UTC, datetime

import pytest

from questline.transport.kafka_slices import Position, Record, Slice

AT = datetime(2026, 1, 1, tzinfo=UTC)


def position(*sizes: int) -> Position:
    """A partition of which records of these sizes are here."""
    made = Position(0, 0)
    for offset, size in enumerate(sizes):
        made.add(Record(offset, AT, None, b"x" * size))
    return made


@pytest.mark.parametrize(
    ("sizes", "records", "bytes_", "taken"),
    [
        ((5, 5, 5), 2, 100, 2),
        ((5, 5, 5), 9, 100, 3),
        ((5, 5, 5), 9, 10, 2),
        ((5, 5, 5), 9, 9, 1),
        ((50, 5), 9, 10, 1),  # one at least, though it alone is over the bound
        ((50, 5), 9, 0, 1),
        ((), 9, 9, 0),
    ],
)
def test_as_many_records_are_taken_up_as_fit_by_number_and_bytes(
    sizes: tuple[int, ...], records: int, bytes_: int, taken: int
) -> None:
    assert [record.offset for record in position(*sizes).first(records, bytes_)] == list(range(taken))


def test_the_bytes_of_a_partition_are_those_of_what_is_held_of_it() -> None:
    held = position(5, 7, 9)
    assert held.bytes == 21
    held.go_on(Slice(held, 0, held.first(2, 100)))
    assert (held.bytes, held.next_offset) == (9, 2)
    held.go_to(50)
    assert (held.bytes, held.next_offset, list(held.records)) == (0, 50, [])
