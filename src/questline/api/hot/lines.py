"""Lines of a stream, out of chunks that end anywhere; one that is too long is passed over without being kept."""

from collections.abc import AsyncIterator, Iterable
from typing import Protocol

from questline.api.problems import Problem
from questline.ingest.envelope import Rejection
from questline.model.limits import STREAM_GROUP_BYTES, STREAM_GROUP_EVENTS

Line = tuple[int, bytes | Rejection | None]  # number from 1; None: longer than allowed

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Splitter(Protocol):
    """Takes chunks and gives the lines that became complete; what stops a stream is raised as a problem."""

    def feed(self, chunk: bytes) -> Iterable[Line]: ...
    def end(self) -> Iterable[Line]: ...


class LineSplitter:
    """Takes chunks and gives the lines that became complete; blank ones are counted and left out."""

    def __init__(self, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._parts: list[bytes] = []
        self._size = 0  # of the line under way, parts that were not kept included
        self._number = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """Return the lines that this chunk completes."""
        first, *lines = chunk.split(b"\n")
        if not lines:
            self._keep(first)
            return []
        self._keep(first)
        found = self._end_line()
        rest = lines.pop()
        number, limit = self._number, self._line_bytes_max
        for line in lines:
            number += 1
            if len(line) > limit:
                found.append((number, None))
            elif line and not line.isspace():
                found.append((number, line))
        self._number = number
        self._keep(rest)
        return found

    def end(self) -> list[Line]:
        """Return the last line, when the stream does not end with a line's end."""
        return self._end_line() if self._size else []

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._line_bytes_max:
            self._parts.clear()
        elif part:
            self._parts.append(part)

    def _end_line(self) -> list[Line]:
        self._number += 1
        line = b"".join(self._parts)
        too_long = self._size > self._line_bytes_max
        self._parts.clear()
        self._size = 0
        if self._number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if too_long:
            return [(self._number, None)]
        return [(self._number, line)] if line and not line.isspace() else []


async def groups_of_lines(chunks: AsyncIterator[bytes], splitter: Splitter) -> AsyncIterator[list[Line]]:
    """Yield groups of lines, each small enough for one statement; an empty chunk ends a group early.

    Where the splitter stops the stream, the lines before that are yielded first.
    """
    group: list[Line] = []
    size = 0
    async for chunk in chunks:
        try:
            for line in splitter.feed(chunk):
                group.append(line)
                size += len(line[1]) if type(line[1]) is bytes else 0
                if len(group) >= STREAM_GROUP_EVENTS or size >= STREAM_GROUP_BYTES:
                    yield group
                    group, size = [], 0
        except Problem:
            if group:
                yield group
            raise
        if group and not chunk:
            yield group
            group, size = [], 0
    try:
        group += splitter.end()
    except Problem:
        if group:
            yield group
        raise
    if group:
        yield group
