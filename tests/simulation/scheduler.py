"""A scheduler that lets one statement run at a time: which is next, what dies, and what time it is, the seed says.

The code under it is the product's, the store is a real PostgreSQL. Each statement, and each beginning and end of a
transaction, stops at a gate before it is sent. When everything stands at a gate, sleeps, or waits in PostgreSQL for a lock that
somebody at a gate holds, the scheduler opens one gate, or lets time pass, or does harm. Time passes only then.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
_LOCK_LOOKED_AT_SECONDS = 0.002
_STEPS_MAX = 20_000
_SHOWN = 40

current: ContextVar["Process | None"] = ContextVar("process", default=None)


class Crashed(ConnectionError):
    """The process is dead; nothing it does goes anywhere."""


class Process:
    """Something that lives and dies as one: its tasks and its connections."""

    def __init__(self, name: str, scheduler: "Scheduler") -> None:
        self.name = name
        self.scheduler = scheduler
        self.skew_seconds = 0.0  # by which its clock is wrong
        self.dead = asyncio.Event()
        self.connections: list[asyncpg.Connection] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.spawned = 0

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run work as part of the process."""
        token = current.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            current.reset(token)

    def clock(self) -> datetime:
        """Return the time of day as the process reads it."""
        return BEGIN + timedelta(seconds=self.scheduler.now + self.skew_seconds)


def noted(loop: asyncio.AbstractEventLoop, work: Any, **more: Any) -> "asyncio.Task[Any]":
    """The loop's task factory: each task is its process's, so that it can die with it."""
    task = asyncio.Task(work, loop=loop, **more)
    if (process := current.get()) is not None:
        process.tasks = [other for other in process.tasks if not other.done()]
        process.tasks.append(task)
        process.spawned += 1
        task.set_name(f"{process.name}/{process.spawned:06}")
    return task


