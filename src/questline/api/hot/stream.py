"""POST /v1/ingest/stream: NDJSON of any length, read, stored and answered in bounded memory.

The answer is one NDJSON line an item and a summary line. It is sent when the body has ended: a client that writes
everything before it reads, as most do, would otherwise wait for us while we wait for it. Until then the lines wait in
memory up to a bound, then in a temporary file. A line exists only for what is committed.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from questline.api.hot.body import Disconnected, Receive, Scope, chunks_of, header
from questline.api.hot.events import EventHandlers, rejected
from questline.api.problems import Problem, Send
from questline.ingest.envelope import Rejection
from questline.model.limits import STREAM_CHUNK_BYTES, STREAM_CHUNK_EVENTS, STREAM_RESULT_BYTES_IN_MEMORY
from questline.model.principal import Principal
from questline.model.reasons import Reason

_encode_lines = msgspec.json.Encoder().encode_lines
_READ_BYTES = 256 * 1024
Line = tuple[int, bytes | None]  # number from 1; None for one that is too long


class StreamHandler:
    """Streams of events."""

    def __init__(self, events: EventHandlers, event_bytes_max: int, stream_bytes_max: int) -> None:
        self._events = events
        self._event_bytes_max = event_bytes_max
        self._stream_bytes_max = stream_bytes_max

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept a stream; 200 with a line an item (`?results=errors`: only for the rejected) and a summary."""
        principal = await self._events.authenticate(scope)
        media = (header(scope, b"content-type") or "application/x-ndjson").split(";")[0].strip().lower()
        if media not in ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"):
            raise Problem(415, "unsupported-media-type", f"{media} is not understood; send application/x-ndjson")
        errors_only = b"results=errors" in scope.get("query_string", b"")
        with tempfile.SpooledTemporaryFile(STREAM_RESULT_BYTES_IN_MEMORY) as answer:
            counts = {"accepted": 0, "duplicate": 0, "rejected": 0}
            problem: Problem | None = None
            correlation = header(scope, b"x-correlation-id")
            storing: asyncio.Task[None] | None = None
            try:
                async for lines in self._groups(chunks_of(scope, receive, self._stream_bytes_max)):
                    # One group is stored while the next is read: the writer is never more than one group behind.
                    group = asyncio.create_task(
                        self._store(principal, lines, correlation, answer, counts, errors_only, storing)
                    )
                    if storing is not None:
                        await storing
                    storing = group
            except Problem as stopped:
                problem = stopped
            except Disconnected:
                if storing is not None:
                    await storing
                return
            try:
                if storing is not None:
                    await storing
            except Problem as stopped:
                problem = problem or stopped
            if problem is not None and not any(counts.values()):
                raise problem
            summary: dict[str, Any] = {"summary": counts}
            if problem is not None:
                summary["problem"] = problem.document()
            answer.write(msgspec.json.encode(summary) + b"\n")
            await _send_file(send, answer, problem.status if problem is not None else 200)

    async def _store(
        self, principal: Principal, lines: list[Line], correlation: str | None, answer: Any, counts: dict[str, int],
        errors_only: bool, before: "asyncio.Task[None] | None",
    ) -> None:  # fmt: skip
        whole = [(number, line) for number, line in lines if line is not None]
        results = await self._events.store(principal, [line for _, line in whole], correlation, before)
        for (number, _), result in zip(whole, results, strict=True):
            result["line"] = number
        limit = self._event_bytes_max
        for number, line in lines:
            if line is None:
                reason = Rejection(Reason.PAYLOAD_TOO_LARGE, f"the line is larger than {limit} bytes")
                results.append({**rejected(reason), "line": number})
        for result in results:
            counts[result["status"]] += 1
        if errors_only:
            results = [result for result in results if result["status"] == "rejected"]
        if results:
            answer.write(_encode_lines(results))

    async def _groups(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Line]]:
        """Yield groups of lines; a line longer than an event may be is passed over without being kept."""
        group: list[Line] = []
        rest, number, skipping, size = b"", 0, False, 0
        async for chunk in chunks:
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                number += 1
                if skipping or len(line) > self._event_bytes_max:
                    group.append((number, None))
                    skipping = False
                elif line.strip():
                    group.append((number, line))
                    size += len(line)
                if len(group) >= STREAM_CHUNK_EVENTS or size >= STREAM_CHUNK_BYTES:
                    yield group
                    group, size = [], 0
            if len(rest) > self._event_bytes_max:
                rest, skipping = b"", True
        if rest.strip() or skipping:
            group.append((number + 1, None if skipping else rest))
        if group:
            yield group


async def _send_file(send: Send, answer: Any, status: int) -> None:
    size = answer.tell()
    answer.seek(0)
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", b"application/x-ndjson"), (b"content-length", str(size).encode())],
        }
    )
    while piece := answer.read(_READ_BYTES):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
