"""What is learned of a request while it is answered, to be told in the headers of its answer."""

from questline.api.asgi import Header, Message, Scope, Send

_KEY = "questline.notes"
_VARY: Header = (b"vary", b"origin")
_EXPOSED: Header = (
    b"access-control-expose-headers",
    b"etag, preference-applied, questline-program-version, ratelimit, ratelimit-policy, retry-after, x-correlation-id",
)


class Notes:
    """Notes of one request. `origin` is the web page's that sends it, None where no browser does.

    Its answer may be read there until somebody finds that it may not.
    """

    __slots__ = ("origin", "rates", "readable")

    def __init__(self, origin: bytes | None) -> None:
        self.origin = origin
        self.readable = True
        self.rates: tuple[Header, ...] = ()

    def headers(self) -> list[Header]:
        """Return what is to be added to the answer."""
        found = list(self.rates)
        if self.origin is not None:
            found.append(_VARY)
            if self.readable:
                found += [(b"access-control-allow-origin", self.origin), _EXPOSED]
        return found


def take_notes(scope: Scope, send: Send, origin: bytes | None) -> Send:
    """Begin notes of a request, and return a `send` that tells them."""
    notes = scope[_KEY] = Notes(origin)

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *notes.headers()]
        await send(message)

    return telling


def notes_of(scope: Scope) -> Notes | None:
    """Return the request's notes; None where nobody has to be told anything."""
    notes: Notes | None = scope.get(_KEY)
    return notes
