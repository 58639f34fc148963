"""The application with a span for each request that changes something. It stands in front only where traces are made."""

from questline.api.asgi import Message, Receive, Scope, Send, header
from questline.api.hot.router import HOT_PATHS, App
from questline.telemetry.tracing import Tracer

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Traced:
    """The ASGI application in front of the router."""

    def __init__(self, app: App, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. A path is named where it is one of few; others hold users' ids, which are no one else's."""
        if scope["type"] != "http" or scope["method"] in _READS:
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        path = path if path.startswith("/v1/") else f"/v1{path}"
        route = path if path in HOT_PATHS else None
        name, more = (method, {}) if route is None else (f"{method} {route}", {"http.route": route})
        given = header(scope, b"traceparent")
        with self._tracer.request(name, given, **{"http.request.method": method}, **more) as span:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, answer)
