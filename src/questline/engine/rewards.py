"""Rewards: what levels, milestones, achievements, items and rules give, each in its own way."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from questline.engine import boosts, grants, inventory, vitals
from questline.model.definition import Reward

if TYPE_CHECKING:
    from questline.engine.draft import Draft


def give(draft: "Draft", rewards: Iterable[Reward], times: int, cause: str) -> None:
    """Give each reward `times` over; raises Refusal where the ledger cannot hold it."""
    for reward in rewards:
        if reward.currency is not None:
            draft.credit(reward.currency, reward.value * times, cause)
        elif reward.item is not None:
            inventory.receive(draft, reward.item, reward.quantity * times, cause)
        elif reward.vital is not None:
            give(draft, vitals.change(draft, reward.vital, reward.value * times, cause), 1, f"vital:{reward.vital}")
        elif reward.boost is not None:
            boosts.begin(draft, reward.boost, cause)
        elif reward.reward is not None:
            grants.grant(draft, reward.reward, reward.quantity * times, cause)
