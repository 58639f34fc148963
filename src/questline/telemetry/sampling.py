"""Which traces are begun. Imported only where traces are made."""

from typing import Any

from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased


def requests_and_batches(percent: int) -> Sampler:
    """Return a sampler of roots: a share of the requests, and every batch, which has links only to what is sampled."""
    return _RequestsAndBatches(percent)


class _RequestsAndBatches(Sampler):
    def __init__(self, percent: int) -> None:
        self._requests = TraceIdRatioBased(percent / 100)
        self._percent = percent

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        if links:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._requests.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"questline: {self._percent} percent of requests"
