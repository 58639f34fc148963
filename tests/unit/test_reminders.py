"""A streak at risk: told where a run would end, and nowhere else."""

from typing import Any

import pytest

from questline.engine.validate import validate
from questline.testing.scenario import Scenario

REMIND = {"hour": 18, "from": 3}
RISK: dict[str, Any] = {"streak": "daily"}


@pytest.mark.parametrize(
    ("streak", "days", "at", "told"),
    [
        ({}, (1, 2, 3), "2026-01-04T18:00Z", [3]),
        ({}, (1, 2), "2026-01-03T18:00Z", []),                                  # too short
        ({}, (1, 2, 3, 4), "2026-01-04T18:00Z", []),                            # kept up today
        ({}, (1, 2, 3), "2026-01-05T18:00Z", []),                               # broken already
        ({"freezes": {"max": 1, "earnEvery": 3}}, (1, 2, 3), "2026-01-04T18:00Z", []),  # a freeze saves it
        ({"freezes": {"max": 1, "earnEvery": 4}}, (1, 2, 3), "2026-01-04T18:00Z", [3]),
        ({"freezes": {"max": 1, "earnEvery": 3}}, (1, 2, 3), "2026-01-05T18:00Z", [3]),  # the last freeze is used up
    ],
)  # fmt: skip
def test_a_run_is_at_risk_when_it_ends_unless_the_user_acts_today(
    streak: dict[str, Any], days: tuple[int, ...], at: str, told: list[int]
) -> None:
    scenario = Scenario({"streaks": {"daily": {"on": "e", "remind": REMIND, **streak}}})
    scenario.play([(f"2026-01-{day:02d}T12:00Z", "e", {}) for day in days])
    [played] = scenario.play([(at, "$streak_at_risk", RISK)])
    assert [n.data["length"] for n in played.decision.notices if n.type == "streak.at_risk"] == told
    assert (played.effects, played.decision.streaks) == ((), ())


def test_only_a_daily_streak_has_an_hour() -> None:
    errors = validate({"streaks": {"w": {"on": "e", "every": "week", "remind": REMIND}}})
    assert [(error.path, "daily" in error.message) for error in errors] == [("streaks.w.remind", True)]
