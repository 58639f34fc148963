"""/v1/program and its parts: every write makes the next version, validated as a whole."""

from typing import Any

import msgspec
from litestar import Request, Response, delete, get, post, put

from questline.api.acts import Acts
from questline.api.callers import Admin, Reader, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.control import programs
from questline.control.documents import DocumentUnreadable, read_document, write_yaml
from questline.control.plan import Plan, plan
from questline.control.programs import SECTIONS, Edit, remove_entry, set_entry
from questline.control.schema import program_schema
from questline.model.limits import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, PROGRAM_BYTES_MAX
from questline.model.permissions import Scope
from questline.model.program import parse
from questline.store import versions
from questline.store.pool import Connection, tenant_transaction
from questline.store.versions import Version

AnyRequest = Request[Any, Any, Any]

# Six twins, one mechanism: the path says which part of the document is meant.
_SECTION_PATHS = [f"/{section}" for section in SECTIONS]
_ENTRY_PATHS = [f"/{section}/{{name:str}}" for section in SECTIONS]
_VERSION_DIGITS_MAX = 9


class VersionList(msgspec.Struct, frozen=True, rename="camel"):
    items: list[Version]
    next_cursor: str | None


@get("/program", tags=["program"], opt=needs(Scope.PROGRAM_READ))
async def get_program(reader: Reader, services: Services, request: AnyRequest) -> Response[Any]:
    """Show the document in force, as JSON, or as YAML when that is what is accepted."""
    version = await current_version(services, reader.project.id)
    return _document(version, request)


@put("/program", status_code=200, tags=["program"], opt=needs(Scope.PROGRAM_WRITE, "program.replace"))
async def put_program(admin: Admin, acts: Acts, services: Services, request: AnyRequest) -> Response[Any]:
    """Replace the document (JSON or YAML); 422 lists every error. If-Match: the version that was edited."""
    document = await body_of(request)
    version = await apply_edit(services, admin, acts, (), lambda _: document, expected_version(request))
    return _document(version, request)


@post(
    "/program/plan",
    status_code=200,
    tags=["program"],
    opt=needs(Scope.PROGRAM_READ, not_administrative="changes nothing"),
)
async def plan_program(reader: Reader, services: Services, request: AnyRequest) -> Plan:
    """Say what a document would change, without applying it."""
    document = await body_of(request)
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        version = await _in_force(services, conn, reader.project.id)
        made = plan(version.document or {}, document)
        clashes = [] if made.errors else await programs.clashes(conn, reader.project.id, version, parse(document))
    return Plan([], clashes, {}) if clashes else made


@get("/program/schema", tags=["program"])
async def get_schema() -> dict[str, Any]:
    """Show the JSON Schema of the document, for editors."""
    return program_schema()


@get("/program/versions", tags=["program"], opt=needs(Scope.PROGRAM_READ))
async def list_versions(
    reader: Reader, services: Services, cursor: int | None = None, limit: int = PAGE_ITEMS_DEFAULT
) -> VersionList:
    """List versions, newest first."""
    if not 1 <= limit <= PAGE_ITEMS_MAX:
        raise Problem(400, "invalid-parameter", f"limit must be from 1 to {PAGE_ITEMS_MAX}", parameter="limit")
    before = cursor if cursor is not None and 0 <= cursor < 2**31 else 2**31 - 1
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await versions.list_versions(conn, reader.project.id, before, limit + 1)
    return VersionList(found[:limit], str(found[limit - 1].version) if len(found) > limit else None)


@get("/program/versions/{number:int}", tags=["program"], opt=needs(Scope.PROGRAM_READ))
async def get_version(number: int, reader: Reader, services: Services) -> Version:
    """Show one version."""
    async with tenant_transaction(services.pool, reader.project.id) as conn:
        found = await versions.get(conn, reader.project.id, number) if 0 <= number < 2**31 else None
    if found is None:
        raise Problem(404, "not-found", f"there is no version {number}")
    return found


@get(_SECTION_PATHS, tags=["program"], opt=needs(Scope.PROGRAM_READ))
async def list_section(reader: Reader, services: Services, request: AnyRequest) -> dict[str, Any]:
    """List the definitions of one part of the program in force, by name."""
    version = await current_version(services, reader.project.id)
    return {"version": version.version, "items": (version.document or {}).get(section_of(request), {})}


@post(_SECTION_PATHS, status_code=201, tags=["program"], opt=needs(Scope.PROGRAM_WRITE, "program.entry.add"))
async def add_to_section(admin: Admin, acts: Acts, services: Services, request: AnyRequest) -> dict[str, Any]:
    """Add one definition: its body with `name` (or `id`) beside its other members; 409 when the name is taken."""
    section = section_of(request)
    body = await body_of(request)
    if not isinstance(body, dict):
        raise Problem(422, "invalid-request", "the body must be an object with a name")
    body = dict(body)
    name = body.pop("name", None) or body.pop("id", None)
    if not isinstance(name, str) or not name:
        raise Problem(422, "invalid-request", "name: is missing", field="name")
    try:
        version = await apply_edit(
            services,
            admin,
            acts,
            (section, name),
            set_entry(section, name, body, create_only=True),
            expected_version(request),
        )
    except KeyError as error:
        raise Problem(409, "conflict", f"there is one named {name!r} already; PUT replaces it") from error
    return {"name": name, "version": version.version, "definition": body}


