"""The part of the composition root that chooses caches: Redis where it is set, and nothing at all where it is not."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from questline.cache.meters import CacheMeters
from questline.settings import SettingError, Settings, variable_of
from questline.store.history import installation_of
from questline.store.pool import Connection, Pool

if TYPE_CHECKING:
    from questline.cache.redis import RedisClient


async def open_redis(settings: Settings, registry: CollectorRegistry, pool: Pool | Connection) -> "RedisClient | None":
    """Return the way to Redis, None where it is not set; raises SettingError. It need not be there yet.

    Its keys begin with the name of the database that the pool is of.
    """
    if not settings.redis_url:
        return None
    variable = variable_of("redis_url")
    try:
        from questline.cache.redis import RedisClient
    except ImportError as error:
        message = f"{variable} is set, and redis-py is not installed: pip install 'questline[redis]'"
        raise SettingError(message) from error
    prefix = f"questline:{await installation_of(pool)}:"
    try:
        return RedisClient(settings.redis_url, CacheMeters(registry), prefix)
    except ValueError as error:
        raise SettingError(f"{variable} cannot be used: {error}") from None
