"""What each request passes before it is routed: its correlation id, its path in segments, its line in the log.

The hot paths do not come this way (api/hot/router.py).
"""

import time
from collections.abc import Callable
from typing import cast
from urllib.parse import parse_qsl, unquote
from uuid import UUID

import structlog
from litestar import types

from questline.api import correlation
from questline.api.asgi import Message, Receive, Scope, Send
from questline.api.auth import key_of
from questline.api.hot.router import App
from questline.api.meters import ApiMeters
from questline.api.methods import Methods
from questline.api.problems import Problem, internal, send_problem
from questline.api.rates import Rates

log = structlog.get_logger("questline.access")

# Stands for a slash inside one segment until the path is routed. PostgreSQL holds no NUL in a text, so no id has one.
_SLASH = "\0"
_UNVERSIONED = frozenset({"/health", "/ready", "/metrics", "/openapi.json", "/docs"})


class Front:
    """The ASGI application in front of Litestar."""

    def __init__(
        self, app: types.ASGIApp, new_id: Callable[[], UUID], meters: ApiMeters, rates: Rates, methods: Methods
    ) -> None:
        self._app = cast(App, app)  # Litestar types ASGI more narrowly than it is
        self._new_id = new_id
        self._meters = meters
        self._rates = rates
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, under a correlation id, and log one line about it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A scope of our own: routing writes the route and the project into it, and the line below reads them.
        inner = {**scope, "path": path_of(scope), "state": dict(scope.get("state") or {})}
        id_ = correlation.given(scope["headers"]) or str(self._new_id())
        inner["state"]["correlation"] = id_
        echo, bodiless, status = correlation.echo(id_), scope["method"] == "HEAD", 0
        if bodiless:
            inner["method"] = "GET"

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), echo]
            elif message["type"] == "http.response.body" and bodiless:
                message["body"] = b""
            await send(message)

        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(correlation_id=id_):
            try:
                if "\0" in scope["path"] or b"%00" in scope["query_string"]:
                    await send_problem(answer, _holds_nul())
                elif twice := _given_twice(scope["query_string"]):
                    await send_problem(answer, _ambiguous(twice))
                else:
                    if key_of(scope["headers"]) is None and scope["path"] != "/health":
                        await self._rates.stranger(scope)
                    if scope["method"] == "OPTIONS" and (allowed := self._methods.of(inner["path"])):
                        await _send_options(answer, allowed)
                    else:
                        await self._app(inner, receive, answer)
            except Problem as problem:
                await send_problem(answer, problem)
            except Exception:
                log.exception("request.failed", path=scope["path"])
                if status:
                    raise  # the answer has begun: only the connection can end it
                await send_problem(answer, internal())
            finally:
                self._note(scope, inner, status, time.perf_counter() - started)

    def _note(self, scope: Scope, routed: Scope, status: int, seconds: float) -> None:
        route = routed.get("path_template") or "none"
        self._meters.requests.labels(scope["method"], route, status).inc()
        self._meters.seconds.labels(route).observe(seconds)
        write = log.debug if route in _UNVERSIONED else log.info  # probes come by the second
        write(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            took_ms=round(seconds * 1000, 1),
            project=routed["state"].get("project"),
        )


async def _send_options(send: Send, allowed: list[str]) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": [(b"allow", ", ".join(allowed).encode())]})
    await send({"type": "http.response.body", "body": b""})


def _holds_nul() -> Problem:
    return Problem(400, "invalid-request", "the path or query holds a NUL character, which no id can have")


def _given_twice(query: bytes) -> str | None:
    """Return a parameter of the query that is given more than once: proxies and we might not take the same one."""
    if b"&" not in query:
        return None
    names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    return next((name for n, name in enumerate(names) if name in names[:n]), None)


def _ambiguous(name: str) -> Problem:
    return Problem(400, "invalid-parameter", f"{name!r} is given more than once; give it once", parameter=name)


def path_of(scope: Scope) -> str:
    """Return the path to route.

    Each segment is decoded by itself, so that an encoded slash is part of an id. Resources answer with and without the
    prefix /v1, and so do the pages that are not versioned.
    """
    path: str = scope["path"]
    raw: bytes = scope.get("raw_path") or b""
    if b"%2f" in raw.lower():
        segments = raw.partition(b"?")[0].decode("latin-1").split("/")
        path = "/".join(unquote(segment).replace("/", _SLASH) for segment in segments)
    if path.startswith("/v1/"):
        bare = path.removeprefix("/v1")
        return bare if bare in _UNVERSIONED - {"/metrics"} else path  # /v1/metrics are those of the program
    return path if path in _UNVERSIONED else f"/v1{path}"


def whole_ids(app: types.ASGIApp) -> types.ASGIApp:
    """Return a middleware, run once the request is routed, that puts slashes back into the ids of its path."""

    async def middleware(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        if parameters := scope.get("path_params"):
            scope["path_params"] = {
                name: value.replace(_SLASH, "/") if isinstance(value, str) else value
                for name, value in parameters.items()
            }
        await app(scope, receive, send)

    return middleware
