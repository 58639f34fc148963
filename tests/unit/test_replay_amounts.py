"""Amounts as `questline replay` shows them: pages of a dry run are added up as floats."""

import pytest

from questline.cli.replay import signed


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (12, "+12"),
        (-3, "-3"),
        (-20.0, "-20"),
        (0.1 + 0.2, "+0.3"),
        (15.1 + 7, "+22.1"),
        (-0.0000016, "-0.000002"),
        (2**62, "+4611686018427387904"),
    ],
)
def test_an_amount_is_shown_with_its_sign_and_at_most_six_decimals(amount: float, shown: str) -> None:
    assert signed(amount) == shown
