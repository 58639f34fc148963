"""What is tried again, and when."""

from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from asyncpg.exceptions import InterfaceError

from questline.model.reasons import Reason
from questline.processing.lane import parts_of
from questline.processing.schedule import Schedule
from questline.store.faults import FAULTS, TRANSIENT_FAULTS, Remedy, classify


@pytest.mark.parametrize(
    ("fault", "remedy", "reason"),
    [
        (asyncpg.ConnectionDoesNotExistError(), Remedy.WAIT, Reason.TRANSIENT_ERROR),
        (ConnectionRefusedError(), Remedy.WAIT, Reason.TRANSIENT_ERROR),
        (asyncpg.DiskFullError(), Remedy.WAIT, Reason.TRANSIENT_ERROR),
        (asyncpg.CannotConnectNowError(), Remedy.WAIT, Reason.TRANSIENT_ERROR),
        (asyncpg.ReadOnlySQLTransactionError(), Remedy.WAIT, Reason.TRANSIENT_ERROR),
        (asyncpg.DeadlockDetectedError(), Remedy.RETRY, Reason.TRANSIENT_ERROR),
        (asyncpg.SerializationError(), Remedy.RETRY, Reason.TRANSIENT_ERROR),
        (asyncpg.LockNotAvailableError(), Remedy.RETRY, Reason.TRANSIENT_ERROR),
        (asyncpg.QueryCanceledError(), Remedy.RETRY, Reason.TRANSIENT_ERROR),
        (asyncpg.UndefinedColumnError(), Remedy.RETRY, Reason.TRANSIENT_ERROR),
        (asyncpg.InternalServerError(), Remedy.RETRY, Reason.TRANSIENT_ERROR),
        (TimeoutError(), Remedy.RETRY, Reason.TRANSIENT_ERROR),
        (asyncpg.CheckViolationError(), Remedy.FINAL, Reason.STORE_ERROR),
        (asyncpg.UniqueViolationError(), Remedy.FINAL, Reason.STORE_ERROR),
        (asyncpg.InvalidTextRepresentationError(), Remedy.FINAL, Reason.STORE_ERROR),
        (OverflowError(), Remedy.FINAL, Reason.STORE_ERROR),
        (KeyError(), Remedy.FINAL, Reason.STORE_ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_fault_has_one_remedy(fault: Exception, remedy: Remedy, reason: Reason) -> None:
    assert (classify(fault).remedy, classify(fault).reason) == (remedy, reason)


def test_a_value_that_cannot_be_sent_is_not_taken_for_a_lost_connection() -> None:
    class DataError(InterfaceError, ValueError):  # as the driver raises it, under a name that it hides
        pass

    assert classify(DataError("value out of int64 range")).remedy is Remedy.FINAL


def test_no_fault_that_callers_are_told_to_repeat_makes_a_dead_letter_at_once() -> None:
    assert [kind for kind in TRANSIENT_FAULTS if classify(kind("")).remedy is Remedy.FINAL] == []


def test_every_row_of_the_table_can_be_reached() -> None:
    for number, fault in enumerate(FAULTS):
        for code in fault.codes or ("",):
            error = fault.kind("")
            if code:
                error.sqlstate = code.ljust(5, "0")  # type: ignore[attr-defined]
            assert FAULTS.index(classify(error)) == number


def test_waits_are_those_of_the_schedule_within_its_jitter_and_end() -> None:
    schedule = Schedule((1, 5, 30), 20)
    for failed, seconds in enumerate((1, 5, 30), 1):
        waits = [schedule.wait_after(failed) or 0 for _ in range(200)]
        assert min(waits) >= seconds * 0.8
        assert max(waits) <= seconds * 1.2
        assert max(waits) - min(waits) > seconds * 0.1
    assert schedule.wait_after(4) is None


@pytest.mark.parametrize(
    ("batch", "parts"),
    [
        ("a1 a2 a3", ["a1", "a2 a3"]),
        ("a1 a2 a3 a4", ["a1 a2", "a3 a4"]),
        ("a1 b1 a2 c1 b2", ["a1 a2", "b1 b2", "c1"]),
    ],
)
def test_a_refused_batch_is_taken_apart_by_project_and_one_of_a_project_by_halves(batch: str, parts: list[str]) -> None:
    events: list[Any] = [SimpleNamespace(project_id=name[0], name=name) for name in batch.split()]
    assert [" ".join(event.name for event in part) for part in map(list[Any], parts_of(events))] == parts
