"""Steps of tiers and tiers of achievements in a program after a program: nobody falls, and nobody is paid twice."""

from typing import Any, cast

import pytest

from questline.engine.achievements import tier_of
from questline.engine.tiers import step_name
from questline.model.records import RecordKind
from questline.model.tiers import StepMark, TierState
from questline.testing.scenario import Scenario


def _club(steps: dict[str, int], **way: Any) -> Scenario:
    """Steps by their amounts; each but the first gives a gem."""
    return Scenario(
        {
            "currencies": {"coins": {"kind": "currency"}, "gems": {"kind": "currency"}},
            "rules": {"buy": {"on": "buy", "award": {"coins": {"field": "n"}}}},
            "tiers": {
                "club": {
                    "steps": [
                        {"name": name, "at": at, **({"rewards": [{"currency": "gems", "value": 1}]} if at else {})}
                        for name, at in steps.items()
                    ],
                    **(way or {"earned": "coins"}),
                }
            },
        }
    )


def _stands(scenario: Scenario) -> str:
    return step_name(scenario.program.tiers["club"], cast(TierState, scenario.user().records[RecordKind.TIER, "club"]))


BRONZE_TO_GOLD = {"bronze": 0, "silver": 100, "gold": 1000}


@pytest.mark.parametrize("way", [{"earned": "coins"}, {"balance": "coins"}, {"balance": "coins", "demote": True}])
@pytest.mark.parametrize(
    ("steps", "at_once", "after_200_more"),
    [
        (BRONZE_TO_GOLD, "gold", ("gold", 0)),
        ({"bronze": 0, "iron": 50, "silver": 100, "gold": 1000}, "gold", ("gold", 0)),
        ({"bronze": 0, "silver": 100, "electrum": 500, "gold": 1000, "platinum": 1600}, "gold", ("platinum", 1)),
        ({"bronze": 0, "silver": 100, "oro": 1000}, "oro", ("oro", 0)),
        ({"bronze": 0, "argento": 100, "oro": 1000}, "oro", ("oro", 0)),
        ({"bronze": 0, "gold": 1000}, "gold", ("gold", 0)),
        ({"bronze": 0, "silver": 100}, "silver", ("silver", 0)),
        ({"bronze": 0, "gold": 50}, "gold", ("gold", 0)),
        ({"wood": 0}, "wood", ("wood", 0)),
    ],
)
def test_users_stay_on_their_step_whatever_steps_a_newer_program_has_and_are_paid_for_new_heights_alone(
    way: dict[str, Any], steps: dict[str, int], at_once: str, after_200_more: tuple[str, int]
) -> None:
    old, new = _club(BRONZE_TO_GOLD, **way), _club(steps, **way)
    old.play([("2026-01-05T12:00Z", "buy", {"n": 1500})])
    assert old.user().balances["gems"] == 2
    new.users = old.users
    assert _stands(new) == at_once
    (played,) = new.play([("2026-01-05T12:01Z", "buy", {"n": 200})])
    gems = sum(t.amount for t in played.decision.transfers if t.currency == "gems")
    assert (_stands(new), gems) == after_200_more
    moved = [notice.type for notice in played.decision.notices if notice.type.startswith("tier.")]
    assert moved == (["tier.up"] if gems else [])


def test_a_step_that_is_made_harder_is_kept_and_not_paid_again_where_it_is_reached_again() -> None:
    old, new = _club(BRONZE_TO_GOLD), _club({"bronze": 0, "silver": 100, "gold": 2000})
    old.play([("2026-01-05T12:00Z", "buy", {"n": 1500})])
    new.users = old.users
    assert _stands(new) == "gold"
    new.play([("2026-01-05T12:01Z", "buy", {"n": 200}), ("2026-01-05T12:02Z", "buy", {"n": 800})])
    assert (_stands(new), new.user().balances["gems"]) == ("gold", 2)


def test_a_step_that_is_renamed_and_later_made_harder_is_kept() -> None:
    old, renamed, harder = (
        _club({"bronze": 0, "silver": 100, **top}) for top in ({"gold": 1000}, {"oro": 1000}, {"oro": 2000})
    )
    old.play([("2026-01-05T12:00Z", "buy", {"n": 1500})])
    renamed.users = harder.users = old.users
    renamed.play([("2026-01-05T12:01Z", "buy", {"n": 1})])
    harder.play([("2026-01-05T12:02Z", "buy", {"n": 1000})])
    assert (_stands(harder), harder.user().balances["gems"]) == ("oro", 2)


