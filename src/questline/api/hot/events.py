"""POST /v1/events, /v1/events/track and /v1/events/batch."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import msgspec

from questline.api import correlation, idempotency
from questline.api.asgi import Header, Receive, Scope, Send, text_of
from questline.api.auth import KeyRing, require
from questline.api.hot.body import Room, read_body, turn_away
from questline.api.hot.cloud import Mode, cloud_mode
from questline.api.hot.counting import check_count, too_many
from questline.api.hot.items import ItemResult, Items
from questline.api.hot.signed import headers_unsigned, replayed, verified, verified_chunks
from questline.api.notes import notes_of
from questline.api.origins import check_origin
from questline.api.own import check_operation
from questline.api.problems import (
    Problem,
    of_reason,
    of_rejection,
    overloaded,
    pruned,
    unavailable,
    user_behind,
    user_parked,
)
from questline.api.rates import Rates
from questline.ingest import accept, cloudevents
from questline.ingest.accept import Status
from questline.ingest.accepting import Accepting
from questline.ingest.envelope import Form, Normaliser, Rejection
from questline.ingest.signatures import Signatures
from questline.ingest.trust import admit
from questline.model.audit import Act
from questline.model.event import AcceptedEvent
from questline.model.limits import REQUEST_BODY_BYTES_MAX, WAIT_SECONDS_MAX
from questline.model.permissions import Scope as Permitted
from questline.model.principal import KeyType, Principal
from questline.model.rates import RouteClass
from questline.model.reasons import NOT_STORED, REASONS, Reason
from questline.processing import catch_up, commands, held
from questline.processing.commands import CommandResult, Commands
from questline.store.commands import PRUNED
from questline.store.nonces import Replayed

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:,|;|$)", re.IGNORECASE)
_quote = msgspec.json.encode
_DUPLICATE = {Status.ACCEPTED: b"false", Status.DUPLICATE: b"true", Status.LOGGED: b"null"}
JSON_HEADER: Header = (b"content-type", b"application/json")


class _Batch(msgspec.Struct):
    events: list[msgspec.Raw] | None = None
    batch: list[msgspec.Raw] | None = None


class _BatchAnswer(msgspec.Struct):
    accepted: int
    duplicate: int
    rejected: int
    results: list[ItemResult]


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class EventHandlers:
    """The handlers of one process, over what they share."""

    def __init__(
        self, ring: KeyRing, rates: Rates, normaliser: Normaliser, acceptor: Accepting, items: Items,
        commands: Commands, signatures: Signatures, event_bytes_max: int, batch_events_max: int, room: Room,
    ) -> None:  # fmt: skip
        self._ring = ring
        self._rates = rates
        self._normaliser = normaliser
        self._acceptor = acceptor
        self._items = items
        self._commands = commands
        self._signatures = signatures
        self._event_bytes_max = event_bytes_max
        self._batch_events_max = batch_events_max
        self._batch_bytes_max = max(REQUEST_BODY_BYTES_MAX, event_bytes_max)
        self._room = room

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept one event: 202 once it is durable, or 200 with its outcome under `Prefer: wait=N`. A CloudEvent as well."""
        mode = cloud_mode(scope["headers"])
        if mode is Mode.BATCH:
            principal, body = await self.received(scope, receive, self._batch_bytes_max, many=True)
            await self._batch(principal, scope, items_of(body), send, cloudevents.structured)
            return
        principal, body = await self.received(scope, receive, self._event_bytes_max)
        if mode is None:
            await self._one(principal, scope, body, send)
        elif mode is Mode.STRUCTURED:
            await self._one(principal, scope, body, send, cloudevents.structured)
        else:
            if principal.nonce is not None:
                raise headers_unsigned()
            await self._one(principal, scope, body, send, partial(cloudevents.binary, scope["headers"]))

    async def batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept up to a thousand events: 202 with a result for each, in order; one bad item stops no other."""
        principal, body = await self.received(scope, receive, self._batch_bytes_max, many=True)
        await self._batch(principal, scope, items_of(body), send)

    async def track(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept one event, or a batch where the body is a list or has `events` or `batch`: for clients with one path."""
        principal, body = await self.received(scope, receive, self._batch_bytes_max, many=True)
        if _holds_many(body):
            await self._batch(principal, scope, items_of(body), send)
        elif len(body) > self._event_bytes_max:
            raise of_reason(Reason.PAYLOAD_TOO_LARGE, f"the event is larger than {self._event_bytes_max} bytes")
        else:
            await self._rates.take(principal, RouteClass.INGEST, notes_of(scope))
            await self._one(principal, scope, body, send)

    async def received(
        self, scope: Scope, receive: Receive, limit: int, *, many: bool = False
    ) -> tuple[Principal, bytes]:
        """Return who sends and the whole body, its signature verified where there must be one. Every way in comes by here.

        `many`: there may be many events in it, and tokens are taken later, for each.
        """
        principal = await self.authenticate(scope, tokens=0 if many else 1)
        if many:
            await self.take_many(receive)
        body = await read_body(scope, receive, limit, self._room)
        if many:
            check_count(body, self._batch_events_max)
        return self.verified(principal, scope, body), body

    def verified(self, principal: Principal, scope: Scope, body: bytes) -> Principal:
        """Return who sends, with the nonce to burn with what a signed request brings; raises a 401 problem."""
        if principal.project.signing is None:
            return principal
        return verified(self._signatures, principal, scope, body)

    def received_chunks(self, principal: Principal, scope: Scope, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Return the chunks of a stream; where it is signed, they come once its signature has been verified."""
        if principal.project.signing is None:
            return chunks
        return verified_chunks(self._signatures, self._acceptor, principal, scope, chunks)

    async def authenticate(
        self, scope: Scope, needed: Permitted = Permitted.EVENTS_WRITE, *, tokens: int = 1, own: str | None = None
    ) -> Principal:
        """Return who sends, who has the scope and requests left; with 0 tokens, they are taken later, for each event.

        `own` is the operation, where it is one that users may do for themselves; whose it is, the caller checks.
        """
        principal = await self._ring.principal(scope["headers"], None, scope)
        notes = notes_of(scope)
        if notes is not None and notes.origin is not None:
            check_origin(principal, notes)
        if principal.user is not None and own is not None:
            check_operation(principal, own)
        else:
            require(principal, needed)
        class_ = RouteClass.COMMAND if needed is Permitted.COMMANDS_WRITE else RouteClass.INGEST
        await self._rates.take(principal, class_, notes, tokens)
        return principal

    async def take(self, principal: Principal, scope: Scope, events: int) -> None:
        """Take tokens for so many events of one who is authenticated; raises a 429 problem."""
        await self._rates.take(principal, RouteClass.INGEST, notes_of(scope), events)

    async def take_many(self, receive: Receive) -> None:
        """Raise a 503 problem where many events would not be taken, without keeping their body."""
        if not self._acceptor.takes_many:
            await turn_away(receive)

    async def _one(self, principal: Principal, scope: Scope, body: bytes, send: Send, form: Form | None = None) -> None:
        key = seconds = None
        for name, value in scope["headers"]:
            if name in idempotency.NAMES:
                key = key or text_of(value)
            elif name == b"prefer":
                seconds = wait_seconds(value.decode("latin-1"))
        given = correlation.given(scope["headers"])
        if form is None:
            event = self._normaliser.from_json(body, principal.project, key, given)
        else:
            event = self._normaliser.from_form(form, body, principal.project, key, given)
        del body  # what waits to be stored is held once
        event = admit(event, principal)
        if isinstance(event, Rejection):
            raise of_rejection(event)
        if principal.key_type is KeyType.PUBLISHABLE:
            seconds = None  # an outcome shows what a user has, which such a key may not read
        if principal.nonce is not None:
            event = msgspec.structs.replace(event, nonce=principal.nonce)
        if seconds is None:
            await self._accept(send, event)
        else:
            await self._wait(send, event, seconds)

    async def _batch(
        self, principal: Principal, scope: Scope, bodies: list[msgspec.Raw], send: Send, form: Form | None = None
    ) -> None:
        if len(bodies) > self._batch_events_max:
            raise too_many(self._batch_events_max, len(bodies))
        key = idempotency.request_key(scope["headers"])
        if bodies:
            await self.take(principal, scope, len(bodies))
        items = await self._items.read(principal, bodies, correlation.given(scope["headers"]), form, key)
        results = await self._items.store(items, nonce=principal.nonce)
        for index, result in enumerate(results):
            result.index = index
        counts = Counter(result.status for result in results)
        answer = _BatchAnswer(counts["accepted"], counts["duplicate"], counts["rejected"], results)
        await respond(send, 202, msgspec.json.encode(answer))

    async def _accept(self, send: Send, event: AcceptedEvent) -> None:
        try:
            acceptance = await self._acceptor.accept_one(event)
        except accept.Overloaded as error:
            raise overloaded() from error
        except accept.Unavailable as error:
            raise unavailable() from error
        id_ = str(acceptance.event_id)
        if acceptance.status is Status.REUSED:
            raise _reused(id_)
        if acceptance.status is Status.REPLAYED:
            raise replayed()
        if acceptance.status is Status.FAILED:
            raise of_reason(Reason.STORE_ERROR, NOT_STORED)
        await respond(
            send,
            202,
            b'{"status":"accepted","eventId":"%b","idempotencyKey":%b,"duplicate":%b,"correlationId":%b}'
            % (
                id_.encode(),
                _quote(event.idempotency_key),
                _DUPLICATE[acceptance.status],
                _quote(event.correlation_id or id_),
            ),
            correlation.echo(event.correlation_id or id_),
        )

    async def _wait(self, send: Send, event: AcceptedEvent, seconds: float) -> None:
        result = await run_command(self._commands, event, seconds)
        if result is None:  # accepted now: its time was up, or it waits with the others of its user
            await self._accept(send, event)
            return
        id_ = str(result.event_id)
        document = {
            "status": result.status,
            "eventId": id_,
            "idempotencyKey": event.idempotency_key,
            "duplicate": result.duplicate,
            "correlationId": event.correlation_id or id_,
            "reason": result.reason,
            "message": result.message,
            "outcome": result.outcome,
        }
        applied = (b"preference-applied", b"wait=%d" % seconds)
        status = 200 if result.status != "pending" else 202
        await respond(
            send, status, msgspec.json.encode(document), correlation.echo(event.correlation_id or id_), applied
        )


async def run_command(
    runner: Commands, event: AcceptedEvent, seconds: float | None = None, act: Act | None = None
) -> CommandResult | None:
    """Run a command; raises problems for what stopped it.

    With `seconds`, None: it took longer than that, or it can only be stored now, because its user is parked, behind or held.
    Nothing of it is stored then, nor under way.
    """
    try:
        if seconds is None:
            result = await runner.run(event, act)
        else:
            waited = await runner.run_for(event, seconds)
            if waited is None:
                return None
            result = waited
    except commands.Overloaded as error:
        raise overloaded() from error
    except Replayed:
        raise replayed() from None
    except commands.Unavailable as error:
        raise unavailable() from error
    except commands.UserParked as error:
        if seconds is None:
            raise user_parked(error.retry_after_seconds) from error
        return None
    except catch_up.UserBehind as error:
        if seconds is None:
            raise user_behind(error.retry_after_seconds) from error
        return None
    except held.UserHeld as error:
        if seconds is None:
            raise overloaded() from error
        return None
    if result.reused:
        raise _reused(str(result.event_id))
    if result.status == PRUNED and seconds is None:  # who waits for an event only wants to know that it was taken
        raise pruned(str(result.event_id))
    return result


def wait_seconds(prefer: str) -> float | None:
    """Return N of `Prefer: wait=N` (RFC 7240), within bounds; None without it."""
    found = _WAIT.search(prefer)
    return float(min(int(found[1]), WAIT_SECONDS_MAX)) if found and int(found[1]) > 0 else None


async def respond(send: Send, status: int, body: bytes, *headers: Header) -> None:
    """Send a whole JSON response."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [JSON_HEADER, (b"content-length", b"%d" % len(body)), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _reused(original: str) -> Problem:
    reason = Reason.IDEMPOTENCY_KEY_REUSED
    return of_reason(reason, REASONS[reason], eventId=original)


def _holds_many(body: bytes) -> bool:
    if body.lstrip()[:1] == b"[":
        return True
    if b'"events"' not in body and b'"batch"' not in body:
        return False
    try:
        batch = _decode_batch(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return batch.events is not None or batch.batch is not None


def items_of(body: bytes) -> list[msgspec.Raw]:
    try:
        if body.lstrip()[:1] == b"[":
            return _decode_list(body)
        batch = _decode_batch(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "invalid-request", f"the body is no batch: {error}") from error
    items = batch.events if batch.events is not None else batch.batch
    if items is None:
        raise Problem(400, "invalid-request", "the body lacks 'events', a list")
    return items
