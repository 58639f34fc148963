"""POST /v1/currency/spend: the command that comes by the thousand."""

from typing import Annotated

import msgspec

from questline.api import bodies
from questline.api.asgi import Receive, Scope, Send
from questline.api.hot.body import read_body
from questline.api.hot.events import EventHandlers, respond, run_command
from questline.api.idempotency import given_key
from questline.api.own import check_user
from questline.api.problems import NOT_DONE, Problem, of_reason
from questline.ingest.envelope import Invalid, Normaliser
from questline.model.event import SPEND
from questline.model.limits import AMOUNT_MAX, COMMAND_BODY_BYTES_MAX
from questline.model.permissions import Scope as Permitted
from questline.model.reasons import Reason
from questline.processing.commands import Commands


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


_decode = msgspec.json.Decoder(Spend).decode
_encode = msgspec.json.Encoder().encode


class SpendHandler:
    """Spends, over what the ingest handlers share."""

    def __init__(self, events: EventHandlers, normaliser: Normaliser, commands: Commands) -> None:
        self._events = events
        self._normaliser = normaliser
        self._commands = commands

    async def spend(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Spend: 201 with the movement; 409 insufficient-balance takes nothing, under the same key for ever."""
        principal = await self._events.authenticate(scope, Permitted.COMMANDS_WRITE, own="spend")
        body = await read_body(scope, receive, COMMAND_BODY_BYTES_MAX)
        try:
            data = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            data = bodies.read(Spend, body)  # slower, and names every field that is wrong
        if principal.user is not None:
            check_user(principal, data.user_id)
        key = given_key(scope["headers"]) or data.idempotency_key
        payload = {"currency": data.currency, "amount": data.amount}
        if data.reason:
            payload["reason"] = data.reason
        try:
            event = self._normaliser.command(
                SPEND, principal.project, data.user_id, payload, key, None, own=principal.user is not None
            )
        except Invalid as error:
            raise Problem(422, "invalid-request", error.rejection.message, field=error.rejection.field) from error
        result = await run_command(self._commands, event)
        assert result is not None  # without a time limit there is always a result
        id_ = str(result.event_id)
        if result.status in NOT_DONE:
            raise of_reason(Reason(result.reason), result.message, eventId=id_, duplicate=result.duplicate)
        transfer = SpendTransfer(id_, data.currency, data.amount, "user", "burn")
        balance = result.outcome.get("balances", {}).get(data.currency, 0)
        await respond(
            send, 201, _encode(Spent(transfer, balance, result.duplicate)), (b"x-correlation-id", id_.encode())
        )