class Scheduler:
    """Runs until told that all is done. `trace` holds what was let run, in order, for two runs to be compared."""

    def __init__(self, seed: int, observer: asyncpg.Connection) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0  # seconds that have passed; no jump of a clock moves it
        self.database_skew_seconds = 0.0
        self.trace: list[str] = []
        self.harm: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._observer = observer
        self._gates: list[tuple[str, Process, str, asyncio.Future[None]]] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._busy: dict[object, asyncpg.Connection | None] = {}
        self._moved = asyncio.Event()
        self._slept = 0

    async def run(self, is_done: Callable[[], bool]) -> None:
        """Choose, step after step, until all is done. Raises AssertionError where that takes for ever."""
        await self._tell_time()
        for _ in range(_STEPS_MAX):
            await self._settle()
            if is_done():
                return
            if self.harm is not None:
                await self.harm()
            await self._step()
        raise AssertionError(f"not done after {_STEPS_MAX} steps, {self.now:.0f} s of its time:\n{self.tail()}")

    def tail(self) -> str:
        """Return the last steps as text."""
        return "\n".join(self.trace[-_SHOWN:])

    async def gated(self, process: Process, conn: asyncpg.Connection | None, query: str, send: Any) -> Any:
        """Send a statement of a process when it is its turn."""
        if process.dead.is_set():
            raise Crashed(process.name)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.current_task()
        assert task is not None
        self._gates.append((task.get_name(), process, _title(query), future))
        await future
        return await self.counted(conn, send)

    async def counted(self, conn: asyncpg.Connection | None, send: Any) -> Any:
        """Do something that PostgreSQL answers, so that nothing else is chosen meanwhile."""
        mark = object()
        self._busy[mark] = conn
        try:
            return await send()
        finally:
            del self._busy[mark]
            self._moved.set()

    async def sleep(self, seconds: float) -> None:
        """Sleep in the time that the scheduler makes."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._slept += 1
        entry = (self.now + seconds, self._slept, future)
        self._sleepers.append(entry)
        try:
            await future
        finally:
            with contextlib.suppress(ValueError):
                self._sleepers.remove(entry)

    async def pause(self, stop: asyncio.Event, seconds: float) -> None:
        """The product's `pause`, in that time."""
        sleep, stopped = asyncio.ensure_future(self.sleep(seconds)), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({sleep, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            stopped.cancel()

    def later(self, seconds: float, call: Callable[[], None]) -> "asyncio.Task[None]":
        """The product's `later`, in that time."""

        async def wait() -> None:
            await self.sleep(seconds)
            call()

        return asyncio.ensure_future(wait())

    async def kill(self, process: Process) -> None:
        """End a process where it stands; what it sent has arrived, and nothing follows."""
        self.trace.append(f"{self.now:8.2f} KILL {process.name}")
        process.dead.set()
        pids = [conn.get_server_pid() for conn in process.connections if not conn.is_closed()]
        for conn in process.connections:
            conn.terminate()
        self._gates = [gate for gate in self._gates if gate[1] is not process]
        while left := [task for task in process.tasks if not task.done()]:
            for (
                task
            ) in left:  # one may turn its cancellation into the fault of a transaction that it cannot end any more
                task.cancel()
            await asyncio.wait(left, timeout=0.01)
        await self._end_backends(pids)

    async def cut(self, process: Process) -> None:
        """Cut one of a process's connections, from the server's side."""
        if open_ones := [conn for conn in process.connections if not conn.is_closed()]:
            self.trace.append(f"{self.now:8.2f} CUT {process.name}")
            conn = self.chance.choice(open_ones)
            await self._end_backends([conn.get_server_pid()])
            while not conn.is_closed():  # noqa: ASYNC110 - until the driver knows, whatever asks it may be told either
                await asyncio.sleep(0.001)

    async def jump(self, process: Process | None, seconds: float) -> None:
        """Step the clock of a process, or of the database."""
        self.trace.append(f"{self.now:8.2f} JUMP {'database' if process is None else process.name} {seconds:+.0f} s")
        if process is None:
            self.database_skew_seconds += seconds
            await self._tell_time()
        else:
            process.skew_seconds += seconds

    async def _step(self) -> None:
        wakes = min(self._sleepers, default=None)
        if self._gates and (wakes is None or self.chance.random() < 0.9):
            self._gates.sort(key=lambda gate: gate[0])  # statements that PostgreSQL let go at once come in any order
            _, process, title, future = self._gates.pop(self.chance.randrange(len(self._gates)))
            self.trace.append(f"{self.now:8.2f} {process.name}: {title}")
            future.set_result(None)
        elif wakes is not None:
            self.now = max(self.now, wakes[0])
            await self._tell_time()
            for at, _, future in sorted(self._sleepers):
                if at <= self.now and not future.done():
                    future.set_result(None)
        else:
            raise AssertionError(f"everything waits, and nothing will wake it:\n{self.tail()}")

    async def _settle(self) -> None:
        """Return when nothing moves by itself."""
        loop: Any = asyncio.get_running_loop()
        while True:
            while loop._ready:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)
            if not self._busy:
                return
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), _LOCK_LOOKED_AT_SECONDS)
                continue
            if self._busy and await self._all_blocked():
                return

    async def _all_blocked(self) -> bool:
        """Whether all statements under way wait for locks; those who hold them stand at gates."""
        conns = list(self._busy.values())
        if any(conn is None or conn.is_closed() for conn in conns):
            return False
        pids = [conn.get_server_pid() for conn in conns if conn is not None]
        blocked = await self._observer.fetchval(
            "SELECT bool_and(cardinality(pg_blocking_pids(pid)) > 0) FROM unnest($1::integer[]) AS pid", pids
        )
        return bool(blocked) and len(self._busy) == len(pids)

    async def _end_backends(self, pids: list[int]) -> None:
        while await self._observer.fetchval(  # noqa: ASYNC110 - PostgreSQL tells nobody
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = ANY($1)", pids
        ):
            await asyncio.sleep(0.001)

    async def _tell_time(self) -> None:
        at = BEGIN + timedelta(seconds=self.now + self.database_skew_seconds)
        await self._observer.execute("UPDATE sim.clock SET at = $1, passed = $2", at, self.now)


def _title(query: str) -> str:
    lines = [line for line in query.strip().splitlines() if not line.startswith("--")]
    return " ".join(lines[0].split())[:90] if lines else ""
