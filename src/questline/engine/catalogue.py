"""The event catalogue: payloads are checked against their type's schema and brought to the version that rules read."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from questline.engine.forms import NAME, TEXT, map_of, object_of
from questline.engine.payload_schemas import Check, compile_schema, faults
from questline.engine.program_error import ProgramError, hint
from questline.engine.upcasts import STEP_SCHEMA, Step, TooManyItems, compile_step, step_faults
from questline.model.catalogue import EventType, PayloadVersion
from questline.model.event import SYSTEM_PREFIX
from questline.model.limits import (
    EVENT_TYPE_VERSIONS_MAX,
    EVENT_TYPES_MAX,
    SHORT_TEXT_CHARS_MAX,
    UPCAST_ITEMS_MAX,
    UPCAST_STEPS_MAX,
)
from questline.model.program import ProgramDocument

if TYPE_CHECKING:
    from questline.engine.references import Names

Reader = Callable[[str | None, dict[str, Any]], str | None]
"""Takes an event's schemaVersion and payload, brings the payload to the version that rules read, and returns what is wrong."""

_VERSION = {"type": ["string", "integer"], "minLength": 1, "maxLength": SHORT_TEXT_CHARS_MAX}
_PAYLOAD_SCHEMA = {"type": "object", "description": "A JSON Schema (2020-12) of the payload."}

SCHEMA = map_of(
    object_of(
        {
            "title": TEXT,
            "description": TEXT,
            "trusted": {"type": "boolean", "description": "Only servers may send it, with a secret key."},
            "schema": _PAYLOAD_SCHEMA,
            "version": {**_VERSION, "description": "The version that rules read."},
            "unversioned": {**_VERSION, "description": "The version of events that name none; default: `version`."},
            "versions": map_of(
                object_of(
                    {
                        "schema": _PAYLOAD_SCHEMA,
                        "upcast": object_of(
                            {
                                "to": _VERSION,
                                "steps": {"type": "array", "items": STEP_SCHEMA, "maxItems": UPCAST_STEPS_MAX},
                            },
                            ("to",),
                        ),
                    }
                ),
                EVENT_TYPE_VERSIONS_MAX,
            ),
        }
    ),
    EVENT_TYPES_MAX,
    NAME,
)
UNKNOWN_SCHEMA = {
    "enum": ["accept", "refuse"],
    "description": "What becomes of events whose type the program does not name.",
}


def marked_types(document: ProgramDocument) -> frozenset[str]:
    """Return the types that the document leaves to servers."""
    return frozenset(name for name, type_ in document.event_types.items() if type_.trusted)


def compile_readers(document: ProgramDocument) -> dict[str, Reader]:
    """Return the readers of the types whose payloads have a form; others are taken as they are."""
    return {
        name: _versioned(type_) if type_.versions else _plain(type_.schema)
        for name, type_ in document.event_types.items()
        if type_.versions or type_.schema is not None
    }


def _plain(schema: dict[str, Any] | None) -> Reader:
    check = compile_schema(schema or {})
    return lambda _, payload: check(payload)


def _versioned(type_: EventType) -> Reader:
    latest = str(type_.version)
    unversioned = latest if type_.unversioned is None else str(type_.unversioned)
    checks = {name: _check_of(version) for name, version in type_.versions.items()}
    ways = {name: _way(type_, name) for name in type_.versions}
    final = checks[latest]

    def read(named: str | None, payload: dict[str, Any]) -> str | None:
        version = unversioned if named is None else named
        if version not in ways:
            return f"schemaVersion: the catalogue has no version {version!r} of this type"
        check, way = checks[version], ways[version]
        found = None if check is None else check(payload)
        if found is not None or not way:
            return found
        try:
            for step in way:
                step(payload)
        except TooManyItems as error:
            return f"payload.{error}: has more than the {UPCAST_ITEMS_MAX:,} elements that an upcast goes through"
        found = None if final is None else final(payload)
        return None if found is None else f"{found} (once upcast from version {version} to {latest})"

    return read


def _check_of(version: PayloadVersion) -> Check | None:
    return None if version.schema is None else compile_schema(version.schema)


def _way(type_: EventType, version: str) -> list[Step]:
    """Return all steps from a version to the latest."""
    steps: list[Step] = []
    while (upcast := type_.versions[version].upcast) is not None:
        steps += [compile_step(step) for step in upcast.steps]
        version = str(upcast.to)
    return steps


def references(_: "Names", program: ProgramDocument) -> Iterator[ProgramError]:
    """Yield what is wrong with the catalogue beyond its form."""
    for name, type_ in program.event_types.items():
        path = f"eventTypes.{name}"
        if name == "*" or name.startswith(SYSTEM_PREFIX):
            yield ProgramError(path, "is no type of yours: '*' means all, and types that begin with '$' are commands")
        if type_.schema is not None and type_.versions:
            yield ProgramError(path, "has both schema and versions; put the schema into its version")
        if type_.schema is not None:
            yield from _schema_errors(type_.schema, f"{path}.schema")
        yield from _version_errors(type_, path)


def _version_errors(type_: EventType, path: str) -> Iterator[ProgramError]:
    known = type_.versions
    for member in ("version", "unversioned"):
        named = getattr(type_, member)
        if named is not None and str(named) not in known:
            yield ProgramError(f"{path}.{member}", f"there is no version {str(named)!r}{hint(str(named), known)}")
    if known and type_.version is None:
        yield ProgramError(path, "lacks 'version', the one that rules read")
        return
    steps = 0
    for name, version in known.items():
        at = f"{path}.versions.{name}"
        if version.schema is not None:
            yield from _schema_errors(version.schema, f"{at}.schema")
        if version.upcast is not None:
            steps += len(version.upcast.steps)
            yield from _upcast_errors(known, str(version.upcast.to), f"{at}.upcast.to")
            for place, step in enumerate(version.upcast.steps):
                for message in step_faults(step):
                    yield ProgramError(f"{at}.upcast.steps[{place}]", message)
        if not _arrives(known, name, str(type_.version)):
            message = f"its upcasts do not lead to version {str(type_.version)!r}, which rules read"
            yield ProgramError(at, message)
    if steps > UPCAST_STEPS_MAX:
        yield ProgramError(path, f"has more than {UPCAST_STEPS_MAX} steps in all its upcasts")


def _upcast_errors(known: Mapping[str, PayloadVersion], to: str, path: str) -> Iterator[ProgramError]:
    if to not in known:
        yield ProgramError(path, f"there is no version {to!r}{hint(to, known)}")


def _arrives(known: Mapping[str, PayloadVersion], version: str, latest: str) -> bool:
    """Tell whether upcasts lead from a version to the latest, and end there."""
    for _ in known:
        if version not in known:
            return True  # said already
        upcast = known[version].upcast
        if upcast is None:
            return version == latest
        version = str(upcast.to)
    return False


def _schema_errors(schema: dict[str, Any], path: str) -> Iterator[ProgramError]:
    for pointer, message in faults(schema):
        yield ProgramError(".".join((path, *pointer)), message)
