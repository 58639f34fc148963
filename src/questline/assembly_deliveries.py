"""A part of the composition root: what sends messages to receivers outside."""

from prometheus_client import CollectorRegistry

from questline.assembly_worker import build_sealer, build_tracer, now
from questline.outward.deliveries import Deliverer
from questline.outward.meters import DeliveryMeters
from questline.outward.receivers import Receivers
from questline.settings import Settings
from questline.store.ids import EventIds


def build_deliverer(settings: Settings, registry: CollectorRegistry) -> Deliverer:
    """Return a deliverer that is ready to run, inside the running loop; raises CannotStart."""
    private = settings.outbound_private or settings.dev
    tracer = build_tracer(settings, "questline-deliverer")
    receivers = Receivers(build_sealer(settings), now, tracer, private=private)
    return Deliverer(settings.dsn, receivers, now, EventIds().new, DeliveryMeters(registry))