def test_a_step_that_was_taken_out_and_comes_back_is_not_paid_again() -> None:
    old, without, back = _club(BRONZE_TO_GOLD), _club({"bronze": 0, "silver": 100}), _club(BRONZE_TO_GOLD)
    old.play([("2026-01-05T12:00Z", "buy", {"n": 1500})])
    without.users = back.users = old.users
    without.play([("2026-01-05T12:01Z", "buy", {"n": 200})])
    assert _stands(without) == "silver"
    assert _stands(back) == "gold"
    back.play([("2026-01-05T12:02Z", "buy", {"n": 200})])
    assert (_stands(back), back.user().balances["gems"]) == ("gold", 2)


def test_who_was_led_down_is_not_paid_for_steps_below_their_highest() -> None:
    way = {"balance": "coins", "demote": True}
    old, new = (
        _club(BRONZE_TO_GOLD, **way),
        _club({"bronze": 0, "iron": 50, "silver": 100, "gold": 1000, "top": 1200}, **way),
    )
    spend = {"currency": "coins", "amount": 1490}
    old.play([("2026-01-05T12:00Z", "buy", {"n": 1500}), ("2026-01-05T12:01Z", "$spend", spend)])
    new.users = old.users
    assert _stands(new) == "bronze"
    new.play([("2026-01-05T12:02Z", "buy", {"n": 1000})])
    assert (_stands(new), new.user().balances["gems"]) == ("gold", 2)
    new.play([("2026-01-05T12:03Z", "buy", {"n": 1000})])
    assert (_stands(new), new.user().balances["gems"]) == ("top", 3)


def test_a_state_of_an_older_release_is_read_by_its_places_until_it_is_written_anew() -> None:
    scenario = _club(BRONZE_TO_GOLD)
    scenario.user().balances["coins"] = 1500
    scenario.user().records[RecordKind.TIER, "club"] = TierState(2, 2, 1500)
    assert _stands(scenario) == "gold"
    scenario.play([("2026-01-05T12:01Z", "buy", {"n": 1})])
    gold = StepMark("gold", 1000)
    assert scenario.user().records[RecordKind.TIER, "club"] == TierState(2, 2, 1501, gold, gold)
    assert scenario.user().balances.get("gems", 0) == 0


@pytest.mark.parametrize(
    ("tiers", "tier", "after_another"),
    [
        ([1, 3], 2, (2, 0)),
        ([1, 2, 3], 3, (3, 0)),
        ([0.5, 1, 2.5, 3, 4], 4, (5, 1)),
        ([3], 1, (1, 0)),
        ([3, 4], 1, (2, 1)),
        ([1, 4], 2, (2, 0)),
        ([1, 2], 2, (2, 0)),
        ([1, 4, 5], 2, (2, 0)),
        ([1], 2, (2, 0)),
    ],
)
def test_tiers_of_an_achievement_are_found_by_their_thresholds_in_a_newer_program_and_paid_once(
    tiers: list[float], tier: int, after_another: tuple[int, int]
) -> None:
    def doer(thresholds: list[float]) -> Scenario:
        reward = [{"currency": "gems", "value": 1}]
        return Scenario(
            {
                "currencies": {"gems": {"kind": "currency"}},
                "metrics": {"done": {"on": "t", "count": True}, "seen": {"on": "look", "count": True}},
                "achievements": {
                    "doer": {"title": "Doer", "requirements": [{"metric": "done"}], "tiers": [{"threshold": t, "rewards": reward} for t in thresholds]},
                    "other": {"title": "Other", "requirements": [{"achievement": "doer", "threshold": tier}, {"metric": "seen"}]},
                    "more": {"title": "More", "requirements": [{"achievement": "doer", "threshold": tier + 1}, {"metric": "seen"}]},
                },
            }
        )  # fmt: skip

    old, new = doer([1, 3]), doer(tiers)
    old.play([("2026-01-05T12:00Z", "t", {})] * 3)
    assert old.user().balances["gems"] == 2
    new.users = old.users
    new.play([("2026-01-05T12:01Z", "look", {})])
    assert ("other" in new.user().achievements, "more" in new.user().achievements) == (True, False)
    new.play([("2026-01-05T12:02Z", "t", {})])
    doer_now = tier_of(new.program.achievements["doer"], new.user().achievements["doer"])
    assert (doer_now, new.user().balances["gems"] - 2) == after_another
