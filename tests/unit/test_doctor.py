"""What the doctor makes of what it found."""

from datetime import UTC, datetime

import pytest

from questline.cli import doctor
from questline.store.health import Facts


@pytest.mark.parametrize(
    ("used", "api_processes", "workers", "state"),
    [
        (40, 3, 4, "good"),  # 3 * 19 + 4 * 8 = 89
        (40, 5, 5, "doubtful"),  # 135, once they are busy
        (80, 1, 1, "doubtful"),  # others use them
    ],
)
def test_connections_must_be_enough_for_all_processes_that_live(
    used: int, api_processes: int, workers: int, state: str
) -> None:
    found = Facts(
        180000, datetime(2026, 1, 5, tzinfo=UTC), "app", False, [], connections=used, connections_max=97,
        workers={"1": workers}, api_processes=api_processes,
    )  # fmt: skip
    assert doctor._connections(found, 10).state == state
