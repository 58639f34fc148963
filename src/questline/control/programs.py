"""Writes of a project's program: each makes the next version, validated as a whole."""

from collections.abc import Callable
from typing import Any

import msgspec

from questline.engine.compile import Program, compile_program
from questline.engine.program_error import ProgramError
from questline.engine.successions import COUNTED_IN_PERIODS, successions
from questline.engine.validate import ProgramInvalid
from questline.model.program import ProgramDocument, parse, string_keys
from questline.store import versions
from questline.store.pool import Connection
from questline.store.versions import EdgeTypes, Version

Edit = Callable[[dict[str, Any]], dict[str, Any]]

SECTIONS = (
    "currencies", "metrics", "rules", "streaks", "achievements", "boards", "vitals", "items", "segments", "boosts", "tiers",
    "commissions", "seasons", "leagues", "quests",
    "rewards", "guards", "store",
)  # fmt: skip

__all__ = [
    "SECTIONS",
    "ProgramInvalid",
    "StaleVersion",
    "apply",
    "clashes",
    "current",
    "remove_entry",
    "set_entry",
    "shown",
]


class StaleVersion(Exception):
    """The program has changed since the version the caller edited; read it again and repeat the edit."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"the program is at version {actual}, not {expected}; read it again and repeat the edit")
        self.actual = actual


async def current(conn: Connection, project_id: int, version: int) -> Version:
    """Return the version in force, given its number."""
    found = await versions.get(conn, project_id, version)
    if found is None:
        raise LookupError(f"project {project_id} has no program version {version}")
    return found


async def apply(
    conn: Connection, project_id: int, timezone: str, edit: Edit, by: str, expected: int | None = None
) -> tuple[Version, Version]:
    """Apply an edit of the document in force, in the caller's transaction; return the version before and the new one.

    Raises ProgramInvalid with every error, StaleVersion when `expected` is not in force, and what `edit` raises. An edit
    that changes nothing makes no version.
    """
    number = await versions.lock(conn, project_id)
    if expected is not None and expected != number:
        raise StaleVersion(expected, number)
    before = await current(conn, project_id, number)
    document = string_keys(edit(msgspec.json.decode(msgspec.json.encode(before.document))))
    program = compile_program(document, number + 1, timezone)
    if document == before.document:
        return before, before
    errors = await clashes(conn, project_id, before, program.document)
    if errors:
        raise ProgramInvalid(errors)
    at = await versions.add(conn, project_id, number + 1, document, by, _edge_types(program))
    return before, Version(number + 1, by, at, document)


async def clashes(conn: Connection, project_id: int, in_force: Version, new: ProgramDocument) -> list[ProgramError]:
    """Return what of a valid document does not go on from what users have.

    That is counted by the definitions in force, and under names that are new to these by the latest there were: what was taken
    out comes back with its name.
    """
    known: dict[str, Any] = {}
    for section in COUNTED_IN_PERIODS:
        now = (in_force.document or {}).get(section, {})
        fresh = [name for name in getattr(new, section) if name not in now]
        known[section] = now | (await versions.latest_definitions(conn, project_id, section, fresh) if fresh else {})
    return list(successions(parse(known), new))


def _edge_types(program: Program) -> EdgeTypes:
    refuses = program.document.unknown_event_types == "refuse"
    return EdgeTypes(sorted(program.marked_types), sorted(program.known_types) if refuses else None)


def shown(version: Version, entry: tuple[str, str] | tuple[()]) -> dict[str, Any]:
    """Return what the audit log tells of a version: an entry's definition, or how many definitions each section has."""
    document = version.document or {}
    if entry:
        return {"definition": document.get(entry[0], {}).get(entry[1])}
    return {"definitions": {section: len(document[section]) for section in SECTIONS if document.get(section)}}


def set_entry(section: str, name: str, definition: Any, *, create_only: bool = False) -> Edit:
    """Return the edit that sets one definition; with `create_only`, KeyError when there is one of that name."""

    def edit(document: dict[str, Any]) -> dict[str, Any]:
        entries = document.setdefault(section, {})
        if create_only and name in entries:
            raise KeyError(name)
        entries[name] = definition
        return document

    return edit


def remove_entry(section: str, name: str) -> Edit:
    """Return the edit that removes one definition; LookupError when there is none."""

    def edit(document: dict[str, Any]) -> dict[str, Any]:
        if name not in document.get(section, {}):
            raise LookupError(name)
        del document[section][name]
        return document

    return edit


def compiled(document: dict[str, Any], version: int, timezone: str) -> Program:
    """Return a stored document compiled."""
    return compile_program(document, version, timezone)