@get(_ENTRY_PATHS, tags=["program"], opt=needs(Scope.PROGRAM_READ))
async def get_entry(name: str, reader: Reader, services: Services, request: AnyRequest) -> dict[str, Any]:
    """Show one definition."""
    version = await current_version(services, reader.project.id)
    found = (version.document or {}).get(section := section_of(request), {}).get(name)
    if found is None:
        raise Problem(404, "not-found", f"the program has no {section} entry {name!r}")
    return {"name": name, "version": version.version, "definition": found}


@put(_ENTRY_PATHS, status_code=200, tags=["program"], opt=needs(Scope.PROGRAM_WRITE, "program.entry.set"))
async def put_entry(name: str, admin: Admin, acts: Acts, services: Services, request: AnyRequest) -> dict[str, Any]:
    """Set one definition."""
    body = await body_of(request)
    section = section_of(request)
    edit = set_entry(section, name, body)
    version = await apply_edit(services, admin, acts, (section, name), edit, expected_version(request))
    return {"name": name, "version": version.version, "definition": body}


@delete(_ENTRY_PATHS, status_code=204, tags=["program"], opt=needs(Scope.PROGRAM_WRITE, "program.entry.remove"))
async def delete_entry(name: str, admin: Admin, acts: Acts, services: Services, request: AnyRequest) -> None:
    """Remove one definition; what users have of it stays, dormant."""
    section = section_of(request)
    try:
        await apply_edit(services, admin, acts, (section, name), remove_entry(section, name), expected_version(request))
    except LookupError as error:
        raise Problem(404, "not-found", f"the program has no {section} entry {name!r}") from error


def section_of(request: AnyRequest) -> str:
    """Return which part of the document the path names."""
    path: str = request.scope["path"]
    return path.removeprefix("/v1").strip("/").split("/")[0]


async def current_version(services: Services, project_id: int) -> Version:
    async with tenant_transaction(services.pool, project_id) as conn:
        return await _in_force(services, conn, project_id)


async def _in_force(services: Services, conn: Connection, project_id: int) -> Version:
    program = (await services.programs.in_force(conn, [project_id]))[project_id]
    return await programs.current(conn, project_id, program.version)


async def apply_edit(
    services: Services, admin: Admin, acts: Acts, entry: tuple[str, str] | tuple[()], edit: Edit, expected: int | None
) -> Version:
    """Apply an edit of one entry, (section, name), or of the whole document, and write it down if it changed anything."""
    project = admin.project
    async with tenant_transaction(services.pool, project.id) as conn:
        before, after = await programs.apply(conn, project.id, project.timezone, edit, admin.actor, expected)
        if after.version != before.version:
            shown = [{"version": v.version, **programs.shown(v, entry)} for v in (before, after)]
            await acts.write(conn, admin, *_target(entry), before=shown[0], after=shown[1])
    services.ring.forget(f"project {project.id}")  # the edge knows which types a program takes, and from whom
    return after


def _target(entry: tuple[str, str] | tuple[()]) -> tuple[str, str]:
    return entry or ("program", "")


async def body_of(request: AnyRequest) -> Any:
    body = await request.body()
    if len(body) > PROGRAM_BYTES_MAX:
        raise Problem(
            413, "payload-too-large", f"a program may have {PROGRAM_BYTES_MAX} bytes", limit=PROGRAM_BYTES_MAX
        )
    if not body.strip():
        raise Problem(400, "invalid-request", "the body is empty; send a document, {} for one without any definition")
    try:
        return read_document(body, yaml_allowed="yaml" in request.headers.get("content-type", "")).value
    except DocumentUnreadable as error:
        raise Problem(400, "invalid-request", str(error)) from error


def expected_version(request: AnyRequest) -> int | None:
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    text = given.strip().removeprefix("W/").strip('"')
    if not text.isascii() or not text.isdigit() or len(text) > _VERSION_DIGITS_MAX:
        raise Problem(400, "invalid-request", 'If-Match must be a version, such as "3"')
    return int(text)


def _document(version: Version, request: AnyRequest) -> Response[Any]:
    headers = {"ETag": f'"{version.version}"', "Questline-Program-Version": str(version.version)}
    if "yaml" in request.headers.get("accept", ""):
        return Response(write_yaml(version.document), media_type="application/yaml", headers=headers)
    return Response(version.document, headers=headers)
