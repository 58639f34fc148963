"""Many events in one request: each is answered for itself, and one bad item stops no other."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import UUID

import msgspec

from questline.api.hot.signed import replayed
from questline.api.problems import code_of, overloaded, unavailable
from questline.ingest import accept
from questline.ingest.accept import Acceptance, Status
from questline.ingest.accepting import Accepting
from questline.ingest.envelope import Form, Normaliser, Rejection
from questline.ingest.trust import admit
from questline.ingest.turns import Turn
from questline.model.event import AcceptedEvent, Nonce
from questline.model.hashing import part_key
from questline.model.limits import ITEMS_BYTES_AT_ONCE, ITEMS_READ_AT_ONCE
from questline.model.principal import Principal
from questline.model.reasons import NOT_STORED, REASONS, Reason
from questline.store.nonces import Replayed


class ItemResult(msgspec.Struct, gc=False, omit_defaults=True, rename="camel"):
    """What became of an item: `line` (of a stream, from 1) or `index` (of a batch, from 0) says of which."""

    line: int | None = None
    index: int | None = None
    status: str = ""
    event_id: UUID | None = None
    idempotency_key: str | None = None
    reason: str | None = None
    code: str | None = None
    message: str | None = None
    field: str | None = None


Item = AcceptedEvent | Rejection
Store = Callable[[Sequence[AcceptedEvent]], Awaitable[list[Acceptance]]]


class Items:
    """Reads and stores many events for the handlers of one process."""

    def __init__(self, normaliser: Normaliser, acceptor: Accepting, event_bytes_max: int) -> None:
        self._normaliser = normaliser
        self._acceptor = acceptor
        self._event_bytes_max = event_bytes_max

    async def read(
        self,
        principal: Principal,
        bodies: Sequence[bytes | msgspec.Raw | Rejection | None],
        correlation_id: str | None,
        form: Form | None = None,
        key: str | None = None,
        first: int = 0,
    ) -> list[Item]:
        """Turn bodies into events or rejections, letting others have the loop now and then; None is a body too long.

        `form` reads bodies that are no envelopes of ours. An event that brings neither key nor id has one made of the
        request's `key` and its index, which begins with `first`: the same request again holds the same events.
        """
        project, normaliser = principal.project, self._normaliser
        normalise = normaliser.from_json if form is None else partial(normaliser.from_form, form)
        items: list[Item] = []
        size = 0
        for number, raw in enumerate(bodies, 1):
            if type(raw) is Rejection:
                items.append(raw)
                continue
            body = raw if type(raw) is bytes or raw is None else bytes(raw)  # type: ignore[arg-type]
            if body is None or len(body) > self._event_bytes_max:
                items.append(
                    Rejection(Reason.PAYLOAD_TOO_LARGE, f"the event is larger than {self._event_bytes_max} bytes")
                )
                continue
            given = None if key is None else part_key(key, first + number - 1)
            items.append(admit(normalise(body, project, None, correlation_id, given), principal))
            size += len(body)
            if number % ITEMS_READ_AT_ONCE == 0 or size > ITEMS_BYTES_AT_ONCE:
                size = 0
                await asyncio.sleep(0)
        return items

    async def store(
        self, items: Sequence[Item], store: Store | None = None, nonce: Nonce | None = None, turn: Turn | None = None
    ) -> list[ItemResult]:
        """Store those that are events; return a result for each item, in order. Raises 503 problems.

        `store` is used in place of the acceptor's. A nonce is burnt with the events; a 401 problem says that it was before.
        A group of a stream is stored in its turn.
        """
        events = [item for item in items if type(item) is AcceptedEvent]
        store = store or partial(self._acceptor.accept, nonce=nonce, turn=turn)
        try:
            acceptances = iter(await store(events) if events else [])
        except accept.Overloaded as error:
            raise overloaded() from error
        except Replayed:
            raise replayed() from None
        except accept.Unavailable as error:
            raise unavailable() from error
        return [
            _accepted(item, next(acceptances)) if type(item) is AcceptedEvent else _rejected(item)  # type: ignore[arg-type]
            for item in items
        ]


def _accepted(event: AcceptedEvent, acceptance: Acceptance) -> ItemResult:
    status = acceptance.status
    if status is Status.LOGGED:
        status = Status.ACCEPTED
    if status is Status.ACCEPTED or status is Status.DUPLICATE:
        return ItemResult(None, None, status.value, acceptance.event_id, event.idempotency_key)
    if status is Status.REUSED:
        reason = Reason.IDEMPOTENCY_KEY_REUSED
        return _rejected(Rejection(reason, REASONS[reason], "idempotencyKey"))
    return _rejected(Rejection(Reason.STORE_ERROR, NOT_STORED, ""))


def _rejected(rejection: Rejection) -> ItemResult:
    return ItemResult(
        status="rejected",
        reason=rejection.reason.value,
        code=code_of(rejection.reason),
        message=rejection.message,
        field=rejection.field or None,
    )
