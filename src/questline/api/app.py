"""The API without the hot paths: every route under /v1, every error a problem document.

HotRouter, in front of it, adds the prefix where a client leaves it out.
"""

import time
from typing import Any

import structlog
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from questline.api import apps, events, keys, leaderboards, program, system, users
from questline.api.callers import DEPENDENCIES
from questline.api.errors import handle
from questline.api.services import Services
from questline.model.limits import REQUEST_BODY_BYTES_MAX

log = structlog.get_logger("questline.access")

RESOURCES: list[Any] = [
    apps.create_an_app,
    apps.get_an_app,
    users.upsert_user,
    users.get_profile,
    users.get_history,
    events.get_event,
    events.list_events,
    leaderboards.get_leaderboard,
    keys.create_key,
    keys.list_keys,
    keys.revoke_key,
    program.get_program,
    program.put_program,
    program.plan_program,
    program.get_schema,
    program.list_versions,
    program.get_version,
    program.list_section,
    program.add_to_section,
    program.get_entry,
    program.put_entry,
    program.delete_entry,
]
SYSTEM: list[Any] = [system.health, system.ready, system.metrics, system.openapi]


class AccessLog:
    """Gives each request a correlation id, answers it in a header and logs one line."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        given = next((v for n, v in scope["headers"] if n == b"x-correlation-id"), b"").decode("latin-1")[:256]
        services: Services = scope["litestar_app"].state.services
        correlation = given or str(services.new_id())
        structlog.contextvars.bind_contextvars(correlation_id=correlation)
        started, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-correlation-id", correlation.encode("latin-1", "replace")),
                ]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        finally:
            took_ms = round((time.perf_counter() - started) * 1000, 1)
            project = scope.get("state", {}).get("project")
            log.info(
                "request", method=scope["method"], path=scope["path"], status=status, took_ms=took_ms, project=project
            )
            structlog.contextvars.clear_contextvars()


def build(services: Services) -> Litestar:
    """Return the application over what its handlers share."""
    return Litestar(
        route_handlers=[
            Router("/v1", route_handlers=RESOURCES),
            *SYSTEM,
        ],
        dependencies=DEPENDENCIES,
        exception_handlers={Exception: handle},
        middleware=[DefineMiddleware(AccessLog)],
        openapi_config=OpenAPIConfig(title="Questline", version="1", path="/schema", render_plugins=[]),
        request_max_body_size=REQUEST_BODY_BYTES_MAX,
        state=State({"services": services}),
        debug=False,
    )
