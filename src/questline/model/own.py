"""What users may do by themselves, with a token of theirs: one table, read by the edge, the API's description and the docs.

A token reaches what its own user has, and nothing else. What it reads cannot be changed; a project allows and forbids
commands by its setting `userCommands`.
"""

from collections.abc import Mapping

import msgspec


class OwnCommand(msgspec.Struct, frozen=True):
    """A command that a user may give for themselves; `by_default`: unless the project forbids it."""

    meaning: str
    by_default: bool = True


OWN_READS: dict[str, str] = {
    "getProfile": "their profile, without the guards' score",
    "getHistory": "what was decided about them, without what guards said",
    "getStanding": "their progress in an achievement",
    "getProgress": "how their progress in an achievement changed",
    "listNotices": "what they are told",
    "listGrants": "their rewards",
    "getInventory": "what they hold",
    "getLeaderboard": "boards, and their own place",
    "getUserLeagues": "their leagues",
    "listReferrals": "whom they brought",
}
"""Operations by which a user token reads, with what they show its user."""

OWN_COMMANDS: dict[str, OwnCommand] = {
    "checkIn": OwnCommand("check in"),
    "spend": OwnCommand("spend a currency"),
    "buyItem": OwnCommand("buy an item"),
    "useItem": OwnCommand("use an item"),
    "redeemItem": OwnCommand("redeem an item of the reward store"),
    "claimReward": OwnCommand("claim a reward"),
    "startQuest": OwnCommand("start a quest"),
    "completeQuest": OwnCommand("complete a quest whose steps are complete"),
    "chooseTarget": OwnCommand("choose the target of a streak"),
    "chooseDayStart": OwnCommand("choose when a day of a streak begins"),
    "getReferralCode": OwnCommand("have a referral code"),
    "pauseStreak": OwnCommand("pause a streak", by_default=False),
    "reportProgress": OwnCommand("report progress of an achievement, which nobody checks", by_default=False),
    "completeStep": OwnCommand("complete a step of a quest that you decide, which nobody checks", by_default=False),
}
"""Operations by which a user token changes something."""

HIDDEN_NOTICES = ("guard.", "review.", "user.")
"""How kinds of notices begin that are for operators."""

HIDDEN_CHANGES = frozenset({"guard", "suspicion", "block", "review"})
"""Kinds of changes, in histories and outcomes, that are for operators."""

_BY_DEFAULT = frozenset(name for name, command in OWN_COMMANDS.items() if command.by_default)


def allowed_commands(chosen: Mapping[str, bool] | None) -> frozenset[str]:
    """Return the commands that a project's users may give, by what its setting `userCommands` changes."""
    if not chosen:
        return _BY_DEFAULT
    forbidden = {name for name, allowed in chosen.items() if not allowed}
    return (_BY_DEFAULT - forbidden) | {name for name, allowed in chosen.items() if allowed}
