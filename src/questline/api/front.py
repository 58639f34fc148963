"""What each request passes before it is routed: its correlation id, its path in segments, its line in the log; and the
count of who names no caller, by address.

The hot paths do not come this way (api/hot/router.py).
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast
from urllib.parse import parse_qsl, unquote
from uuid import UUID

import structlog
from litestar import Request, types

from questline.api import correlation
from questline.api.asgi import Message, Receive, Scope, Send
from questline.api.auth import key_of
from questline.api.callers import CALLERS, DEPENDENCIES
from questline.api.hot.router import App
from questline.api.meters import ApiMeters
from questline.api.methods import Methods
from questline.api.problems import Problem, internal, send_problem
from questline.api.rates import Rates
from questline.api.staff import STAFF, STAFF_DEPENDENCIES

log = structlog.get_logger("questline.access")

# Stands for a slash inside one segment until the path is routed. PostgreSQL holds no NUL in a text, so no id has one.
_SLASH = "\0"
_CALLERS = {name: of for name, of in {**DEPENDENCIES, **STAFF_DEPENDENCIES}.items() if name in CALLERS or name in STAFF}
_ALIVE = "/health"  # never refused: whoever looks after the process asks it
_UNVERSIONED = frozenset({_ALIVE, "/ready", "/metrics", "/openapi.json", "/docs"})


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
        echo, bodiless, status, instead = correlation.echo(id_), scope["method"] == "HEAD", 0, False
        if bodiless:
            inner["method"] = "GET"

        async def answer(message: Message) -> None:
            nonlocal status, instead
            if instead:
                return
            if message["type"] == "http.response.start":
                if refusal := await self._refusal(inner, message["status"]):
                    await send_problem(answer, refusal)
                    instead = True
                    return
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
                    allowed = self._methods.of(inner["path"]) if scope["method"] == "OPTIONS" else []
                    if (allowed or key_of(scope["headers"]) is None) and inner["path"] != _ALIVE:
                        await self._rates.stranger(inner)
                    if allowed:
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

    async def _refusal(self, routed: Scope, status: int) -> Problem | None:
        """Count the address of a request that failed before anybody was named, whatever key it bears; return its refusal.

        Those that succeed without a caller were counted by `strangers`, and those with a wrong key where that was looked up.
        """
        state = routed["state"]
        if status < 400 or "caller" in state or state.get("counted") or routed["path"] == _ALIVE:
            return None
        try:
            ask = _caller_of(routed.get("route_handler"))
            if ask is not None:  # its body was refused before anybody asked
                with suppress(Problem):
                    await ask(Request(cast(Any, routed)))
            if "caller" in state:
                return None
            await self._rates.stranger(routed)
        except Problem as problem:
            return problem
        return None

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


def strangers(app: types.ASGIApp) -> types.ASGIApp:
    """Return a middleware, run once the request is routed, that counts who calls what is for anybody, by address.

    Nobody looks at the key that lies beside such a request, so it says nothing of who sends it.
    """

    async def middleware(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        handler: Any = scope.get("route_handler")
        if cast(Scope, scope)["type"] == "http" and _caller_of(handler) is None and scope["path"] != _ALIVE:
            await scope["app"].state.services.rates.stranger(cast(Scope, scope))
        await app(scope, receive, send)

    return middleware


def _caller_of(handler: Any) -> Any:
    """Return what finds the caller of a route; None where there is no route, or it is for anybody."""
    parameters = handler.parsed_fn_signature.parameters if hasattr(handler, "parsed_fn_signature") else ()
    return next((_CALLERS[name].dependency for name in parameters if name in _CALLERS), None)


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
