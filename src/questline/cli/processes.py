"""The server processes: the API, and the worker, the relay and the deliverer, each with a small page of health of its own."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

import msgspec
import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from questline.api.connections import Bounds, protocol, watch
from questline.assembly_carriers import build_relay
from questline.assembly_worker import build_worker, new_registry, now
from questline.cli.listening import BACKLOG, listen, url_of
from questline.model.limits import KEEP_ALIVE_SECONDS, LANE_HUNG_SECONDS, SHUTDOWN_SECONDS_MAX
from questline.settings import CannotStart, Settings
from questline.store.ids import EventIds

__all__ = ["CannotStart", "deliver", "relay", "run_as_process", "serve", "work"]

log = structlog.get_logger(__name__)

Message = MutableMapping[str, Any]
Result = TypeVar("Result")

# A batch of a thousand events is 100,000 objects at once, and none of them garbage: rings are rare (engine/draft.py).
_COLLECT_AFTER = (250_000, 20, 20)  # objects made and not freed; then how many collections of the younger ones


def serve(settings: Settings, parent_pipe: int | None = None, listen_fd: int | None = None) -> None:
    """Run the API until a signal; what it took is finished first. `listen_fd` is a socket that listens already."""
    from questline.assembly import running_api  # which the others do without

    run_as_process(_serve(running_api(settings), settings, parent_pipe, listen_fd))


def work(settings: Settings, parent_pipe: int | None = None, listen_fd: int | None = None) -> None:
    """Run a worker until a signal; the batches under way are finished first. `listen_fd`: as of `serve`."""

    def build(registry: CollectorRegistry) -> Any:
        return build_worker(settings, registry)

    idle = "a lane finished nothing for long: it hangs, or PostgreSQL or the transport does not answer"
    run_as_process(_with_page("worker", build, idle, settings, parent_pipe, listen_fd))


def relay(settings: Settings, parent_pipe: int | None = None, listen_fd: int | None = None) -> None:
    """Run a relay until a signal; what it is handing over is finished first. `listen_fd`: as of `serve`."""

    def build(registry: CollectorRegistry) -> Any:
        return build_relay(settings, registry, now, EventIds().new)

    idle = "a lane handed nothing over for long: it hangs, or PostgreSQL or the broker does not answer"
    run_as_process(_with_page("relay", build, idle, settings, parent_pipe, listen_fd))


def deliver(settings: Settings, parent_pipe: int | None = None, listen_fd: int | None = None) -> None:
    """Run a deliverer until a signal; what it is sending is finished first. `listen_fd`: as of `serve`."""
    from questline.assembly_deliveries import build_deliverer  # with the client of HTTP

    def build(registry: CollectorRegistry) -> Any:
        return build_deliverer(settings, registry)

    idle = "it was not looked for messages for long: PostgreSQL does not answer"
    run_as_process(_with_page("deliverer", build, idle, settings, parent_pipe, listen_fd))


def run_as_process(main: Coroutine[Any, Any, Result]) -> Result:
    """Run what a server process does, on the loop and with the memory management of one."""
    collect_seldom()
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def collect_seldom() -> None:
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


async def _serve(
    api: contextlib.AbstractAsyncContextManager[Any], settings: Settings, parent_pipe: int | None, listen_fd: int | None
) -> None:
    stop = _stop_signal(parent_pipe)
    listener = listen(settings.host, settings.port) if listen_fd is None else socket.socket(fileno=listen_fd)
    bounds = Bounds(connections=settings.connections_max, hsts_seconds=settings.hsts_seconds)
    stopping, started = asyncio.create_task(stop.wait()), asyncio.Event()

    async def answer() -> None:
        async with api as app, listening(app, listener, bounds) as serving:
            started.set()
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)

    answering = asyncio.create_task(answer())
    await asyncio.wait({answering, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not started.is_set():  # it waits for PostgreSQL, say, and has nothing under way
        answering.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await answering


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


async def _with_page(
    name: str, build: Callable[[CollectorRegistry], Any], idle_means: str, settings: Settings, parent_pipe: int | None,
    listen_fd: int | None,
) -> None:  # fmt: skip
    """Run a process that no client talks to, and answer on a page of its own how it does."""
    stop = _stop_signal(parent_pipe)
    registry = new_registry()
    process = build(registry)
    listener = listen(settings.host, settings.worker_port) if listen_fd is None else socket.socket(fileno=listen_fd)
    log.info(f"{name}.listening", url=url_of(listener))
    async with listening(_page(process, registry, idle_means), listener, Bounds()):
        await process.run(stop)


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


def _page(process: Any, registry: Any, idle_means: str) -> Any:
    """Return the page of a process; `idle_means` is what is told where it has been idle for too long."""

    async def app(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        status, body, kind = 200, b'{"status":"alive"}', b"application/json"
        if scope["path"] == "/metrics":
            body, kind = generate_latest(registry), CONTENT_TYPE_LATEST.encode()
        elif scope["path"] == "/ready":
            idle = process.idle_seconds()
            status = 200 if idle < LANE_HUNG_SECONDS else 503
            state = "ready" if status == 200 else idle_means
            body = msgspec.json.encode({"status": state, "idleSeconds": round(idle, 1)})
        elif scope["path"] != "/health":
            status, body = 404, b'{"status":404,"code":"not-found"}'
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body})

    return app
