"""The door of the engine: a program, a user's state and an event in, a decision out. Nothing else goes in."""

import msgspec

from questline.engine import guards, reviews
from questline.engine.boards import add_points
from questline.engine.compile import Plan, Program
from questline.engine.draft import Draft
from questline.engine.leagues import add_league_points
from questline.engine.refusal import Refusal
from questline.engine.rewards import give
from questline.engine.seasons import add_season_points
from questline.engine.tiers import climb
from questline.model.decision import Decision, LevelChange
from questline.model.event import Event
from questline.model.limits import CHAIN_ROUNDS_MAX
from questline.model.reasons import Reason
from questline.model.records import RecordKind
from questline.model.state import UserState


def decide(program: Program, state: UserState, event: Event) -> Decision:
    """Return what an event does to a user: effects with their reasons, or a refusal without effects on them.

    `state` must hold the rows of `program.footprint(event.type)`, and is not changed. Equal arguments give equal results.
    """
    draft, plan = Draft(program, state, event), program.plan(event.type)
    try:
        if event.sent_with is not None and event.type in program.trusted_types:
            raise Refusal(
                Reason.UNTRUSTED_EVENT_TYPE, f"{event.type!r} is for servers only, and came with a publishable key"
            )
        if state.blocked and not (plan.command is not None and plan.command.when_blocked):
            return _refuse_blocked(draft, plan)
        if event.approval is not None:
            reviews.approve(draft)
            guards.remember(draft, plan.watches)
        elif plan.watches:
            guards.watch(draft, plan.watches)
        _apply(draft, plan)
        return draft.decision()
    except Refusal as refusal:
        return draft.refused(refusal)
    finally:
        draft.release()


def _refuse_blocked(draft: Draft, plan: Plan) -> Decision:
    """Refuse a blocked user's event; what others were paid for them is taken back all the same, now or never.

    Buyers are blocked for the fraud that the refund is about. And the earner was paid once for ever under the order's key.
    """
    for step in plan.when_blocked:
        step(draft)
    taken_back = "; the commissions of the order are taken back all the same" if draft.follow_ups else ""
    decision = draft.refused(Refusal(Reason.USER_BLOCKED, f"the user is blocked{taken_back}"))
    if not taken_back:
        return decision
    return msgspec.structs.replace(decision, records=tuple(draft.records.values()), follow_ups=tuple(draft.follow_ups))


def decide_again(program: Program, state: UserState, event: Event) -> Decision:
    """Return what an event does that was applied before, given as it was sent.

    Blocks, guards and schemas had their say then, and are not asked again.
    """
    draft = Draft(program, state, program.as_read(event))
    try:
        _apply(draft, program.plan(event.type))
        return draft.decision()
    except Refusal as refusal:
        return draft.refused(refusal)
    finally:
        draft.release()


def _apply(draft: Draft, plan: Plan) -> None:
    program = draft.program
    if plan.command is not None:
        plan.command.run(draft)
    for step in plan.steps:
        step(draft)
    if plan.follows and (
        draft.transfers or draft.metrics or draft.streaks or draft.records or draft.unlocks or draft.quests
    ):
        _consequences(draft)
    if draft.earned or draft.metrics or draft.operands:
        add_points(draft, program.boards_by_currency, program.boards_by_metric)
        if program.season_scores is not None:
            add_season_points(draft, program.season_scores)
        if program.league_scores is not None:
            add_league_points(draft, program.league_scores)


def _consequences(draft: Draft) -> None:
    """Raise levels, unlock achievements and settle quests, and pay for them, until nothing follows; in bounded rounds.

    Within a round achievements and quests follow each other to the end: each goes forward, and stops at its last step. A
    round is for what they paid.
    """
    program = draft.program
    curves, unlockers = program.curves, program.unlockers
    if not curves and not unlockers and not program.tiers:
        return
    changed = [("metric", name) for name in draft.metrics]
    changed += [("streak", name) for name in draft.streaks]
    if draft.records:
        changed += [("progress", name) for kind, name in draft.records if kind is RecordKind.PROGRESS]
    if draft.unlocks:
        changed += [("achievement", name) for name in draft.unlocks]
    if draft.quests:
        changed += [("quest", name) for name in sorted(draft.quests)]
    # What the last round saw: the balance, and what was earned, which leaves no trace in the balance where it pays a debt.
    seen: dict[str, tuple[int, int | None]] = {}
    for _ in range(CHAIN_ROUNDS_MAX):
        transfers = len(draft.transfers)
        for currency, amount in list(draft.balances.items()):
            now = amount, draft.earned.get(currency)
            if seen.get(currency) == now:
                continue
            seen[currency] = now
            changed.append(("currency", currency))
            for name in program.tiers_by_currency.get(currency, ()):
                climb(draft, name)
            if currency in curves and _raise_level(draft, currency, amount):
                changed.append(("level", currency))
        if not changed:
            return
        for source in changed:  # grows as it goes
            for what, unlock in unlockers.get(source, ()):
                if unlock(draft):
                    changed.append(what)
        changed = []
        if len(draft.transfers) == transfers:
            return
    raise Refusal(Reason.CHAIN_TOO_LONG, f"consequences went on for more than {CHAIN_ROUNDS_MAX} rounds")


def _raise_level(draft: Draft, track: str, xp: int) -> bool:
    curve = draft.program.curves[track]
    before, after = draft.level(track), curve.level_of(xp)
    if after <= before:
        return False
    known = draft.levels.get(track)
    draft.levels[track] = LevelChange(track, known.before if known else before, after)
    if curve.rewards:
        for level in range(before + 1, after + 1) if after - before < len(curve.rewards) else sorted(curve.rewards):
            if before < level <= after:
                give(draft, curve.rewards.get(level, ()), 1, f"level:{track}:{level}")
    return True
