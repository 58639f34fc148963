"""Traces by OpenTelemetry: one trace id from a request to what its events did. Only `open_tracer` imports the SDK.

Events are stored and applied many at a time, whoever sent them. So a batch has a span in a trace of its own, with a link
to each trace that it served (the convention for batches of messages), and each of those traces has a child span of the
same name and times, linked back: what happened to one event stands under one trace id.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec

from questline.model.event import AcceptedEvent
from questline.model.limits import SPANS_QUEUED_MAX, TRACE_EXPORT_SECONDS, TRACE_LINKS_MAX
from questline.telemetry.traceparent import parse, render

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanContext

_NANOSECONDS = 1_000_000_000


class TracingMissing(Exception):
    """Traces are asked for, and the library is not installed: pip install 'questline[tracing]'."""


class Tracer:
    """Makes the spans of one process. Where there is none (None), nobody pays for it."""

    def __init__(self, provider: "TracerProvider", now: Callable[[], datetime]) -> None:
        from opentelemetry import trace

        self._api = trace
        self._provider = provider
        self._now = now
        self._tracer = provider.get_tracer("questline", version("questline"))
        self._current: ContextVar[str | None] = ContextVar("questline_traceparent", default=None)

    @contextmanager
    def request(self, name: str, traceparent: str | None, **attributes: str | int) -> Iterator[Any]:
        """Yield the span of a request, which goes on with the trace that came with it, and give it to events made inside."""
        with self._span(name, traceparent, self._api.SpanKind.SERVER, attributes) as span:
            context = span.get_span_context()
            token = self._current.set(_text(context) if context.trace_flags.sampled else None)
            try:
                yield span
            finally:
                self._current.reset(token)

    @contextmanager
    def delivery(self, name: str, traceparent: str | None, **attributes: str | int) -> Iterator[str | None]:
        """Span the delivery of what an event caused, in its trace; yield the traceparent to send along."""
        if traceparent is None:
            yield None
            return
        with self._span(name, traceparent, self._api.SpanKind.CLIENT, attributes) as span:
            yield _text(span.get_span_context())

    def mark(self, event: AcceptedEvent) -> AcceptedEvent:
        """Return the event with the trace of the request it came in; an event that is traced already stays so."""
        current = self._current.get()
        if current is None or event.traceparent is not None:
            return event
        return msgspec.structs.replace(event, traceparent=current)

    def batch(self, name: str, seconds: float, traceparents: Iterable[str | None], **attributes: str | int) -> None:
        """Tell that events were done together just now, in so many seconds; those without a trace are only counted."""
        events = Counter(traceparents)
        untraced = events.pop(None, 0)
        contexts = {text: context for text in events if (context := self._context(text)) is not None}
        if not contexts:
            return
        links = [self._api.Link(context) for context in list(contexts.values())[:TRACE_LINKS_MAX]]
        all_attributes = {"messaging.batch.message_count": events.total() + untraced, **attributes}
        ended = int(self._now().timestamp() * _NANOSECONDS)
        started = ended - int(seconds * _NANOSECONDS)
        whole = self._tracer.start_span(
            f"{name} batch", _nowhere(), links=links, attributes=all_attributes, start_time=started
        )
        back = [self._api.Link(whole.get_span_context())]
        for text, context in contexts.items():
            span = self._tracer.start_span(
                name,
                self._api.set_span_in_context(self._api.NonRecordingSpan(context), _nowhere()),
                self._api.SpanKind.CONSUMER,
                {"questline.events": events[text]},
                back,
                started,
            )
            span.end(ended)
        whole.end(ended)

    def close(self) -> None:
        """Send what is left; blocks for a bounded time."""
        self._provider.shutdown()

    @contextmanager
    def _span(self, name: str, traceparent: str | None, kind: Any, attributes: dict[str, str | int]) -> Iterator[Any]:
        context = self._context(traceparent)
        parent = _nowhere()
        if context is not None:
            parent = self._api.set_span_in_context(self._api.NonRecordingSpan(context), parent)
        span = self._tracer.start_span(name, parent, kind, attributes)
        try:
            yield span
        except BaseException as error:  # its message may hold what is nobody else's business
            span.set_status(self._api.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            span.end()

    def _context(self, traceparent: str | None) -> "SpanContext | None":
        found = None if traceparent is None else parse(traceparent)
        if found is None:
            return None
        trace_id, span_id, flags = found
        return self._api.SpanContext(trace_id, span_id, is_remote=True, trace_flags=self._api.TraceFlags(flags & 1))


def open_tracer(endpoint: str, percent: int, service: str, now: Callable[[], datetime]) -> Tracer | None:
    """Return a tracer that sends to a collector; None without an endpoint. Raises TracingMissing.

    What else OpenTelemetry can be told (headers, a proxy, resource attributes) its own variables OTEL_* say.
    """
    if not endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased

        from questline.telemetry.sampling import requests_and_batches
    except ImportError as error:
        raise TracingMissing from error
    provider = TracerProvider(
        sampler=ParentBased(requests_and_batches(percent)),
        resource=Resource.create({"service.name": service, "service.version": version("questline")}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=TRACE_EXPORT_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter, SPANS_QUEUED_MAX))
    return Tracer(provider, now)


def _nowhere() -> "Context":
    """Return the context outside of all traces."""
    from opentelemetry.context import Context

    return Context()


def _text(context: Any) -> str:
    return render(context.trace_id, context.span_id, int(context.trace_flags))
