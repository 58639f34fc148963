"""/v1/signing-secrets: secrets of signed events."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import delete, get, post

from questline.api.acts import Acts
from questline.api.auth import require
from questline.api.callers import Admin, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.control.signing import NewSecret, rotate
from questline.model.limits import (
    SIGNING_OVERLAP_SECONDS_DEFAULT,
    SIGNING_OVERLAP_SECONDS_MAX,
    SIGNING_SECRET_CHARS_MAX,
    SIGNING_SECRET_CHARS_MIN,
)
from questline.model.permissions import Scope
from questline.store import signing_secrets
from questline.store.pool import tenant_transaction
from questline.store.sealing import signing_purpose
from questline.store.signing_secrets import SecretRow

SigningSecretText = Annotated[
    str, msgspec.Meta(min_length=SIGNING_SECRET_CHARS_MIN, max_length=SIGNING_SECRET_CHARS_MAX)
]


class SecretRotate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A secret to sign with from now on: yours, or one made here. The current one stays valid for the overlap."""

    secret: SigningSecretText | None = None
    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=SIGNING_OVERLAP_SECONDS_MAX)] = (
        SIGNING_OVERLAP_SECONDS_DEFAULT
    )


class SecretList(msgspec.Struct, frozen=True):
    items: list[SecretRow]


@post(
    "/signing-secrets",
    status_code=201,
    tags=["signing"],
    opt=needs(Scope.KEYS_WRITE, "signing.rotate", shows_secret=True),
)
async def rotate_signing_secret(data: SecretRotate, admin: Admin, acts: Acts, services: Services) -> NewSecret:
    """Make a secret of signed events, shown this once; the one before it ends after the overlap.

    The caller may send events: who has the secret may, beside a publishable key, which anybody may have.
    """
    project = admin.project
    require(admin.principal, Scope.EVENTS_WRITE)
    async with tenant_transaction(services.pool, project.id) as conn:
        made = await rotate(
            conn, services.sealer, project.id, signing_purpose(project.app_id), services.new_id(), data.secret,
            data.overlap_seconds,
        )  # fmt: skip
        after = {"prefix": made.prefix, "overlapSeconds": data.overlap_seconds}
        await acts.write(conn, admin, "signing-key", made.id, after=after)
    services.ring.forget(f"project {project.id}")
    return made


@get("/signing-secrets", tags=["signing"], opt=needs(Scope.KEYS_READ))
async def list_signing_secrets(admin: Admin, services: Services) -> SecretList:
    """List the secrets of signed events, without the secrets themselves."""
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        return SecretList(await signing_secrets.list_secrets(conn, admin.project.id))


@delete(
    "/signing-secrets/{secret_id:str}", status_code=204, tags=["signing"], opt=needs(Scope.KEYS_WRITE, "signing.remove")
)
async def remove_signing_secret(secret_id: str, admin: Admin, acts: Acts, services: Services) -> None:
    """End a secret of signed events at once, in every process."""
    try:
        id_ = UUID(secret_id)
    except ValueError:
        raise _no_secret(secret_id) from None
    async with tenant_transaction(services.pool, admin.project.id) as conn:
        await signing_secrets.hold(conn, admin.project.id)
        if not await signing_secrets.remove(conn, admin.project.id, id_):
            raise _no_secret(secret_id)
        await acts.write(conn, admin, "signing-key", id_)
    services.ring.forget(f"project {admin.project.id}")


def _no_secret(secret_id: str) -> Problem:
    return Problem(404, "not-found", f"there is no signing secret {secret_id!r}")
