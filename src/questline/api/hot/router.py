"""Sends the hot paths to their handlers and everything else to the rest of the API; no error leaves unanswered."""

from collections.abc import Awaitable, Callable

import structlog

from questline.api.hot.body import Disconnected, Receive, Scope
from questline.api.hot.events import EventHandlers, Handler
from questline.api.hot.spend import SpendHandler
from questline.api.hot.stream import StreamHandler
from questline.api.problems import Problem, Send, send_problem

log = structlog.get_logger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class HotRouter:
    """The ASGI application in front of all others."""

    def __init__(self, rest: App, events: EventHandlers, stream: StreamHandler, spends: SpendHandler) -> None:
        self._rest = rest
        routes: dict[str, Handler] = {
            "/events": events.one,
            "/events/track": events.track,
            "/events/batch": events.batch,
            "/ingest/stream": stream.stream,
            "/currency/spend": spends.spend,
        }
        self._routes = {prefix + path: handler for path, handler in routes.items() for prefix in ("", "/v1")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or (route := self._routes.get(scope["path"])) is None:
            await self._rest(_versioned(scope), receive, send)
            return
        try:
            await route(scope, receive, send)
        except Problem as problem:
            await send_problem(send, problem)
        except Disconnected:
            return
        except Exception:
            log.exception("request.failed", path=scope["path"])
            await send_problem(send, Problem(500, "internal", "the server failed on this request; it was logged"))


_UNVERSIONED = ("/health", "/ready", "/metrics", "/openapi.json", "/schema")


def _versioned(scope: Scope) -> Scope:
    """Each path also answers without the prefix: give it one."""
    path = scope.get("path", "")
    if scope["type"] != "http" or path.startswith("/v1/") or path in _UNVERSIONED:
        return scope
    return {**scope, "path": f"/v1{path}", "raw_path": b"/v1" + (scope.get("raw_path") or path.encode())}
