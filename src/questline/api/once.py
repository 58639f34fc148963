"""Requests under an idempotency key: carried out once, and answered as the first time when they are repeated.

All that such a request changes and its reply are stored in one transaction: the handler works on a connection whose
transaction ends after the answer is known. So a request has both taken effect and left its reply, or neither, wherever a
process dies. A request that was not carried out (its answer is an error) leaves nothing, and its key is free.

Commands are events, and keep their outcome under the key themselves (processing/commands.py); so do events.
"""

from typing import Any, cast

from litestar import Request, types

from questline.api.asgi import Message, Receive, Scope, Send
from questline.api.callers import CALLERS, DEPENDENCIES
from questline.api.errors import problem_of
from questline.api.idempotency import request_key
from questline.api.problems import Problem, send_problem
from questline.api.staff import STAFF, STAFF_DEPENDENCIES
from questline.model.hashing import reply_key_hash, request_hash
from questline.model.limits import REQUEST_BODY_BYTES_MAX
from questline.store.replies import Place, Reply

_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Of a person or an end user, who changes their own session or password, nothing is kept: not even a hash of what holds one.
_CALLERS = frozenset({*CALLERS, *STAFF}) - {"person", "end_user"}
_MAY_CALL = {**DEPENDENCIES, **STAFF_DEPENDENCIES}
_REPLAYED = ("idempotency-replayed", "true")


def takes_key(handler: Any) -> bool:
    """Tell whether a route takes an idempotency key: it changes something, for somebody."""
    scope = handler.opt.get("scope")
    reads = scope is not None and scope.endswith(":read")
    return bool(_CHANGES & handler.http_methods) and not reads and caller_of(handler) is not None


def caller_of(handler: Any) -> str | None:
    """Return the name of the parameter that is a handler's caller; None: it is for anybody."""
    return next((name for name in handler.parsed_fn_signature.parameters if name in _CALLERS), None)


def once(app: types.ASGIApp) -> types.ASGIApp:
    """Return the middleware, run once the request is routed."""

    async def middleware(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        asked = cast(Scope, scope)
        key = request_key(asked["headers"]) if asked["type"] == "http" else None
        handler: Any = asked.get("route_handler")
        if key is None or handler is None or not hasattr(handler, "http_methods") or not _is_kept(handler):
            await app(scope, receive, send)
            return
        request: Request[Any, Any, Any] = Request(cast(Any, scope))
        may_call = cast(Any, _MAY_CALL[caller_of(handler) or ""].dependency)
        who = await may_call(request)  # asked of a repeat as well
        body, again = await _read(cast(Receive, receive))
        if body is None:
            await app(scope, cast(Any, again), send)
            return
        services = request.app.state.services
        project = getattr(who, "project", None)
        named = str(getattr(who, "actor", None) or who.name)
        asked_for = request_hash(key, asked["method"], asked["path"], asked["query_string"], body)
        place = Place(0 if project is None else project.id, reply_key_hash(named, key), asked_for)
        try:
            reply, known = await services.once.carry_out(
                place, services.now(), app, asked, again, secret=handler.opt["shows_secret"]
            )
        except Exception as error:  # not raised: to Litestar, the answer of its handler has begun
            await send_problem(cast(Send, send), problem_of(error))
            return
        await _send(cast(Send, send), reply, known=known)

    return middleware


def _is_kept(handler: Any) -> bool:
    return takes_key(handler) and not handler.opt.get("command")


async def _read(receive: Receive) -> tuple[bytes | None, Receive]:
    """Return the body, None where it is over its limit or breaks off, and how the handler reads it again."""
    messages: list[Message] = []
    body = bytearray()
    more = True
    while more and len(body) <= REQUEST_BODY_BYTES_MAX:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        more = bool(message.get("more_body"))
    whole = not more and all(message["type"] == "http.request" for message in messages)
    left = iter(messages)

    async def again() -> Message:
        message = next(left, None)
        return message if message is not None else await receive()

    return (bytes(body) if whole else None), again


async def _send(send: Send, reply: Reply, *, known: bool) -> None:
    if reply.body is None:
        detail = (
            "this request took effect, and its reply was not kept: it showed a secret, which is shown once, or was too large. "
            "Read what it made; replace a secret that did not reach you"
        )
        raise Problem(409, "reply-not-kept", detail)
    headers = [*reply.headers, _REPLAYED] if known else reply.headers
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }
    )
    await send({"type": "http.response.body", "body": reply.body})
