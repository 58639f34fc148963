"""Commissions: a share of an order to who brought the buyer, once per order, taken back on a refund."""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any, cast

import msgspec

from questline.engine.conditions import compile_condition
from questline.engine.fields import MISSING, payload_field
from questline.engine.forms import NAME, SPAN, map_of, object_of, ref
from questline.engine.metrics import value_hash
from questline.engine.numbers import operand
from questline.engine.program_error import ProgramError
from questline.engine.referrals import KEY
from questline.engine.refusal import Refusal
from questline.model.decision import Account
from questline.model.event import COMMISSION, COMMISSION_REVERSED, Event
from questline.model.limits import AMOUNT_MAX, USER_ID_CHARS_MAX
from questline.model.reasons import Reason
from questline.model.records import RecordKey, RecordKind
from questline.model.referrals import Commission, CommissionState, ReferralState

if TYPE_CHECKING:
    from questline.engine.draft import Draft
    from questline.engine.references import Names
    from questline.model.program import ProgramDocument

_WHOLE = 10_000  # basis points
_SPELLS_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?|true|false")

SCHEMA: dict[str, Any] = map_of(
    object_of(
        {
            "on": NAME,
            "currency": NAME,
            "plans": {
                "type": "array",
                "items": object_of(
                    {
                        "name": NAME,
                        "basisPoints": {"type": "integer", "minimum": 0, "maximum": _WHOLE},
                        "when": ref("condition"),
                    },
                    ("name", "basisPoints"),
                ),
                "minItems": 1,
                "maxItems": 20,
            },
            "amount": NAME,
            "order": NAME,
            "to": NAME,
            "within": SPAN,
            "when": ref("condition"),
            "refundOn": NAME,
        },
        ("on", "currency", "plans"),
    ),
    50,
)


def references(names: "Names", program: "ProgramDocument") -> Iterator[ProgramError]:
    """Yield what commissions name and is not there."""
    for name, commission in program.commissions.items():
        path = f"commissions.{name}"
        yield from names.check("currency", commission.currency, f"{path}.currency")
        yield from names.condition(commission.when, f"{path}.when")
        if commission.to is None and program.referrals is None:
            yield ProgramError(path, "goes to the referrer, and the program has no referrals; add them, or say 'to'")
        if commission.to is not None and commission.within is not None:
            yield ProgramError(
                f"{path}.within", "counts from a referral, and this one goes to whom 'to' names; drop either"
            )
        for index, plan in enumerate(commission.plans):
            yield from names.condition(plan.when, f"{path}.plans[{index}].when")
        if commission.plans[0].when is not None:
            yield ProgramError(f"{path}.plans[0].when", "the first plan is where everybody begins; it has no condition")


def compile_sale(name: str, commission: Commission) -> Callable[["Draft"], None]:
    """Return the step of the buyer's event: it sends the earner their commission."""
    test = compile_condition(commission.when) if commission.when else None
    get_amount = payload_field(commission.amount)

    def step(draft: "Draft") -> None:
        if test is not None and not test(draft.view):
            return
        earner, names = _earner(draft, commission), _names(draft.event, commission)
        amount = operand(get_amount(draft.event))
        if earner is None or not names or amount is None or not 0 < amount <= AMOUNT_MAX:
            return
        if any(draft.record(RecordKind.COMMISSION, f"{name}:{order}") is not None for order in names):
            return  # the refund came first
        order, *formerly = names
        payload = {
            "commission": name,
            "order": order,
            "amount": int(amount),
            **({"formerly": formerly} if formerly else {}),
        }
        draft.send(earner, COMMISSION, payload, f"{name}:{order}")

    return step


def compile_refund(name: str, commission: Commission) -> Callable[["Draft"], None]:
    """Return the step of the buyer's refund: it takes the commission back from whoever it went to.

    The buyer's own record keeps that there was a refund, for an order that comes after it. The earner is known by the order
    alone: what the refund says of affiliates, or who refers the buyer by now, is not asked.
    """

    def step(draft: "Draft") -> None:
        for order in _names(draft.event, commission):
            key = (RecordKind.COMMISSION, f"{name}:{order}")
            if draft.record(*key) is None:  # there is one where an earner sends the refund: what they were paid
                draft.put(*key, CommissionState(0, "", True), f"commission:{name}")
            draft.send(None, COMMISSION_REVERSED, {"commission": name, "order": order}, f"{name}:{order}")

    return step


