"""How a request carries CloudEvents, if it does: the three content modes of the HTTP binding."""

from collections.abc import Iterable
from enum import Enum

from questline.api.problems import Problem

_STRUCTURED = b"application/cloudevents"
_BATCH = b"application/cloudevents-batch"
_JSON = b"+json"


class Mode(Enum):
    BINARY = 1  # attributes as headers, data as the body
    STRUCTURED = 2
    BATCH = 3


def cloud_mode(headers: Iterable[tuple[bytes, bytes]]) -> Mode | None:
    """Return the mode, or None for a request without CloudEvents; raises a 415 problem for a format that is not JSON."""
    mode = None
    for name, value in headers:
        if name == b"ce-specversion":
            mode = mode or Mode.BINARY
        elif name == b"content-type" and value[:23].lower() == _STRUCTURED:
            media = value.partition(b";")[0].strip().lower()
            if media == _STRUCTURED + _JSON:
                return Mode.STRUCTURED
            if media == _BATCH + _JSON:
                return Mode.BATCH
            shown = media.decode("latin-1")
            raise Problem(
                415, "unsupported-media-type", f"{shown} is not understood; send application/cloudevents+json"
            )
    return mode
