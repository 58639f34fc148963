"""/v1/apps: projects."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any

import msgspec
from litestar import get, post, put

from questline.api.acts import Acts, At
from questline.api.bodies import Fault, invalid
from questline.api.callers import Creator, Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.api.signing import SigningSecretText
from questline.control.apps import AppTaken, FirstSecret, create_app
from questline.model import calendar
from questline.model.limits import CORS_ORIGINS_MAX, SHORT_TEXT_CHARS_MAX
from questline.model.own import OWN_COMMANDS
from questline.model.permissions import Scope
from questline.model.principal import DedupeStrategy, SignedEvents
from questline.model.rates import ProjectRates
from questline.outward.addresses import url_problem
from questline.store import projects
from questline.store.pool import tenant_transaction
from questline.store.projects import ProjectRow
from questline.store.sealing import signing_purpose

SETTINGS = (
    "dedupeStrategy", "intentWindowSeconds", "trustedTypes", "corsOrigins", "signedEvents", "userCommands", "registration",
)  # fmt: skip
_INTENT_WINDOW_SECONDS_MAX = 86_400
_ORIGIN = re.compile(r"https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?")
SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
SLUG_MESSAGE = "must be 1 to 63 of a-z, 0-9, '_', '.', '-', and begin with a letter or digit"


class AppCreate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A project to create. `settings` takes dedupeStrategy, intentWindowSeconds, trustedTypes, corsOrigins,
    signedEvents, userCommands, registration.

    With a `signingSecret` its events must be signed, unless `settings.signedEvents` says otherwise.
    """

    id: str
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    settings: dict[str, Any] = {}
    default_timezone: str = "UTC"
    webhook_url: str | None = None
    webhook_secret: str | None = None
    signing_secret: SigningSecretText | None = None

    @staticmethod
    def faults(fields: Mapping[str, Any]) -> list[Fault]:
        """Return what is wrong with the fields given, beyond their types."""
        checks: dict[str, Callable[[Any], list[Fault]]] = {
            "id": _id_faults,
            "default_timezone": _zone_faults,
            "settings": _settings_faults,
            "webhook_url": _url_faults,
        }
        found: list[Fault] = []
        for name, check in checks.items():
            found += check(fields[name]) if name in fields else []
        return found


