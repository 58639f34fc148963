"""POST /v1/ingest/stream: NDJSON or XML of any length, read, stored and answered in bounded memory.

The answer is one NDJSON line an item and a summary line. It is sent when the body has ended: a client that writes
everything before it reads, as most do, would otherwise wait for us while we wait for it. Until then the lines wait in
memory up to a bound, then in a temporary file. A line exists only for what is committed.
"""

import asyncio
import tempfile
from collections import deque
from collections.abc import Iterator
from typing import IO, Any
from urllib.parse import parse_qs

import msgspec

from questline.api import correlation
from questline.api.asgi import Header, Receive, Scope, Send, header
from questline.api.hot.body import Disconnected, chunks_of
from questline.api.hot.elements import ElementSplitter
from questline.api.hot.events import EventHandlers
from questline.api.hot.items import Item, ItemResult, Items
from questline.api.hot.lines import Line, LineSplitter, Splitter, groups_of_lines
from questline.api.idempotency import request_key
from questline.api.problems import CONTENT_TYPE, Problem
from questline.api.rates import Rates
from questline.ingest.turns import Turn
from questline.model.limits import (
    STREAM_GROUPS_AT_ONCE,
    STREAM_IDLE_SECONDS,
    STREAM_REJECTED_MAX,
    STREAM_RESULT_BYTES_IN_MEMORY,
    STREAM_RESULT_BYTES_MAX,
)

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_READ_BYTES = 256 * 1024
_NDJSON = "application/x-ndjson"
_MEDIA = (_NDJSON, "application/ndjson", "application/jsonl", "application/json")
_XML_MEDIA = ("application/xml", "text/xml")


