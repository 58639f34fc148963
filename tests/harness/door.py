"""A door in the way of connections: what passes can be held, cut off, or lost on its way back."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]
Listen = Callable[[Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]], Awaitable[asyncio.Server]]

_CHUNK_BYTES = 65_536


class _Passage:
    """One connection through the door."""

    def __init__(self, outer: asyncio.StreamWriter, inner: asyncio.StreamWriter) -> None:
        self.ends = (outer, inner)
        self.loses_answer = False

    def cut(self) -> None:
        for end in self.ends:
            end.transport.abort()


class Door:
    """Passes connections on, in a thread of its own. Its methods may be called from any thread."""

    def __init__(self, listen: Listen, dial: Dial, port: int = 0) -> None:
        self.port = port  # where it is entered, unless by a socket
        self._listen = listen
        self._dial = dial
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._flow = asyncio.Event()
        self._flow.set()
        self._passages: list[_Passage] = []
        self._server: asyncio.Server | None = None

    @classmethod
    def of_socket(cls, outer: Path, inner: Path) -> "Door":
        """A door between two unix sockets."""
        return cls(
            lambda passed: asyncio.start_unix_server(passed, path=str(outer)),
            lambda: asyncio.open_unix_connection(str(inner)),
        )

    @classmethod
    def of_port(cls, outer: int, inner: int) -> "Door":
        """A door between two ports of this machine."""
        return cls(
            lambda passed: asyncio.start_server(passed, "127.0.0.1", outer),
            lambda: asyncio.open_connection("127.0.0.1", inner),
            outer,
        )

    def open(self) -> None:
        """Begin to let pass."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    def close(self) -> None:
        """Cut everything and stop."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def freeze(self) -> None:
        """Hold whatever comes, from both sides, until `thaw`; nobody is told."""
        self._loop.call_soon_threadsafe(self._flow.clear)

    def thaw(self) -> None:
        """Let pass what was held."""
        self._loop.call_soon_threadsafe(self._flow.set)

    def cut(self, chance: random.Random, share: float) -> None:
        """Cut some of the connections at once, wherever they stand: in the middle of a message, too."""
        self._each(chance, share, _Passage.cut)

    def lose_answers(self, chance: random.Random, share: float) -> None:
        """Let the next answer on some of the connections be lost, and cut them then: what was asked has been done."""

        def mark(passage: _Passage) -> None:
            passage.loses_answer = True

        self._each(chance, share, mark)

    def _each(self, chance: random.Random, share: float, act: Callable[[_Passage], None]) -> None:
        seed = chance.random()

        def run() -> None:
            chosen = random.Random(seed)
            for passage in list(self._passages):
                if chosen.random() < share:
                    act(passage)

        self._loop.call_soon_threadsafe(run)

    async def _open(self) -> None:
        self._server = await self._listen(self._pass)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._flow.set()
        for passage in list(self._passages):
            passage.cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._flow.wait()
            inner_reader, inner_writer = await self._dial()
        except (OSError, asyncio.CancelledError):  # cancelled: the door is closed
            writer.transport.abort()
            return
        passage = _Passage(writer, inner_writer)
        self._passages.append(passage)
        try:
            await asyncio.gather(
                self._pump(passage, reader, inner_writer, is_answer=False),
                self._pump(passage, inner_reader, writer, is_answer=True),
            )
        except asyncio.CancelledError:  # the door is closed
            return
        finally:
            self._passages.remove(passage)
            passage.cut()

    async def _pump(
        self, passage: _Passage, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._flow.wait()
                if is_answer and passage.loses_answer:
                    break
                writer.write(data)
                await writer.drain()
        passage.cut()
