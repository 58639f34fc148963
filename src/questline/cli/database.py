"""Which database a command of the operator works on."""

from questline.settings import Settings
from questline.store.embedded import EmbeddedPostgres
from questline.store.roles import APP_ROLE


class NoDatabase(Exception):
    """Neither a setting nor a `questline dev` says which database to use."""


def app_dsn(settings: Settings) -> str:
    """Return the DSN of the settings, or that of the questline dev in the data directory; raises NoDatabase."""
    if settings.dsn:
        return settings.dsn
    server = EmbeddedPostgres(settings.data_dir / "postgres")
    if not server.data.exists():
        raise NoDatabase("QUESTLINE_DSN is not set, and no questline dev has run here")
    return server.dsn(user=APP_ROLE)


def owner_dsn(settings: Settings) -> str:
    """Return the DSN of the tables' owner, likewise; raises NoDatabase."""
    if settings.owner_dsn or settings.dsn:
        return settings.owner_dsn or settings.dsn
    server = EmbeddedPostgres(settings.data_dir / "postgres")
    if not server.data.exists():
        raise NoDatabase("QUESTLINE_OWNER_DSN is not set, and no questline dev has run here")
    return server.dsn()
