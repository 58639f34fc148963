"""Events of a stream of XML, as the lines that a stream is made of."""

from collections.abc import Iterable, Iterator

from questline.api.hot.lines import Line
from questline.api.problems import Problem
from questline.ingest.xml import XmlReader, XmlRefused


class ElementSplitter:
    """Takes chunks and gives the events that became complete; raises a 400 problem where it cannot go on."""

    def __init__(self, event_bytes_max: int) -> None:
        self._reader = XmlReader(event_bytes_max)

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the events that this chunk completes."""
        return _told(self._reader.feed(chunk))

    def end(self) -> Iterator[Line]:
        """End the document."""
        return _told(self._reader.end())


def _told(lines: Iterable[Line]) -> Iterator[Line]:
    try:
        yield from lines
    except XmlRefused as refused:
        code = "invalid-xml" if refused.malformed else "unsafe-xml"
        raise Problem(400, code, str(refused)) from refused
