"""Compiled programs, one a project and version, held for as long as they are used."""

from collections import OrderedDict
from collections.abc import Iterable

from questline.engine.compile import Program, compile_program
from questline.model.limits import PROGRAM_CACHE_ENTRIES_MAX
from questline.store import programs
from questline.store.pool import Connection

__all__ = ["Program", "ProgramCache"]


class ProgramCache:
    """Compiles each version once. A version never changes, so an entry is never stale; the least used leave first."""

    def __init__(self, entries_max: int = PROGRAM_CACHE_ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._programs: OrderedDict[tuple[int, int, str, tuple[str, ...]], Program] = OrderedDict()

    async def in_force(self, conn: Connection, project_ids: Iterable[int]) -> dict[int, Program]:
        """Return the compiled program in force in each project, as this transaction sees it."""
        found = await programs.current(conn, project_ids)
        return {
            project_id: await self.version(conn, project_id, current.version, current.timezone, current.trusted_types)
            for project_id, current in found.items()
        }

    async def version(
        self, conn: Connection, project_id: int, version: int, timezone: str, trusted_types: tuple[str, ...] = ()
    ) -> Program:
        """Return one version compiled; LookupError when there is none. `trusted_types` are those of the project's settings."""
        key = (project_id, version, timezone, trusted_types)
        program = self._programs.get(key)
        if program is None:
            document = await programs.document(conn, project_id, version)
            program = self._programs[key] = compile_program(document, version, timezone, trusted_types)
            while len(self._programs) > self._entries_max:
                self._programs.popitem(last=False)
        else:
            self._programs.move_to_end(key)
        return program
