"""POST /v1/events, /v1/events/track and /v1/events/batch."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from questline.api.auth import INGESTS, KeyRing, require
from questline.api.hot.body import Receive, Scope, header, read_body
from questline.api.problems import Header, Problem, Send, code_of, of_reason, of_rejection, overloaded, unavailable
from questline.api.rates import RateLimiter
from questline.ingest import accept
from questline.ingest.accept import Acceptor, Status
from questline.ingest.envelope import Normaliser, Rejection
from questline.ingest.trust import untrusted
from questline.model.event import AcceptedEvent
from questline.model.limits import REQUEST_BODY_BYTES_MAX, WAIT_SECONDS_MAX
from questline.model.principal import KeyType, Principal
from questline.model.reasons import REASONS, Reason
from questline.processing import commands
from questline.processing.commands import CommandResult, Commands

Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:,|;|$)", re.IGNORECASE)
_quote = msgspec.json.encode
JSON_HEADER: Header = (b"content-type", b"application/json")


class _Batch(msgspec.Struct):
    events: list[msgspec.Raw] | None = None
    batch: list[msgspec.Raw] | None = None


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class EventHandlers:
    """The handlers of one process, over what they share."""

    def __init__(
        self, ring: KeyRing, rates: RateLimiter, normaliser: Normaliser, acceptor: Acceptor, commands: Commands,
        event_bytes_max: int, batch_events_max: int,
    ) -> None:  # fmt: skip
        self._ring = ring
        self._rates = rates
        self._normaliser = normaliser
        self._acceptor = acceptor
        self._commands = commands
        self._event_bytes_max = event_bytes_max
        self._batch_events_max = batch_events_max

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept one event: 202 once it is durable, or 200 with its outcome under `Prefer: wait=N`."""
        principal = await self.authenticate(scope)
        body = await read_body(scope, receive, self._event_bytes_max)
        key = correlation = prefer = None
        for name, value in scope["headers"]:
            if name == b"idempotency-key" or name == b"x-idempotency-key":
                key = value.decode("utf-8", "replace")
            elif name == b"x-correlation-id":
                correlation = value.decode("latin-1")[:256]
            elif name == b"prefer":
                prefer = value.decode("latin-1")
        event = self._normaliser.from_json(body, principal.project, key, correlation)
        if type(event) is Rejection:
            raise of_rejection(event)
        if principal.key_type is KeyType.PUBLISHABLE and untrusted(event.type, principal.project):  # type: ignore[union-attr]
            raise of_reason(Reason.UNTRUSTED_EVENT_TYPE, REASONS[Reason.UNTRUSTED_EVENT_TYPE])
        seconds = wait_seconds(prefer) if prefer else None
        if seconds is not None:
            await self._wait(send, event, seconds)  # type: ignore[arg-type]
        else:
            await self._accept(send, event)  # type: ignore[arg-type]

    async def track(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept one event, or a batch when the body has `events` or `batch`: for clients that do not choose a path."""
        body = await read_body(scope, receive, REQUEST_BODY_BYTES_MAX)
        many = body.lstrip()[:1] == b"[" or ((b'"events"' in body or b'"batch"' in body) and _has_items(body))
        delivered = False

        async def again() -> dict[str, Any]:
            nonlocal delivered
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        plain = {**scope, "headers": [h for h in scope["headers"] if h[0] != b"content-encoding"]}
        await (self.batch if many else self.one)(plain, again, send)

    async def batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept up to a thousand events: 202 with a result for each, in order; one bad item stops no other."""
        principal = await self.authenticate(scope)
        body = await read_body(scope, receive, max(REQUEST_BODY_BYTES_MAX, self._event_bytes_max))
        items = _items(body)
        if len(items) > self._batch_events_max:
            raise Problem(
                413, "batch-too-large", f"a batch may hold {self._batch_events_max} events; this one has {len(items)}",
                limit=self._batch_events_max,
            )  # fmt: skip
        results = await self.store(principal, items, header(scope, b"x-correlation-id"))
        counts = dict.fromkeys(("accepted", "duplicate", "rejected"), 0)
        for result in results:
            counts[result["status"]] += 1
        for index, result in enumerate(results):
            result["index"] = index
        await respond(send, 202, msgspec.json.encode({**counts, "results": results}))

    async def authenticate(self, scope: Scope) -> Principal:
        """Return who sends, who may ingest and has requests left."""
        principal = await self._ring.principal(scope["headers"])
        require(principal, INGESTS)
        self._rates.take(principal.key_id)
        return principal

    async def store(
        self, principal: Principal, items: list[bytes] | list[msgspec.Raw], correlation: str | None,
        after: Awaitable[None] | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Store many events in one statement; return a result for each: accepted, duplicate, or rejected with why.

        `after` is awaited between reading the items and storing them, so that one group is read while another is stored.
        """
        project, normalise = principal.project, self._normaliser.from_json
        publishable = principal.key_type is KeyType.PUBLISHABLE
        limit = self._event_bytes_max
        results: list[dict[str, Any]] = []
        events: list[AcceptedEvent] = []
        places: list[int] = []
        for place, item in enumerate(items):
            raw = bytes(item)
            if len(raw) > limit:
                event: Any = Rejection(Reason.PAYLOAD_TOO_LARGE, f"the event is larger than {limit} bytes")
            else:
                event = normalise(raw, project, None, correlation)
            if publishable and type(event) is AcceptedEvent and untrusted(event.type, project):
                event = Rejection(Reason.UNTRUSTED_EVENT_TYPE, REASONS[Reason.UNTRUSTED_EVENT_TYPE], "type")
            if type(event) is Rejection:
                results.append(rejected(event))
            else:
                places.append(place)
                events.append(event)
                results.append({})
        if after is not None:
            await after
        if events:
            try:
                acceptances = await self._acceptor.accept(events)
            except accept.Unavailable as error:
                raise unavailable() from error
            for place, event, acceptance in zip(places, events, acceptances, strict=True):
                if acceptance.status is Status.REUSED:
                    reason = Reason.IDEMPOTENCY_KEY_REUSED
                    results[place] = rejected(Rejection(reason, REASONS[reason], "idempotencyKey"))
                else:
                    results[place] = {
                        "status": acceptance.status.value,
                        "eventId": str(acceptance.event_id),
                        "idempotencyKey": event.idempotency_key,
                    }
        return results

    async def _accept(self, send: Send, event: AcceptedEvent) -> None:
        try:
            acceptance = await self._acceptor.accept_one(event)
        except accept.Overloaded as error:
            raise overloaded() from error
        except accept.Unavailable as error:
            raise unavailable() from error
        if acceptance.status is Status.REUSED:
            raise of_reason(
                Reason.IDEMPOTENCY_KEY_REUSED, REASONS[Reason.IDEMPOTENCY_KEY_REUSED], eventId=str(acceptance.event_id)
            )
        id_ = acceptance.event_id
        duplicate = b"false" if acceptance.status is Status.ACCEPTED else b"true"
        correlation = event.correlation_id or str(id_)
        await respond(
            send,
            202,
            b'{"status":"accepted","eventId":"%b","idempotencyKey":%b,"duplicate":%b,"correlationId":%b}'
            % (str(id_).encode(), _quote(event.idempotency_key), duplicate, _quote(correlation)),
            (b"x-correlation-id", correlation.encode("latin-1", "replace")),
        )

    async def _wait(self, send: Send, event: AcceptedEvent, seconds: float) -> None:
        result = await run_command(self._commands, event, seconds)
        if result is None:  # still under way: it is accepted, or will be when repeated
            await self._accept(send, event)
            return
        correlation = event.correlation_id or str(result.event_id)
        document = {
            "status": result.status,
            "eventId": str(result.event_id),
            "idempotencyKey": event.idempotency_key,
            "duplicate": result.duplicate,
            "correlationId": correlation,
            "reason": result.reason,
            "message": result.message,
            "outcome": result.outcome,
        }
        status = 200 if result.status != "pending" else 202
        await respond(
            send,
            status,
            msgspec.json.encode(document),
            (b"preference-applied", b"wait=%d" % seconds),
            (b"x-correlation-id", correlation.encode("latin-1", "replace")),
        )


async def run_command(runner: Commands, event: AcceptedEvent, seconds: float | None = None) -> CommandResult | None:
    """Run a command, or None when it took longer than `seconds`; raises problems for what stopped it."""
    try:
        async with asyncio.timeout(seconds):
            result = await runner.run(event)
    except commands.Overloaded as error:
        raise overloaded() from error
    except commands.Unavailable as error:
        raise unavailable() from error
    except TimeoutError:
        return None
    if result.reused:
        raise of_reason(
            Reason.IDEMPOTENCY_KEY_REUSED, REASONS[Reason.IDEMPOTENCY_KEY_REUSED], eventId=str(result.event_id)
        )
    return result


def wait_seconds(prefer: str) -> float | None:
    """Return N of `Prefer: wait=N` (RFC 7240), within bounds; None without it."""
    found = _WAIT.search(prefer)
    return float(min(int(found[1]), WAIT_SECONDS_MAX)) if found and int(found[1]) > 0 else None


def rejected(rejection: Rejection) -> dict[str, Any]:
    """Return a rejected item's result."""
    result = {
        "status": "rejected",
        "reason": rejection.reason.value,
        "code": code_of(rejection.reason),
        "message": rejection.message,
    }
    if rejection.field:
        result["field"] = rejection.field
    return result


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


def _items(body: bytes) -> list[msgspec.Raw]:
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


def _has_items(body: bytes) -> bool:
    try:
        batch = _decode_batch(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return batch.events is not None or batch.batch is not None
