"""A part of the composition root: what carries events between the API and workers, by the setting `transport`."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import UUID

from prometheus_client import CollectorRegistry

from questline.model.limits import RELAY_LANES
from questline.settings import CannotStart, Settings, variable_of
from questline.transport.carrier import OpenCarrier
from questline.transport.meters import RelayMeters
from questline.transport.relay import Relay


def carrier_of(settings: Settings) -> OpenCarrier | None:
    """Return how a worker's carrier is opened; None where it takes them from PostgreSQL, or a log. Raises CannotStart."""
    if settings.transport != "rabbitmq":
        return None
    _check_rabbitmq(settings)
    from questline.transport.rabbitmq import RabbitCarrier

    return partial(RabbitCarrier, settings.rabbitmq_url)


def build_relay(
    settings: Settings, registry: CollectorRegistry, clock: Callable[[], datetime], new_id: Callable[[], UUID]
) -> Relay:
    """Return a relay that is ready to run; raises CannotStart."""
    if settings.transport != "rabbitmq":
        raise CannotStart(
            f"{variable_of('transport')} is {settings.transport}, which needs no relay; set it to rabbitmq, for all processes"
        )
    _check_rabbitmq(settings)
    from questline.transport.rabbitmq_publisher import RabbitPublisher

    opens = partial(RabbitPublisher.open, settings.rabbitmq_url)
    return Relay(settings.dsn, opens, RabbitPublisher.faults, clock, new_id, RelayMeters(registry), RELAY_LANES)


def _check_rabbitmq(settings: Settings) -> None:
    if not settings.rabbitmq_url:
        raise CannotStart(
            f"{variable_of('transport')} is rabbitmq, and {variable_of('rabbitmq_url')} is not set: say where the broker is"
        )
    try:
        import aio_pika  # noqa: F401
    except ImportError as error:
        raise CannotStart(
            f"{variable_of('transport')} is rabbitmq, and its client is not installed: pip install 'questline[rabbitmq]'"
        ) from error
