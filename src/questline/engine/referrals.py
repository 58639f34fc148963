"""Referrals: a friend is attributed to a code's owner once, and both are rewarded when it counts."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec

from questline.engine.conditions import compile_condition
from questline.engine.forms import NAME, REWARDS, SPAN, object_of, ref
from questline.engine.program_error import ProgramError
from questline.engine.rewards import give
from questline.model.event import REFERRAL_QUALIFIED, Event
from questline.model.limits import KEY_CHARS_MAX, REFERRAL_CHAIN_MAX
from questline.model.records import RecordKey, RecordKind
from questline.model.referrals import CodeOwner, Referrals, ReferralState

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

SCHEMA: dict[str, Any] = object_of(
    {
        "on": NAME,
        "code": NAME,
        "qualify": object_of({"on": NAME, "when": ref("condition"), "within": SPAN}, ("on",)),
        "friend": REWARDS,
        "referrer": REWARDS,
    },
    ("on",),
)
KEY: RecordKey = (RecordKind.REFERRAL, "referral")


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what referrals name and is not there."""
    referrals = program.referrals
    if referrals is None:
        return
    yield from names.rewards(referrals.friend, "referrals.friend")
    yield from names.rewards(referrals.referrer, "referrals.referrer")
    if referrals.qualify is not None:
        yield from names.condition(referrals.qualify.when, "referrals.qualify.when")


def codes(referrals: Referrals, event: Event) -> Iterable[RecordKey]:
    """Return the record of the code that an event names."""
    code = _code(referrals, event)
    return () if code is None else ((RecordKind.REFERRAL_CODE, code),)


def _code(referrals: Referrals, event: Event) -> str | None:
    """The code as it is stored: in capitals, without what people put between its letters."""
    found = event.payload.get(referrals.code)
    if not isinstance(found, str) or not 0 < len(found) <= KEY_CHARS_MAX:
        return None
    return "".join(letter for letter in found.upper() if letter.isalnum()) or None


def attribute(draft: "Draft") -> None:
    """Attribute the user to the owner of the code that the event names, where that is allowed; the first one stays."""
    referrals = cast(Referrals, draft.program.document.referrals)
    code = _code(referrals, draft.event)
    if code is None or draft.record(*KEY) is not None:
        return
    owner = cast(CodeOwner | None, draft.record(RecordKind.REFERRAL_CODE, code))
    why = _refusal(draft, owner)
    if why or owner is None:
        draft.notice("referral.rejected", code=code, why=why)
        return
    chain = (owner.owner, *owner.ancestors)
    state = ReferralState(owner.owner, owner.user, draft.event.occurred_at, "PENDING", chain)
    draft.put(*KEY, state, "referral")
    draft.notice("referral.attributed", code=code)
    if referrals.qualify is None:
        _count(draft, referrals, state)


def _refusal(draft: "Draft", owner: CodeOwner | None) -> str:
    if owner is None:
        return "unknown-code"
    if owner.owner == draft.state.id:
        return "self-referral"
    if draft.state.id in _above(draft, owner):
        return "ring"
    return "" if _ends(owner) else "chain-too-long"


def _ends(owner: CodeOwner) -> bool:
    """Tell whether everybody above the owner was seen; a ring that is there already shows the same users again."""
    return len(owner.ancestors) < REFERRAL_CHAIN_MAX or len(set(owner.ancestors)) < len(owner.ancestors)


def _above(draft: "Draft", owner: CodeOwner) -> set[int]:
    """Everybody above the owner: as stored, and as this batch has attributed since."""
    due, found = [owner.owner, *owner.ancestors], set[int]()
    while due:
        user = due.pop()
        if user not in found:
            found.add(user)
            due.extend(draft.state.lineage.get(user, ()))
    return found


def compile_qualify(referrals: Referrals) -> Callable[["Draft"], None]:
    """Return the step that lets a pending referral count."""
    assert referrals.qualify is not None
    qualify = referrals.qualify
    test = compile_condition(qualify.when) if qualify.when else None
    within = timedelta(seconds=qualify.within.seconds) if qualify.within else None

    def step(draft: "Draft") -> None:
        state = cast(ReferralState | None, draft.record(*KEY))
        if state is None or state.status != "PENDING" or (test is not None and not test(draft.view)):
            return
        at = draft.event.occurred_at
        if at < state.at or (within is not None and at > state.at + within):
            return
        _count(draft, referrals, state)

    return step


def _count(draft: "Draft", referrals: Referrals, state: ReferralState) -> None:
    draft.put(*KEY, msgspec.structs.replace(state, status="QUALIFIED"), "referral")
    draft.notice("referral.qualified")
    give(draft, referrals.friend, 1, "referral:friend")
    draft.send(state.user, REFERRAL_QUALIFIED, {"friend": draft.event.user}, f"referral:{draft.event.user}")


def reward(draft: "Draft") -> None:
    """`$referral_qualified` {friend}: the referrer's part."""
    referrals = draft.program.document.referrals
    if referrals is not None:
        give(draft, referrals.referrer, 1, "referral:referrer")
    draft.notice("referral.rewarded")