class App(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    name: str
    default_timezone: str
    settings: dict[str, Any]
    webhook_url: str | None
    program_version: int
    created_at: datetime
    rate_limits: ProjectRates | None
    archived_at: datetime | None


class AppCreated(msgspec.Struct, frozen=True, rename="camel"):
    """The project and its first key, of role ADMIN, which is shown this once."""

    app: App
    bootstrap_api_key: str


def app_of(row: ProjectRow) -> App:
    """Return a project's row as it is shown."""
    p = row.project
    return App(
        p.app_id,
        p.name,
        p.timezone,
        p.settings,
        row.webhook_url,
        p.program_version,
        row.created_at,
        p.rates,
        row.archived_at,
    )


@post("/apps", status_code=201, tags=["apps"], opt=needs(None, "project.create", shows_secret=True))
async def create_an_app(data: AppCreate, creator: Creator, acts: Acts, services: Services) -> AppCreated:
    """Create a project with its first key."""
    return await create_in(None, data, creator.actor, acts, services)


@get("/apps/{app_id:str}", tags=["apps"], opt=needs(Scope.PROJECT_READ))
async def get_an_app(app_id: str, reader: Reader, services: Services) -> App:
    """Show the project of the key."""
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        row = await projects.find(conn, app_id)
    if row is None:
        raise Problem(404, "not-found", f"the key has no app {app_id!r}")
    return app_of(row)


@put("/apps/{app_id:str}/rate-limits", tags=["apps"], opt=needs(None, "project.set_rate_limits"))
async def set_rate_limits(app_id: str, data: ProjectRates, creator: Creator, acts: Acts, services: Services) -> App:
    """Grant a project limits of its own; {} gives it those of the settings again. They hold at once, everywhere."""
    rates = None if data == ProjectRates() else data
    async with services.pool.acquire() as conn, conn.transaction():
        before = await projects.find(conn, app_id)
        row = await projects.set_rates(conn, app_id, rates)
        if before is None or row is None:
            raise Problem(404, "not-found", f"there is no app {app_id!r}")
        by = At(creator.actor, row.project.organization_id, row.project.id)
        await acts.write(
            conn, by, "project", app_id, before={"rateLimits": before.project.rates}, after={"rateLimits": rates}
        )
    services.ring.forget(f"project {row.project.id}")
    return app_of(row)


async def create_in(
    organization_id: int | None, data: AppCreate, actor: str, acts: Acts, services: Services
) -> AppCreated:
    """Create a project in an organization, or in the default one; raises problems."""
    if faults := AppCreate.faults(msgspec.structs.asdict(data)):
        raise invalid(faults)
    signing = None
    if data.signing_secret is not None:
        signing = FirstSecret(services.new_id(), data.signing_secret, signing_purpose(data.id))
    try:
        async with services.pool.acquire() as conn, conn.transaction():
            row, key = await create_app(
                conn,
                organization_id,
                services.new_id(),
                data.id,
                data.name,
                data.default_timezone,
                data.settings,
                data.webhook_url,
                data.webhook_secret,
                signing,
                services.sealer,
            )
            by = At(actor, row.project.organization_id, row.project.id)
            await acts.write(conn, by, "project", data.id, after=app_of(row))
    except AppTaken as error:
        raise Problem(409, "app-taken", f"there is an app {data.id!r} already; choose another id") from error
    return AppCreated(app_of(row), key.key)


def _id_faults(id_: str) -> list[Fault]:
    return [] if SLUG.fullmatch(id_) else [{"field": "id", "message": SLUG_MESSAGE}]


def _zone_faults(name: str) -> list[Fault]:
    try:
        calendar.zone(name)
    except calendar.UnknownZone as error:
        return [{"field": "defaultTimezone", "message": str(error)}]
    return []


def _settings_faults(settings: dict[str, Any]) -> list[Fault]:
    faults = [_unknown_fault(name) for name in settings if name not in SETTINGS]
    if settings.get("dedupeStrategy", "full") not in list(DedupeStrategy):
        faults.append({"field": "settings.dedupeStrategy", "message": "must be full or intent"})
    window = settings.get("intentWindowSeconds", 300)
    if type(window) is not int or not 1 <= window <= _INTENT_WINDOW_SECONDS_MAX:
        message = f"must be a whole number from 1 to {_INTENT_WINDOW_SECONDS_MAX}"
        faults.append({"field": "settings.intentWindowSeconds", "message": message})
    trusted = settings.get("trustedTypes", [])
    if not isinstance(trusted, list) or not all(isinstance(t, str) for t in trusted):
        faults.append({"field": "settings.trustedTypes", "message": "must be a list of event types"})
    origins = settings.get("corsOrigins", [])
    if not isinstance(origins, list) or len(origins) > CORS_ORIGINS_MAX or not all(map(_is_origin, origins)):
        message = f"must be a list of at most {CORS_ORIGINS_MAX} origins such as https://shop.example, or *"
        faults.append({"field": "settings.corsOrigins", "message": message})
    chosen = settings.get("userCommands", {})
    if not isinstance(chosen, dict) or not all(c in OWN_COMMANDS and type(y) is bool for c, y in chosen.items()):
        message = f"must say true or false of some of {', '.join(OWN_COMMANDS)}"
        faults.append({"field": "settings.userCommands", "message": message})
    if settings.get("registration", "open") not in ("open", "closed"):
        faults.append({"field": "settings.registration", "message": "must be open or closed"})
    if settings.get("signedEvents", SignedEvents.OPTIONAL) not in list(SignedEvents):
        faults.append({"field": "settings.signedEvents", "message": f"must be one of {', '.join(SignedEvents)}"})
    return faults


def _unknown_fault(name: str) -> Fault:
    close = get_close_matches(name, SETTINGS, 1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(SETTINGS)}"
    return {"field": f"settings.{name[:SHORT_TEXT_CHARS_MAX]}", "message": f"is no setting of a project{hint}"}


def _is_origin(origin: Any) -> bool:
    return isinstance(origin, str) and (origin == "*" or _ORIGIN.fullmatch(origin) is not None)


def _url_faults(url: str | None) -> list[Fault]:
    problem = None if url is None else url_problem(url)
    return [] if problem is None else [{"field": "webhookUrl", "message": problem}]
