"""Sends the hot paths to their handlers and everything else to the rest of the API; no error leaves unanswered."""

from collections.abc import Awaitable, Callable

import structlog

from questline.api import correlation
from questline.api.asgi import Header, Receive, Scope, Send
from questline.api.hot.body import Disconnected, Room, counted
from questline.api.hot.commands import CommandHandlers
from questline.api.hot.events import EventHandlers, Handler
from questline.api.hot.segment import BATCH_PATH, SEGMENT_PATHS, SegmentHandlers
from questline.api.hot.spend import SpendHandler
from questline.api.hot.stream import StreamHandler
from questline.api.notes import take_notes
from questline.api.origins import answer_preflight, is_preflight, origin_of
from questline.api.problems import Problem, internal, send_problem
from questline.api.rates import Rates

log = structlog.get_logger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]


HOT_PATHS = (
    "/v1/events", "/v1/events/track", "/v1/events/batch", "/v1/ingest/stream", "/v1/currency/spend",
    *(f"/v1{path}" for path in SEGMENT_PATHS), f"/v1{BATCH_PATH}",
)  # fmt: skip


class HotRouter:
    """The ASGI application in front of all others."""

    def __init__(
        self, rest: App, events: EventHandlers, stream: StreamHandler, spends: SpendHandler, commands: CommandHandlers,
        rates: Rates, segment: SegmentHandlers, room: Room,
    ) -> None:  # fmt: skip
        """`room` is for bodies that the rest of the API reads, which it does before it asks who sends them."""
        self._room = room
        self._rates = rates
        self._rest = rest
        self._commands = commands
        routes: dict[str, Handler] = {
            "/events": events.one,
            "/events/track": events.track,
            "/events/batch": events.batch,
            "/ingest/stream": stream.stream,
            "/currency/spend": spends.spend,
            **segment.routes,
        }
        assert [f"/v1{path}" for path in routes] == list(HOT_PATHS)
        routes |= segment.short_routes
        self._routes = {prefix + path: handler for path, handler in routes.items() for prefix in ("", "/v1")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            origin = origin_of(scope)
            if origin is not None and is_preflight(scope):
                await answer_preflight(send)
                return
            if origin is not None or self._rates.in_use:
                send = take_notes(scope, send, origin)
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        if scope["method"] != "POST":
            await self._pass_on(scope, receive, send)
            return
        try:
            route = self._routes.get(scope["path"])
            if route is not None:
                await route(scope, receive, send)
            elif not await self._commands.answer(scope, receive, send):
                await self._pass_on(scope, receive, send)
        except Problem as problem:
            await send_problem(send, problem, _echo(scope))
        except Disconnected:
            return
        except Exception:
            log.exception("request.failed", path=scope["path"], correlation_id=correlation.given(scope["headers"]))
            await send_problem(send, internal(), _echo(scope))

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._room.share() as share:
            await self._rest(scope, counted(receive, share), send)


def _echo(scope: Scope) -> list[Header]:
    given = correlation.given(scope["headers"])
    return [] if given is None else [correlation.echo(given)]
