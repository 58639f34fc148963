"""Event types the engine itself knows: what each does, and which rows of a user it may touch."""

from collections.abc import Callable, Iterable
from datetime import tzinfo
from typing import TYPE_CHECKING

import msgspec

from questline.engine import (
    backfills,
    blocks,
    check_in,
    commissions,
    compensations,
    evaluate,
    grants,
    items,
    leagues,
    profile,
    progress,
    quest_commands,
    redemptions,
    referrals,
    reviews,
    seasons,
    spend,
    streak_care,
)
from questline.engine.fields import PayloadGet
from questline.engine.footprints import Touched
from questline.model.event import (
    APPROVE,
    BACKFILL,
    BLOCK,
    BUY,
    CHECK_IN,
    COMMISSION,
    COMMISSION_REVERSED,
    COMPENSATE,
    DENY,
    EVALUATE,
    FULFILMENT_COMPLETE,
    FULFILMENT_FAIL,
    LEAGUE_RESULT,
    PROFILE_UPDATE,
    PROGRESS,
    QUEST_COMPLETE,
    QUEST_EXPIRE,
    QUEST_START,
    QUEST_STEP,
    REDEEM,
    REFERRAL_QUALIFIED,
    REWARD_CLAIM,
    REWARD_EXPIRE,
    REWARD_REVOKE,
    SEASON_RESULT,
    SPEND,
    STREAK_AT_RISK,
    STREAK_DAY_START,
    STREAK_MEND,
    STREAK_PAUSE,
    STREAK_RESTORE,
    STREAK_TARGET,
    UNBLOCK,
    USE,
    Event,
)
from questline.model.program import ProgramDocument
from questline.model.records import SELF, RecordKey, RecordKind

if TYPE_CHECKING:
    from questline.engine.draft import Draft


Keys = Callable[[Event, tzinfo], Iterable[RecordKey]]


class Command(msgspec.Struct, frozen=True):
    """`run` does it; `touch` adds what it reads and changes, whatever its payload names; `keys` what one event names.

    `when_blocked`: it is run for a blocked user as well. `distinct` is where its events have the values of `distinct`
    metrics. `follows`: what it changes raises levels, unlocks achievements and settles quests.
    """

    run: Callable[["Draft"], None]
    touch: Callable[[Touched, ProgramDocument], None]
    keys: Keys | None = None
    when_blocked: bool = False
    distinct: Callable[[ProgramDocument], Iterable[tuple[str, PayloadGet]]] | None = None
    follows: bool = True


class UnknownCommand(Exception):
    """A newer version sent an event of a type that this one does not know; the event must wait for an upgrade."""


def _unknown(draft: "Draft") -> None:
    type_ = draft.event.type
    raise UnknownCommand(
        f"this version of Questline does not know {type_!r}: upgrade all workers, then `questline dlq retry --type '{type_}'`"
    )


def _touch_nothing(_: Touched, __: ProgramDocument) -> None:
    return


def _touch_spendable(touched: Touched, document: ProgramDocument) -> None:
    touched.currencies(name for name, currency in document.currencies.items() if currency.can_be_spent)


def _touch_streaks(touched: Touched, document: ProgramDocument) -> None:
    for name, streak in document.streaks.items():
        touched.streak(name, streak)


def _touch_prices(touched: Touched, document: ProgramDocument) -> None:
    for name, item in document.items.items():
        if item.price:
            touched.currencies(item.price)
            touched.item(name)
            touched.levels(item.level)


def _touch_uses(touched: Touched, document: ProgramDocument) -> None:
    for name, item in document.items.items():
        if item.use:
            touched.item(name)
            touched.rewards(item.use)


def _touch_progress(touched: Touched, document: ProgramDocument) -> None:
    for name in progress.reported(document):
        touched.progress(name)


def _touch_referrer(touched: Touched, document: ProgramDocument) -> None:
    if document.referrals is not None:
        touched.rewards(document.referrals.referrer)