def orders(name: str, commission: Commission, event: Event) -> Iterable[RecordKey]:
    """Return the records of the order that a purchase or a refund names."""
    return [(RecordKind.COMMISSION, f"{name}:{order}") for order in _names(event, commission)]


def _earner(draft: "Draft", commission: Commission) -> str | None:
    if commission.to is None:
        state = cast(ReferralState | None, draft.record(*KEY))
        return state.user if state is not None and _is_due(draft.event, commission, state) else None
    found = payload_field(commission.to)(draft.event)
    if not isinstance(found, str) or not 0 < len(found) <= USER_ID_CHARS_MAX or "\0" in found:
        return None  # no user can have such an id
    return found if found != draft.event.user else None


def _is_due(event: Event, commission: Commission, referral: ReferralState) -> bool:
    if commission.within is None:
        return True
    return timedelta(0) <= event.occurred_at - referral.at <= timedelta(seconds=commission.within.seconds)


def _names(event: Event, commission: Commission) -> tuple[str, ...]:
    """The order's name, and the one it may have had while 77 and "77" were two orders; none where there is no order.

    A name is a hash: orders are the customer's words, which live in events only.
    """
    found = payload_field(commission.order)(event)
    if found is MISSING or found is None or found == "":
        return ()
    if isinstance(found, (dict, list)):
        return (value_hash(found).hex(),)
    text = found if isinstance(found, str) else msgspec.json.encode(found).decode()
    name = value_hash(text).hex()
    return (name, value_hash(msgspec.Raw(text.encode())).hex()) if _SPELLS_NUMBER.fullmatch(text) else (name,)


def keys(event: Event, _: tzinfo) -> Iterable[RecordKey]:
    """Return the record of the order that a `$commission` or its reversal is about, under each name it may have."""
    payload = event.payload
    orders = (payload.get("order"), *payload.get("formerly", ()))
    return [(RecordKind.COMMISSION, f"{payload.get('commission')}:{order}") for order in orders]


def earn(draft: "Draft") -> None:
    """`$commission` {commission, order, amount, formerly}: credit the share of the plan that the earner has reached.

    `formerly` are other names that the order may have been paid under.
    """
    name, key, commission = _named(draft)
    if any(draft.record(*one) is not None for one in keys(draft.event, draft.program.zone)):
        return  # the refund came first, or it was paid under another name
    plan = commission.plans[0]
    for one, test in zip(commission.plans, draft.program.commission_tests[name], strict=True):
        if test is None or test(draft.view):
            plan = one
    amount = int(draft.event.payload["amount"]) * plan.basis_points // _WHOLE
    draft.put(*key, CommissionState(amount, plan.name, False, commission.currency), f"commission:{name}")
    if amount:
        draft.pay_out(commission.currency, amount, Account.COMMISSION, f"commission:{name}:{plan.name}")
    draft.notice("commission.earned", commission=name, plan=plan.name, amount=amount)


def reverse(draft: "Draft") -> None:
    """`$commission_reversal` {commission, order}: take back what was paid; what was spent since becomes debt."""
    name, key, commission = _named(draft)
    state = cast(CommissionState | None, draft.record(*key)) or CommissionState(0, "", False)
    if state.reversed:
        return
    draft.put(*key, msgspec.structs.replace(state, reversed=True), f"commission:{name}")
    if state.amount:
        currency = state.currency or commission.currency
        draft.claw_back(currency, state.amount, Account.COMMISSION, f"commission:{name}:reversal")
    draft.notice("commission.reversed", commission=name, amount=state.amount)


def _named(draft: "Draft") -> tuple[str, RecordKey, Commission]:
    key, *_ = keys(draft.event, draft.program.zone)
    name = str(draft.event.payload.get("commission"))
    commission = draft.program.document.commissions.get(name)
    if commission is None:
        raise Refusal(Reason.INVALID_COMMAND, f"the program has no commission {name!r} any more")
    return name, key, commission