class StreamHandler:
    """Streams of events."""

    def __init__(
        self, events: EventHandlers, items: Items, rates: Rates, event_bytes_max: int, stream_bytes_max: int
    ) -> None:
        self._rates = rates
        self._events = events
        self._items = items
        self._event_bytes_max = event_bytes_max
        self._stream_bytes_max = stream_bytes_max

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept a stream; 200 with a line an item (`?results=errors`: only for the rejected) and a summary.

        When it cannot be read to its end, the problem that stopped it holds the summary, the results so far and the
        number of the last line they speak of.
        """
        principal = await self._events.authenticate(scope, tokens=0)
        media = (header(scope, b"content-type") or _NDJSON).split(";")[0].strip().lower()
        is_xml = media in _XML_MEDIA
        if not is_xml and media not in _MEDIA:
            detail = f"{media} is not understood; send {_NDJSON} or application/xml"
            raise Problem(415, "unsupported-media-type", detail)
        splitter: Splitter = (ElementSplitter if is_xml else LineSplitter)(self._event_bytes_max)
        results = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("results", ["all"])[-1]
        if results not in ("all", "errors"):
            raise Problem(400, "invalid-parameter", "results must be all or errors", parameter="results")
        correlation_id, key = correlation.given(scope["headers"]), request_key(scope["headers"])
        read = 0
        chunks = chunks_of(scope, receive, self._stream_bytes_max, STREAM_IDLE_SECONDS)
        chunks = self._events.received_chunks(principal, scope, chunks)
        problem: Problem | None = None
        with _Answer(errors_only=results == "errors", numbered=is_xml) as answer:
            storing = _Storing(self._items, answer)
            try:
                # One group is read while those before it are stored.
                async for lines in groups_of_lines(chunks, splitter):
                    await self._rates.pace(principal, len(lines))
                    bodies = [line for _, line in lines]
                    items = await self._items.read(principal, bodies, correlation_id, key=key, first=read)
                    read += len(bodies)
                    await storing.answer(left=STREAM_GROUPS_AT_ONCE - 1)
                    storing.begin(lines, items)
                    problem = answer.over()
                    if problem is not None:
                        async for _ in chunks:
                            pass  # most clients send everything before they read
                        break
            except Problem as stopped:
                problem = problem or stopped
            except Disconnected:
                await storing.give_up()
                return
            try:
                await storing.answer()
            except Problem as stopped:
                problem = problem or stopped
            if problem is not None and not answer.begun:
                raise problem
            await answer.send(send, problem)


class _Storing:
    """The groups of a stream that are being stored, and are answered in order. After one that failed none is answered."""

    def __init__(self, items: Items, answer: "_Answer") -> None:
        self._items = items
        self._answer = answer
        self._groups: deque[tuple[list[Line], asyncio.Task[list[ItemResult]]]] = deque()
        self._turn: Turn | None = None

    def begin(self, lines: list[Line], items: list[Item]) -> None:
        """Store the next group."""
        turn = self._turn = Turn(self._turn)
        task = asyncio.create_task(self._store(items, turn))
        task.add_done_callback(lambda task: turn.end(failed=task.cancelled() or task.exception() is not None))
        self._groups.append((lines, task))

    async def answer(self, left: int = 0) -> None:
        """Wait until no more than so many are being stored; raises the problem of the first that could not be."""
        while len(self._groups) > left:
            lines, task = self._groups.popleft()
            try:
                self._answer.add(lines, await task)
            except Problem:
                await self.give_up()
                raise
            except BaseException:
                for _, other in self._groups:
                    other.cancel()
                raise

    async def give_up(self) -> None:
        """Wait for those under way, and answer none of them."""
        await asyncio.gather(*[task for _, task in self._groups], return_exceptions=True)
        self._groups.clear()

    async def _store(self, items: list[Item], turn: Turn) -> list[ItemResult]:
        """Store a group; a stream waits where a single event is turned away, for its sender is slowed down by that."""
        for pause_seconds in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0):
            try:
                return await self._items.store(items, turn=turn)
            except Problem as problem:
                if problem.code != "overloaded":
                    raise
                await asyncio.sleep(pause_seconds)
        return await self._items.store(items, turn=turn)


class _Answer:
    """The result lines of a stream, until they can be sent."""

    def __init__(self, *, errors_only: bool, numbered: bool) -> None:
        self._errors_only = errors_only
        self._numbered = numbered  # several events may begin on one line
        self._items = 0
        self._file = tempfile.SpooledTemporaryFile(STREAM_RESULT_BYTES_IN_MEMORY)  # noqa: SIM115
        self._counts = {"accepted": 0, "duplicate": 0, "rejected": 0}
        self._lines = 0

    def __enter__(self) -> "_Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def begun(self) -> bool:
        """Whether any item was answered."""
        return self._lines > 0

    def over(self) -> Problem | None:
        """Return the problem that stops a stream of which there is more to say than an answer holds."""
        goes_on = "`lines` is the last line that was looked at; send those after it"
        if self._counts["rejected"] > STREAM_REJECTED_MAX:
            detail = f"more than {STREAM_REJECTED_MAX} lines were rejected. {goes_on} once they are mended"
            return Problem(422, "too-many-rejected", detail, limit=STREAM_REJECTED_MAX)
        if self._file.tell() > STREAM_RESULT_BYTES_MAX:
            detail = f"the results are over {STREAM_RESULT_BYTES_MAX} bytes. {goes_on}, or ask for ?results=errors"
            return Problem(413, "too-many-results", detail, limit=STREAM_RESULT_BYTES_MAX)
        return None

    def add(self, lines: list[Line], results: list[ItemResult]) -> None:
        """Keep the results of a group of lines."""
        counts = self._counts
        for (number, _), result in zip(lines, results, strict=True):
            result.line = number
            counts[result.status] += 1
        if self._numbered:
            for index, result in enumerate(results, self._items):
                result.index = index
            self._items += len(results)
        self._lines = lines[-1][0]
        if self._errors_only:
            results = [result for result in results if result.status == "rejected"]
        if results:
            self._file.write(_encode_lines(results))

    async def send(self, send: Send, problem: Problem | None) -> None:
        """Send everything: as lines, or within the problem that stopped the stream."""
        if problem is None:
            head, tail, media, status = b"", _encode({"summary": self._counts}) + b"\n", _NDJSON, 200
            headers: list[Header] = []
        else:
            document = _encode(problem.document() | {"lines": self._lines, "summary": self._counts})
            head, tail, media, status = document[:-1] + b',"results":[', b"]}", CONTENT_TYPE, problem.status
            headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        size = self._file.tell()
        if problem is not None and size:
            size -= 1  # the last line's end; those between lines become commas
        length = len(head) + size + len(tail)
        headers += [(b"content-type", media.encode()), (b"content-length", str(length).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": head, "more_body": True})
        for piece in self._pieces(size):
            body = piece if problem is None else piece.replace(b"\n", b",")
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": tail})

    def _pieces(self, size: int) -> Iterator[bytes]:
        file: IO[Any] = self._file
        file.seek(0)
        while size > 0:
            piece: bytes = file.read(min(_READ_BYTES, size))
            size -= len(piece)
            yield piece
