"""The audit log is told of each caller, user and address of a day, and of none twice while it is remembered."""

from datetime import date

import pytest

from questline.api.mints import Mints

FIRST = (date(2026, 11, 21), "key:1", "ada", "192.0.2.1")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (FIRST, True),
        ((date(2026, 11, 22), "key:1", "ada", "192.0.2.1"), False),
        ((date(2026, 11, 21), "key:2", "ada", "192.0.2.1"), False),
        ((date(2026, 11, 21), "key:1", "bo", "192.0.2.1"), False),
        ((date(2026, 11, 21), "key:1", "ada", "192.0.2.2"), False),
    ],
)
def test_what_was_told_is_one_caller_one_user_one_address_and_one_day(
    other: tuple[date, str, str, str], told: bool
) -> None:
    mints = Mints()
    mints.told(*FIRST)
    assert mints.is_told(*other) is told


def test_at_the_bound_and_on_another_day_what_was_told_is_forgotten() -> None:
    mints = Mints(remembered_max=2)
    day, actor, _, address = FIRST
    for user in ("ada", "bo", "cy"):
        mints.told(day, actor, user, address)
    assert [mints.is_told(day, actor, user, address) for user in ("ada", "bo", "cy")] == [False, False, True]
    mints.told(date(2026, 11, 22), actor, "ada", address)
    assert not mints.is_told(day, actor, "cy", address)
