"""Commands on one pattern: a user, what is asked, a key; the outcome is the answer."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from questline.api import bodies
from questline.api.asgi import Receive, Scope, Send
from questline.api.hot.body import read_body
from questline.api.hot.events import EventHandlers, respond, run_command
from questline.api.idempotency import given_key
from questline.api.own import check_user, own_outcome
from questline.api.problems import NOT_DONE, Problem, of_reason
from questline.ingest.envelope import Invalid, Normaliser
from questline.model.event import (
    BUY,
    CHECK_IN,
    PROGRESS,
    QUEST_COMPLETE,
    QUEST_START,
    QUEST_STEP,
    REDEEM,
    REWARD_CLAIM,
    USE,
)
from questline.model.limits import COMMAND_BODY_BYTES_MAX
from questline.model.permissions import Scope as Permitted
from questline.model.reasons import Reason
from questline.processing.commands import Commands


class CheckIn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Check a user in: at most once per calendar day of theirs."""

    user_id: str
    idempotency_key: str | None = None


class Buy(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Buy units of an item. Repeat it under the same key: it is bought once."""

    user_id: str
    quantity: int = 1
    idempotency_key: str | None = None


class Use(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Use one unit of an item. Repeat it under the same key: it is used once."""

    user_id: str
    idempotency_key: str | None = None


class Progress(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Report progress of an achievement: an amount to add, or the value it now has. Under one key it counts once."""

    user_id: str
    amount: float | int | None = None
    value: float | int | None = None
    idempotency_key: str | None = None


class Redeem(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Redeem an item of the reward store. Repeat it under the same key: it is redeemed once."""

    user_id: str
    idempotency_key: str | None = None


class Claim(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Claim a reward that waits for its user. Repeat it under the same key: it is claimed once."""

    user_id: str
    idempotency_key: str | None = None


class StartQuest(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Start a quest. Repeat it under the same key: it is started once."""

    user_id: str
    idempotency_key: str | None = None


class CompleteStep(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Complete a step of a quest that you decide. Repeat it under the same key: it is completed and paid once."""

    user_id: str
    idempotency_key: str | None = None


class CompleteQuest(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Complete a quest whose required steps are complete. Repeat it under the same key: it is completed and paid once."""

    user_id: str
    idempotency_key: str | None = None


class Done(msgspec.Struct, frozen=True, rename="camel"):
    """What a command changed; the same answer to each repeat under its key."""

    status: str
    event_id: str
    duplicate: bool
    outcome: dict[str, Any]


class HotCommand(msgspec.Struct, frozen=True):
    """One command: its path, the event it becomes, its body and its payload, made of the body and what the path names.

    `operation` and `tag` are what the API's description calls it and puts it under.
    """

    path: str
    operation: str
    tag: str
    event_type: str
    body: type[msgspec.Struct]
    payload: Callable[..., dict[str, Any]]


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


HOT_COMMANDS: tuple[HotCommand, ...] = (
    HotCommand("/check-in", "checkIn", "daily", CHECK_IN, CheckIn, lambda _: {}),
    HotCommand(
        "/items/{item}/buy", "buyItem", "daily", BUY, Buy, lambda body, item: {"item": item, "quantity": body.quantity}
    ),
    HotCommand("/store/{item}/redeem", "redeemItem", "fulfilments", REDEEM, Redeem, lambda _, item: {"item": item}),
    HotCommand(
        "/rewards/{grant}/claim", "claimReward", "grants", REWARD_CLAIM, Claim, lambda _, grant: {"grant": grant}
    ),
    HotCommand("/items/{item}/use", "useItem", "daily", USE, Use, lambda _, item: {"item": item}),
    HotCommand(
        "/achievements/{achievement}/progress",
        "reportProgress",
        "progress",
        PROGRESS,
        Progress,
        lambda body, achievement: {"achievement": achievement, **_given(amount=body.amount, value=body.value)},
    ),
    HotCommand(
        "/quests/{quest}/start", "startQuest", "quests", QUEST_START, StartQuest, lambda _, quest: {"quest": quest}
    ),
    HotCommand(
        "/quests/{quest}/steps/{step}/complete",
        "completeStep",
        "quests",
        QUEST_STEP,
        CompleteStep,
        lambda _, quest, step: {"quest": quest, "step": step},
    ),
    HotCommand(
        "/quests/{quest}/complete",
        "completeQuest",
        "quests",
        QUEST_COMPLETE,
        CompleteQuest,
        lambda _, quest: {"quest": quest},
    ),
)

_encode = msgspec.json.Encoder().encode


HOT_PATTERNS = tuple(
    re.compile(r"(?:/v1)?" + re.sub(r"\{\w+\}", "([^/]+)", command.path) + "/?") for command in HOT_COMMANDS
)


class _Route(msgspec.Struct, frozen=True):
    pattern: re.Pattern[str]
    command: HotCommand
    decode: Callable[[bytes], Any]


class CommandHandlers:
    """The handlers of one process, over what they share."""

    def __init__(self, events: EventHandlers, normaliser: Normaliser, commands: Commands) -> None:
        self._events = events
        self._normaliser = normaliser
        self._commands = commands
        self._routes = [
            _Route(pattern, command, msgspec.json.Decoder(command.body).decode)
            for pattern, command in zip(HOT_PATTERNS, HOT_COMMANDS, strict=True)
        ]

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer a request for one of the commands; False: it is for none of them."""
        # As it was sent, so that a slash inside a name (%2F) is no border between two.
        raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        for route in self._routes:
            found = route.pattern.fullmatch(path)
            if found is not None:
                await self._run(route, [unquote(name) for name in found.groups()], scope, receive, send)
                return True
        return False

    async def _run(self, route: _Route, named: list[str], scope: Scope, receive: Receive, send: Send) -> None:
        principal = await self._events.authenticate(scope, Permitted.COMMANDS_WRITE, own=route.command.operation)
        body = await read_body(scope, receive, COMMAND_BODY_BYTES_MAX)
        try:
            data = route.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            data = bodies.read(route.command.body, body)  # slower, and names every field that is wrong
        if principal.user is not None:
            check_user(principal, data.user_id)
        key = given_key(scope["headers"]) or data.idempotency_key
        payload = route.command.payload(data, *named)
        try:
            event = self._normaliser.command(
                route.command.event_type,
                principal.project,
                data.user_id,
                payload,
                key,
                None,
                own=principal.user is not None,
            )
        except Invalid as error:
            raise Problem(422, "invalid-request", error.rejection.message, field=error.rejection.field) from error
        result = await run_command(self._commands, event)
        assert result is not None  # without a time limit there is always a result
        id_ = str(result.event_id)
        if result.status in NOT_DONE:
            raise of_reason(Reason(result.reason), result.message, eventId=id_, duplicate=result.duplicate)
        outcome = result.outcome if principal.user is None else own_outcome(result.outcome)
        done = Done(result.status, id_, result.duplicate, outcome)
        await respond(send, 200, _encode(done), (b"x-correlation-id", id_.encode()))
