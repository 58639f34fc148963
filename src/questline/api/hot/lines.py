"""Lines of a stream, out of chunks that end anywhere; one that is too long is passed over without being kept."""

from collections.abc import AsyncIterator

from questline.model.limits import STREAM_GROUP_BYTES, STREAM_GROUP_EVENTS

Line = tuple[int, bytes | None]  # number from 1; None: longer than allowed

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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


async def groups_of_lines(chunks: AsyncIterator[bytes], line_bytes_max: int) -> AsyncIterator[list[Line]]:
    """Yield groups of lines, each small enough for one statement; an empty chunk ends a group early."""
    splitter = LineSplitter(line_bytes_max)
    group: list[Line] = []
    size = 0
    async for chunk in chunks:
        for line in splitter.feed(chunk):
            group.append(line)
            size += len(line[1] or b"")
            if len(group) >= STREAM_GROUP_EVENTS or size >= STREAM_GROUP_BYTES:
                yield group
                group, size = [], 0
        if group and not chunk:
            yield group
            group, size = [], 0
    group += splitter.end()
    if group:
        yield group
