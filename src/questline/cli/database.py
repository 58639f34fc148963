"""Which database a command of the operator works on."""

from questline.settings import Settings
from questline.store.embedded import EmbeddedPostgres
from questline.store.faults import NOT_LET_IN
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


def not_reached(fault: BaseException) -> str:
    """Return what to tell an operator of one of OUTSIDE_FAULTS."""
    if isinstance(fault, NOT_LET_IN):
        return f"PostgreSQL lets nobody in who comes like that: {fault}; correct the DSN, or make the role and the database"
    return f"PostgreSQL cannot be reached: {fault}"
