"""/v1/currency: spending."""

from typing import Annotated

import msgspec
from litestar import Request, post

from questline.api.callers import Sender
from questline.api.commands import execute
from questline.api.services import Services
from questline.model.event import SPEND
from questline.model.limits import AMOUNT_MAX


class Spend(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Take an amount of a currency from a user. Repeat it under the same key: it is taken once."""

    user_id: str
    currency: str
    amount: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]
    reason: str = ""
    idempotency_key: str | None = None


class SpendTransfer(msgspec.Struct, frozen=True, rename="camel"):
    event_id: str
    currency: str
    amount: int
    debit: str
    credit: str


class Spent(msgspec.Struct, frozen=True, rename="camel"):
    """The movement, and the balance right after it."""

    transfer: SpendTransfer
    balance: int
    duplicate: bool


@post("/currency/spend", status_code=201, tags=["currency"])
async def spend(data: Spend, sender: Sender, services: Services, request: Request) -> Spent:  # type: ignore[type-arg]
    """Spend; 409 insufficient-balance takes nothing."""
    key = request.headers.get("idempotency-key") or request.headers.get("x-idempotency-key") or data.idempotency_key
    payload = {"currency": data.currency, "amount": data.amount}
    if data.reason:
        payload["reason"] = data.reason
    result = await execute(services, sender.project, SPEND, data.user_id, payload, key)
    balance = result.outcome.get("balances", {}).get(data.currency, 0)
    transfer = SpendTransfer(str(result.event_id), data.currency, data.amount, "user", "burn")
    return Spent(transfer, balance, result.duplicate)
