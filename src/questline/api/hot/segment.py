"""Segment's HTTP API (https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/), for its clients as
they are: the key as the user of Basic credentials or as `writeKey`, 200 for what was taken, problems with a `message`.
"""

from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from questline.api import correlation
from questline.api.asgi import Receive, Scope, Send
from questline.api.auth import key_of
from questline.api.hot.body import Rooms, read_body
from questline.api.hot.counting import check_count, too_many
from questline.api.hot.events import EventHandlers, Handler, respond
from questline.api.hot.items import ItemResult, Items
from questline.api.idempotency import request_key
from questline.api.problems import Problem, of_reason
from questline.ingest import segment
from questline.ingest.accept import Status
from questline.ingest.anonymous import Visitors
from questline.model.limits import REQUEST_BODY_BYTES_MAX, SEGMENT_BODY_BYTES_UNSIGNED, SEGMENT_CONTEXT_BYTES_MAX
from questline.model.principal import KeyType, Principal
from questline.model.reasons import Reason
from questline.store.nonces import Replayed

SEGMENT_PATHS = tuple(f"/{kind}" for kind in segment.KINDS)
BATCH_PATH = "/batch"


class Tracked(msgspec.Struct, frozen=True, rename="camel"):
    """A message is durable; of a duplicate, `eventId` is the original's."""

    status: str
    event_id: UUID | None
    success: bool = True


class TrackedBatch(msgspec.Struct, frozen=True, rename="camel"):
    """A result for each message, by `index` from 0; `success`: none was rejected."""

    success: bool
    accepted: int
    duplicate: int
    rejected: int
    results: list[ItemResult]


class _Batch(msgspec.Struct, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: Any = None
    context: msgspec.Raw = msgspec.Raw(b"null")


class _Signed(msgspec.Struct, rename="camel"):
    write_key: str | None = None


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_key = msgspec.json.Decoder(_Signed).decode


class SegmentHandlers:
    """The handlers of one process, over what the ingest handlers share."""

    def __init__(
        self, events: EventHandlers, items: Items, visitors: Visitors, batch_events_max: int, rooms: Rooms
    ) -> None:
        self._events = events
        self._items = items
        self._visitors = visitors
        self._rooms = rooms
        self._batch_events_max = batch_events_max
        self.routes: dict[str, Handler] = {f"/{kind}": partial(self._one, kind) for kind in segment.KINDS}
        self.routes[BATCH_PATH] = self._batch
        # Browsers' clients know each path by its first letter.
        self.short_routes = {path[:2]: handler for path, handler in self.routes.items()}

    async def _one(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept one message: 200 once it is durable."""
        try:
            principal, body = await self._receive(scope, receive, tokens=1)
            form = partial(segment.read, kind, None, None)
            given = correlation.given(scope["headers"])
            items = await self._items.read(principal, [body], given, form, request_key(scope["headers"]))
            [result] = await self._items.store(items, partial(self._store_one, principal))
            if result.status == "rejected":
                field = {} if result.field is None else {"field": result.field}
                raise of_reason(Reason(result.reason or ""), result.message or "", **field)
        except Problem as problem:
            _tell(problem)
            raise
        id_ = str(result.event_id)
        done = msgspec.json.encode(Tracked(result.status, result.event_id))
        await respond(send, 200, done, correlation.echo(given or id_))

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept many messages: 200 with a result for each, in order; one bad message stops no other."""
        try:
            principal, body = await self._receive(scope, receive, tokens=0)
            check_count(body, self._batch_events_max, "messages")
            batch = _batch_of(body)
            if len(batch.batch) > self._batch_events_max:
                raise too_many(self._batch_events_max, len(batch.batch), "messages")
            if batch.batch:
                await self._events.take(principal, scope, len(batch.batch))
            form = partial(segment.read, None, batch.sent_at, _context_of(batch))
            given, key = correlation.given(scope["headers"]), request_key(scope["headers"])
            items = await self._items.read(principal, batch.batch, given, form, key)
            believed, nonce = _is_believed(principal), principal.nonce
            results = await self._items.store(items, partial(self._visitors.accept, believed=believed, nonce=nonce))
        except Problem as problem:
            _tell(problem)
            raise
        for index, result in enumerate(results):
            result.index = index
        counts = Counter(result.status for result in results)
        done = TrackedBatch(
            not counts["rejected"], counts["accepted"], counts["duplicate"], counts["rejected"], results
        )
        await respond(send, 200, msgspec.json.encode(done))

    async def _receive(self, scope: Scope, receive: Receive, tokens: int) -> tuple[Principal, bytes]:
        """Return who sends, and the body, its signature verified; the key may be in it."""
        if key_of(scope["headers"]) is not None:
            principal = await self._events.authenticate(scope, tokens=tokens)
            body = await read_body(scope, receive, REQUEST_BODY_BYTES_MAX, self._rooms.known)
        else:
            principal, body = await self._receive_keyed(scope, receive, tokens)
        return self._events.verified(principal, scope, body), body

    async def _receive_keyed(self, scope: Scope, receive: Receive, tokens: int) -> tuple[Principal, bytes]:
        """Return who sends by the key in the body."""
        body = await read_body(scope, receive, SEGMENT_BODY_BYTES_UNSIGNED, self._rooms.strangers)
        try:
            key = _decode_key(body).write_key
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            key = None
        headers = scope["headers"] if key is None else [*scope["headers"], (b"x-api-key", key.encode())]
        return await self._events.authenticate({**scope, "headers": headers}, tokens=tokens), body

    async def _store_one(self, principal: Principal, events: Any) -> Any:
        [event] = events
        if principal.nonce is not None:
            event = msgspec.structs.replace(event, nonce=principal.nonce)
        acceptance = await self._visitors.accept_one(event, believed=_is_believed(principal))
        if acceptance.status is Status.REPLAYED:
            raise Replayed
        return [acceptance]


def _is_believed(principal: Principal) -> bool:
    """Tell whether a caller is believed who a visitor is: a server is, and users are of themselves."""
    return principal.key_type is KeyType.SECRET or principal.user is not None


def _batch_of(body: bytes) -> _Batch:
    try:
        return _decode_batch(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "invalid-request", f"the body is no batch: {error}") from error


def _context_of(batch: _Batch) -> dict[str, Any] | None:
    """Return the context that all messages of a batch have: it is bounded, because each of them is stored with it."""
    limit = min(SEGMENT_CONTEXT_BYTES_MAX, REQUEST_BODY_BYTES_MAX // max(len(batch.batch), 1))
    if len(bytes(batch.context)) > limit:
        detail = f"the context of a batch of {len(batch.batch)} messages may have {limit} bytes"
        raise Problem(413, "payload-too-large", detail, limit=limit)
    try:
        context = msgspec.json.decode(batch.context)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "invalid-request", f"the body is no batch: {error}") from error
    if context is not None and not isinstance(context, dict):
        raise Problem(400, "invalid-request", "the batch's context must be an object")
    return context


def _tell(problem: Problem) -> None:
    """Add the `message` that Segment's clients look for."""
    problem.extra["message"] = problem.detail
