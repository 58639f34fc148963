"""Whether the log may hold what was written before a time, as the offsets of its partitions tell; no broker is asked."""

from datetime import UTC, datetime, timedelta

import pytest
from conftest_api import Instance

from questline.store import kafka_offsets

END = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE, AFTER = END - timedelta(seconds=1), END + timedelta(seconds=1)
PARTITIONS = 3


@pytest.mark.parametrize(
    ("read_to", "waits"),
    [
        pytest.param({}, True, id="nobody has begun to read it"),
        pytest.param({0: AFTER, 1: AFTER}, True, id="one partition was never dealt out"),
        pytest.param({0: AFTER, 1: AFTER, 2: None}, True, id="one was never read to its end"),
        pytest.param({0: AFTER, 1: BEFORE, 2: AFTER}, True, id="one is behind"),
        pytest.param({0: AFTER, 1: END, 2: AFTER}, False, id="all are past it"),
    ],
)
async def test_a_log_waits_until_each_of_its_partitions_was_read_past_the_time(
    questline: Instance, read_to: dict[int, datetime | None], waits: bool
) -> None:
    rows = [("log", partition, at) for partition, at in read_to.items()]
    transaction = questline.owner.transaction()
    await transaction.start()
    try:
        insert = "INSERT INTO kafka_offsets (topic, partition, next_offset, current_at) VALUES ($1, $2, 0, $3)"
        await questline.owner.executemany(insert, rows)
        assert await kafka_offsets.waits_from_before(questline.owner, "log", PARTITIONS, END) is waits
    finally:
        await transaction.rollback()
