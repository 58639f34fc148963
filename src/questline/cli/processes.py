"""The server processes: the API, and the worker and the relay, each with a small page of health of its own."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from questline.api.connections import Bounds, protocol, watch
from questline.assembly import build_worker, new_registry, now, running_api
from questline.assembly_carriers import build_relay
from questline.cli.listening import BACKLOG, listen, url_of
from questline.model.limits import KEEP_ALIVE_SECONDS, LANE_HUNG_SECONDS, SHUTDOWN_SECONDS_MAX
from questline.settings import CannotStart, Settings
from questline.store.ids import EventIds

__all__ = ["CannotStart", "relay", "serve", "work"]

log = structlog.get_logger(__name__)

Message = MutableMapping[str, Any]

_COLLECT_AFTER = (50_000, 20, 20)  # objects made and not freed; then how many collections of the younger ones


def serve(settings: Settings, parent_pipe: int | None = None, listen_fd: int | None = None) -> None:
    """Run the API until a signal; what it took is finished first. `listen_fd` is a socket that listens already."""
    _run(_serve(settings, parent_pipe, listen_fd))


def work(settings: Settings, parent_pipe: int | None = None, listen_fd: int | None = None) -> None:
    """Run a worker until a signal; the batches under way are finished first. `listen_fd`: as of `serve`."""
    _run(_work(settings, parent_pipe, listen_fd))


def relay(settings: Settings, parent_pipe: int | None = None, listen_fd: int | None = None) -> None:
    """Run a relay until a signal; what it is handing over is finished first. `listen_fd`: as of `serve`."""
    _run(_relay(settings, parent_pipe, listen_fd))


def _run(main: Any) -> None:
    _collect_seldom()
    try:
        import uvloop
    except ImportError:  # Windows
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


def _collect_seldom() -> None:
    """Search for cycles seldom: batches make objects by the ten thousand, nearly all of which end by their count.

    With Python's own thresholds a quarter of a worker's time goes into collections that find nothing.
    """
    gc.freeze()  # modules live as long as the process
    gc.set_threshold(*_COLLECT_AFTER)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: ours also watch the parent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _config(app: Any, bounds: Bounds) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what is no HTTP gets an answer, and no line in the log
    return uvicorn.Config(
        app,
        http=protocol(bounds),
        access_log=False,
        log_config=None,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(KEEP_ALIVE_SECONDS),
        timeout_graceful_shutdown=int(SHUTDOWN_SECONDS_MAX),
    )


async def _serve(settings: Settings, parent_pipe: int | None, listen_fd: int | None) -> None:
    stop = _stop_signal(parent_pipe)
    listener = listen(settings.host, settings.port) if listen_fd is None else socket.socket(fileno=listen_fd)
    bounds = Bounds(connections=settings.connections_max, hsts_seconds=settings.hsts_seconds)
    async with running_api(settings) as app, listening(app, listener, bounds) as serving:
        await asyncio.wait({serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)


@contextlib.asynccontextmanager
async def listening(app: Any, listener: socket.socket, bounds: Bounds) -> AsyncIterator["asyncio.Task[None]"]:
    """Answer on a socket; on leaving, requests under way are finished."""
    server = _Server(_config(app, bounds))
    serving = asyncio.create_task(server.serve([listener]))
    watching = asyncio.create_task(watch(server.server_state.connections, bounds))
    try:
        yield serving
    finally:
        watching.cancel()
        server.should_exit = True
        await serving


async def _work(settings: Settings, parent_pipe: int | None, listen_fd: int | None) -> None:
    stop = _stop_signal(parent_pipe)
    registry = new_registry()
    worker = build_worker(settings, registry)
    listener = listen(settings.host, settings.worker_port) if listen_fd is None else socket.socket(fileno=listen_fd)
    log.info("worker.listening", url=url_of(listener))
    async with listening(_page(worker, registry), listener, Bounds()):
        await worker.run(stop)


async def _relay(settings: Settings, parent_pipe: int | None, listen_fd: int | None) -> None:
    stop = _stop_signal(parent_pipe)
    registry = new_registry()
    built = build_relay(settings, registry, now, EventIds().new)
    listener = listen(settings.host, settings.worker_port) if listen_fd is None else socket.socket(fileno=listen_fd)
    log.info("relay.listening", url=url_of(listener))
    async with listening(_page(built, registry), listener, Bounds()):
        await built.run(stop)


def _stop_signal(parent_pipe: int | None) -> asyncio.Event:
    """Return an event set by SIGINT or SIGTERM, or when the parent's end of a pipe closes: it was killed."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if parent_pipe is not None:

        def watch() -> None:
            with contextlib.suppress(OSError):
                while os.read(parent_pipe, 1):
                    pass
            loop.call_soon_threadsafe(stop.set)
            time.sleep(SHUTDOWN_SECONDS_MAX)
            os._exit(1)  # nobody is left to end a process that does not finish

        threading.Thread(target=watch, daemon=True).start()
    return stop


def _page(process: Any, registry: Any) -> Any:
    async def app(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        status, body, kind = 200, b'{"status":"alive"}', b"application/json"
        if scope["path"] == "/metrics":
            body, kind = generate_latest(registry), CONTENT_TYPE_LATEST.encode()
        elif scope["path"] == "/ready":
            idle = process.idle_seconds()
            status = 200 if idle < LANE_HUNG_SECONDS else 503
            state = "ready" if status == 200 else "a lane hangs"
            body = msgspec.json.encode({"status": state, "idleSeconds": round(idle, 1)})
        elif scope["path"] != "/health":
            status, body = 404, b'{"status":404,"code":"not-found"}'
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})

    return app
