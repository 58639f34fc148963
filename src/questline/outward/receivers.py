"""One try to hand a message to its receiver, and what came of it. Whatever a receiver does, it takes a bounded time and space."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from enum import StrEnum
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
import msgspec
import structlog

from questline.model.deliveries import Result, meaning_of
from questline.model.limits import DELIVERY_ANSWER_BYTES_MAX, DELIVERY_CONNECT_SECONDS, DELIVERY_SECONDS_MAX
from questline.outward.addresses import AddressRefused, CheckedTransport
from questline.outward.webhooks import body_of, headers_of, key_of, retry_after_seconds
from questline.store.deliveries import Message
from questline.store.sealing import CannotOpen, Sealer, is_sealed, webhook_purpose
from questline.telemetry.tracing import Tracer

log = structlog.get_logger(__name__)


class Fault(StrEnum):
    """Why there was no answer. A project sees it, so it tells nothing of our network."""

    NO_URL = "no webhookUrl is set"
    NO_SECRET = "no webhookSecret is set"
    SECRET_LOST = "the webhookSecret cannot be read: set it again"
    BAD_URL = "the webhookUrl cannot be used"
    REFUSED_ADDRESS = "the address is not a public one"
    UNREACHABLE = "the receiver cannot be reached"
    TLS = "the receiver's certificate or TLS is not accepted"
    TIMEOUT = "the receiver did not answer in time"
    BROKEN = "the receiver ended the connection, or did not answer in HTTP"
    OURS = "Questline failed at it: the operator's log says how"


class Answer(msgspec.Struct, frozen=True):
    """What came of one try: a status, or a fault. `wait_seconds` is what the receiver asked for."""

    status: int | None = None
    fault: Fault | None = None
    wait_seconds: float = 0.0

    @property
    def meaning(self) -> Result:
        return meaning_of(self.status)

    @property
    def text(self) -> str | None:
        """What is kept of it, and shown; None: nobody was asked."""
        if self.fault is not None:
            return self.fault.value
        return None if self.status is None else str(self.status)


class Receivers:
    """The client for addresses that projects name. Redirects are not followed, and no answer's body is looked at."""

    def __init__(
        self, sealer: Sealer, clock: Callable[[], datetime], tracer: Tracer | None = None, *, private: bool = False
    ) -> None:
        """`private`: receivers may be in our own network."""
        self._sealer = sealer
        self._clock = clock
        self._tracer = tracer
        self._http = httpx.AsyncClient(
            transport=CheckedTransport(private=private),
            timeout=httpx.Timeout(DELIVERY_SECONDS_MAX, connect=DELIVERY_CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # two projects may have receivers on one host
        )

    async def close(self) -> None:
        """Close what is open, and tell of the last spans."""
        await self._http.aclose()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)

    async def send(self, message: Message) -> Answer:
        """Hand a message over, and return what came of it; a defect of ours is a fault as well, and told of in the log."""
        try:
            return await self._send(message)
        except Exception:
            log.exception("deliver.failed", project=message.app_id, message=message.id)
            return Answer(fault=Fault.OURS)

    async def _send(self, message: Message) -> Answer:
        if not message.url:
            return Answer(fault=Fault.NO_URL)
        if not message.secret:
            return Answer(fault=Fault.NO_SECRET)
        try:
            key = key_of(self._opened(message.app_id, message.secret))
        except CannotOpen as error:
            log.error("deliver.secret_lost", project=message.app_id, fault=str(error))
            return Answer(fault=Fault.SECRET_LOST)
        if not key:
            return Answer(fault=Fault.NO_SECRET)
        try:
            with self._span(message) as traceparent:
                return await self._post(message, message.url, key, traceparent)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, TimeoutError, UnicodeError) as error:
            return Answer(fault=_fault_of(error))

    def _opened(self, app_id: str, stored: str) -> str:
        return self._sealer.open(stored, webhook_purpose(app_id)) if is_sealed(stored) else stored

    def _span(self, message: Message) -> AbstractContextManager[str | None]:
        if self._tracer is None:
            return nullcontext(message.traceparent)
        return self._tracer.delivery(
            f"deliver {message.type}", message.traceparent, **{"messaging.message.id": message.id}
        )

    async def _post(self, message: Message, url: str, key: bytes, traceparent: str | None) -> Answer:
        body, now = body_of(message), self._clock()
        headers = headers_of(message, body, key, now, traceparent)
        answer: Answer | None = None
        try:
            async with (
                asyncio.timeout(DELIVERY_SECONDS_MAX),
                self._http.stream("POST", url, content=body, headers=headers) as response,
            ):
                wait = retry_after_seconds(response.headers.get("retry-after"), now)
                answer = Answer(response.status_code, wait_seconds=wait)
                await _read_some(response)
        except (httpx.HTTPError, ssl.SSLError, TimeoutError):
            if answer is None:
                raise
        assert answer is not None
        return answer


async def _read_some(response: httpx.Response) -> None:
    """Read what an answer says, as far as a bound and as it came, so that bombs stay packed."""
    read = 0
    async for piece in response.aiter_raw():
        read += len(piece)
        if read > DELIVERY_ANSWER_BYTES_MAX:
            return


def _fault_of(error: Exception) -> Fault:
    """Return what an exception says in words that tell a project nothing of our network."""
    if isinstance(error, AddressRefused):
        return Fault.REFUSED_ADDRESS
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return Fault.TIMEOUT
    if isinstance(error, ssl.SSLError):  # after the handshake httpx lets it through as it is
        return Fault.TLS
    if isinstance(error, httpx.ConnectError):
        return Fault.TLS if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)) else Fault.UNREACHABLE
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return Fault.BAD_URL
    return Fault.BROKEN


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
