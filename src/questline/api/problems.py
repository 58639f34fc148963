"""Errors as RFC 9457 problem documents: always JSON, with a stable `code`, never a stack."""

from collections.abc import Iterable
from typing import Any

import msgspec

from questline.api.asgi import Header, Send
from questline.ingest.envelope import Rejection
from questline.model.reasons import Reason

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """An error answer: raise it anywhere in a handler.

    `code` is stable and documented; `detail` says what was wrong and how to mend it; `extra` are further members.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra

    def document(self) -> dict[str, Any]:
        """Return the problem document."""
        title = TITLES.get(self.code, self.code.replace("-", " ").capitalize())
        return {
            "type": f"urn:questline:problem:{self.code}",
            "title": title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.extra,
        }

    def body(self) -> bytes:
        """Return the document as JSON."""
        return msgspec.json.encode(self.document())


TITLES = {
    "unauthorized": "The request needs a valid key",
    "login-taken": "Somebody has that login",
    "no-login": "The user has no login here",
    "missing-signature": "The request needs a signature",
    "invalid-signature": "The signature is not right",
    "expired-signature": "The signature is too old",
    "replay-detected": "The request was taken before",
    "not-configured": "The server is not set up for this",
    "forbidden": "The key may not do this",
    "not-found": "There is no such thing here",
    "method-not-allowed": "The path does not take this method",
    "invalid-envelope": "The event cannot be accepted",
    "invalid-request": "The request cannot be understood",
    "invalid-program": "The program has errors",
    "payload-too-large": "The request is over a size limit",
    "idempotency-key-reused": "The key belongs to other content",
    "idempotency-key-in-use": "A request under the key is under way",
    "reply-not-kept": "It took effect, and its reply was not kept",
    "insufficient-balance": "The balance is too small",
    "unknown-item": "There is no such item",
    "unknown-achievement": "There is no such achievement",
    "unknown-streak": "There is no such streak",
    "streak-not-broken": "The streak is not broken",
    "not-owned": "The user has none of it",
    "inventory-full": "The inventory is full",
    "cooldown": "It cannot be used again yet",
    "requirement-not-met": "A requirement is not met",
    "unknown-reward": "There is no such reward of the user",
    "not-pending": "It is settled already",
    "out-of-stock": "There is none left",
    "user-blocked": "The user is blocked",
    "user-parked": "The user's events wait for one that failed",
    "user-behind": "Too many of the user's events wait",
    "guard-held": "A guard holds it for review",
    "guard-refused": "A guard refuses it",
    "event-pruned": "The event is older than what is kept",
    "unknown-review": "There is no such held event",
    "already-reviewed": "The held event was reviewed before",
    "already-checked-in": "The user has checked in today",
    "origin-not-allowed": "The page may not use this key",
    "too-slow": "The client is too slow",
    "rate-limited": "Too many requests",
    "overloaded": "The server is at its limit for now",
    "unavailable": "A part of the server is unavailable for now",
    "internal": "The server failed",
    "last-owner": "An organization keeps an owner",
    "conflict": "The request conflicts with what is there",
    "invalid-parameter": "A parameter has a value it cannot have",
    "board-not-found": "There is no such board",
    "app-taken": "There is an app of that id",
    "stale-version": "The program has changed since",
    "batch-too-large": "The batch has too many events",
    "too-many-rejected": "Too many lines of the stream were rejected",
    "too-many-results": "The stream has more results than an answer holds",
    "tenant-mismatch": "The key belongs to another project",
    "tenant-not-allowed": "The project is not served here",
    "invalid-xml": "The XML is not well-formed",
    "unsafe-xml": "The XML is of a kind that is not taken",
    "unsupported-media-type": "The content type is not understood",
    "unsupported-encoding": "The content encoding is not understood",
}

NOT_DONE = ("refused", "held", "failed")
"""How a command may end that has not been done: its caller is told by a problem."""

STATUS_OF_REASON = {
    Reason.PAYLOAD_TOO_LARGE: 413,
    Reason.IDEMPOTENCY_KEY_REUSED: 409,
    Reason.UNTRUSTED_EVENT_TYPE: 403,
    Reason.INSUFFICIENT_BALANCE: 409,
    Reason.UNKNOWN_ITEM: 404,
    Reason.UNKNOWN_ACHIEVEMENT: 404,
    Reason.UNKNOWN_STREAK: 404,
    Reason.STREAK_NOT_BROKEN: 409,
    Reason.NOT_OWNED: 409,
    Reason.INVENTORY_FULL: 409,
    Reason.COOLDOWN: 409,
    Reason.REQUIREMENT_NOT_MET: 409,
    Reason.UNKNOWN_REWARD: 404,
    Reason.NOT_PENDING: 409,
    Reason.OUT_OF_STOCK: 409,
    Reason.ALREADY_CHECKED_IN: 409,
    Reason.UNKNOWN_QUEST: 404,
    Reason.QUEST_STATE: 409,
    Reason.USER_BLOCKED: 403,
    Reason.GUARD_HELD: 409,
    Reason.GUARD_REFUSED: 409,
    Reason.UNKNOWN_REVIEW: 404,
    Reason.ALREADY_REVIEWED: 409,
    Reason.ENGINE_ERROR: 500,
    Reason.STORE_ERROR: 500,
}


def code_of(reason: str) -> str:
    """Return a reason code as a problem code: INSUFFICIENT_BALANCE is insufficient-balance."""
    return reason.lower().replace("_", "-")


def of_reason(reason: Reason, detail: str, **extra: Any) -> Problem:
    """Return the problem of a refusal by its reason."""
    return Problem(STATUS_OF_REASON.get(reason, 422), code_of(reason), detail, **extra)


def of_rejection(rejection: Rejection) -> Problem:
    """Return the problem of an event that was not accepted."""
    if not rejection.field and rejection.reason is Reason.INVALID_ENVELOPE:
        return Problem(400, "invalid-envelope", rejection.message)
    return of_reason(rejection.reason, rejection.message, field=rejection.field)


def overloaded() -> Problem:
    """Too much is waiting already; nothing of this request was stored."""
    return Problem(503, "overloaded", "too many events wait to be stored; try again", headers={"Retry-After": "1"})


def unavailable() -> Problem:
    """The database is out of reach; the request may or may not have taken effect."""
    detail = "the database is out of reach; repeat the request under the same key"
    return Problem(503, "unavailable", detail, headers={"Retry-After": "1"})


def user_parked(retry_after_seconds: int) -> Problem:
    """An event of the user failed and is tried again; a command comes after it. Nothing of this request was stored."""
    detail = (
        "an earlier event of this user is being tried again, and commands come after it; repeat this under the same key"
    )
    return Problem(503, "user-parked", detail, headers={"Retry-After": str(retry_after_seconds)})


def user_behind(retry_after_seconds: int) -> Problem:
    """Too many of the user's events wait, and a command comes after them. Nothing of this request was stored."""
    detail = (
        "more of this user's events wait than could be applied meanwhile, and commands come after them;"
        " repeat this under the same key"
    )
    return Problem(503, "user-behind", detail, headers={"Retry-After": str(retry_after_seconds)})


def pruned(event_id: str) -> Problem:
    """The event is of a time that retention has taken away. Its effects stand; what is sent again under its key is a repeat."""
    detail = "it was received before what is kept: what it did stands, and what it was is not known any more"
    return Problem(410, "event-pruned", detail, eventId=event_id)


def internal() -> Problem:
    """A defect of ours; what it was is in the log, under the request's correlation id."""
    return Problem(500, "internal", "the server failed on this request; it was logged")


def unauthorized(detail: str = "send a key as X-API-Key or Authorization: Bearer") -> Problem:
    """No key, or none that is valid."""
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="questline"'})


async def send_problem(send: Send, problem: Problem, headers: Iterable[Header] = ()) -> None:
    """Send a problem as a whole response on raw ASGI."""
    body = problem.body()
    await send(
        {
            "type": "http.response.start",
            "status": problem.status,
            "headers": [
                (b"content-type", CONTENT_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                *((name.lower().encode(), value.encode()) for name, value in problem.headers.items()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