def _touch_commissions(touched: Touched, document: ProgramDocument) -> None:
    for commission in document.commissions.values():
        touched.currencies((commission.currency,))
        for plan in commission.plans:
            touched.condition(plan.when)


def _touch_block(touched: Touched, _: ProgramDocument) -> None:
    touched.record((RecordKind.BLOCK, SELF))
    touched.record((RecordKind.SUSPICION, SELF))


def _touch_quests(touched: Touched, document: ProgramDocument) -> None:
    for name in document.quests:
        touched.quest(name)


# For all other types of the system: none of them is without effect.
UNKNOWN = Command(_unknown, _touch_nothing, when_blocked=True)
COMMANDS: dict[str, Command] = {
    SPEND: Command(spend.spend, _touch_spendable),
    PROFILE_UPDATE: Command(profile.update_profile, _touch_streaks),
    CHECK_IN: Command(check_in.check_in, _touch_nothing, check_in.keys),
    BUY: Command(items.buy, _touch_prices),
    USE: Command(items.use, _touch_uses),
    PROGRESS: Command(progress.report, _touch_progress),
    REFERRAL_QUALIFIED: Command(referrals.reward, _touch_referrer),
    COMMISSION: Command(commissions.earn, _touch_commissions, commissions.keys),
    COMMISSION_REVERSED: Command(commissions.reverse, _touch_commissions, commissions.keys, when_blocked=True),
    SEASON_RESULT: Command(seasons.end_season, seasons.touch, when_blocked=True),
    LEAGUE_RESULT: Command(leagues.end_week, leagues.touch, leagues.keys, when_blocked=True),
    APPROVE: Command(reviews.approve, _touch_nothing),  # that of a held event which is not there; see as_approved
    DENY: Command(reviews.deny, _touch_nothing, lambda event, zone: (reviews.key(event, zone),), when_blocked=True),
    BLOCK: Command(blocks.block, _touch_block, when_blocked=True),
    UNBLOCK: Command(blocks.unblock, _touch_block, when_blocked=True),
    COMPENSATE: Command(compensations.compensate, compensations.touch, when_blocked=True),
    BACKFILL: Command(
        backfills.backfill, backfills.touch, when_blocked=True, distinct=backfills.distinct_values, follows=False
    ),
    EVALUATE: Command(evaluate.evaluate, evaluate.touch),
    STREAK_AT_RISK: Command(streak_care.at_risk, _touch_streaks),
    STREAK_PAUSE: Command(streak_care.pause, _touch_streaks),
    STREAK_RESTORE: Command(streak_care.restore, _touch_streaks),
    STREAK_TARGET: Command(streak_care.choose_target, _touch_streaks),
    STREAK_DAY_START: Command(streak_care.choose_day_start, _touch_streaks),
    STREAK_MEND: Command(streak_care.mend, _touch_streaks),
    REDEEM: Command(redemptions.redeem, redemptions.touch_redeem),
    FULFILMENT_COMPLETE: Command(redemptions.complete, redemptions.touch_settling, redemptions.keys, when_blocked=True),
    FULFILMENT_FAIL: Command(redemptions.fail, redemptions.touch_settling, redemptions.keys, when_blocked=True),
    REWARD_CLAIM: Command(grants.claim, grants.touch_claim, grants.keys),
    REWARD_EXPIRE: Command(grants.expire, grants.touch_expiry, grants.keys, when_blocked=True),
    REWARD_REVOKE: Command(grants.revoke, grants.touch_revocation, grants.keys, when_blocked=True),
    QUEST_START: Command(quest_commands.start, _touch_quests),
    QUEST_STEP: Command(quest_commands.complete_step, _touch_quests),
    QUEST_COMPLETE: Command(quest_commands.complete, _touch_quests),
    QUEST_EXPIRE: Command(quest_commands.expire, _touch_nothing, quest_commands.expire_keys, when_blocked=True),
}
