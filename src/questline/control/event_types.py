"""Event types as they are listed: what the program says of them, beside what came."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from questline.store.event_types import Sample, SeenRow

Definition = Mapping[str, Any]


class ListedType(msgspec.Struct, frozen=True, rename="camel"):
    """An event type: `declared` tells whether the program has it in its catalogue; one that never came has no times."""

    type: str
    declared: bool
    trusted: bool
    title: str
    version: str | None
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    events: int
    sample: Sample | None


class EventTypeDetail(msgspec.Struct, frozen=True, rename="camel"):
    """An event type with its definition, null where the program has none, the version that holds it, and what came."""

    type: str
    definition: dict[str, Any] | None
    program_version: int
    trusted: bool
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    events: int
    samples: list[Sample]


class Inferred(msgspec.Struct, frozen=True, rename="camel"):
    """A schema that all `samples` of the stored events match, those of one schemaVersion where it is named."""

    type: str
    schema_version: str | None
    samples: int
    schema: dict[str, Any]


def merged(
    declared: Mapping[str, Definition], trusted: frozenset[str], seen: Sequence[SeenRow], after: str, limit: int
) -> list[ListedType]:
    """Return types by name, after one, up to a limit: those that are declared and those that came."""
    came = {row.type: row for row in seen}
    # The rows end at their own limit: a declared type beyond their end stands on a later page.
    end = seen[-1].type if len(seen) >= limit else None
    names = {name for name in declared if name > after and (end is None or name <= end)}
    return [_listed(name, declared.get(name), trusted, came.get(name)) for name in sorted(names | came.keys())[:limit]]


def detail(
    name: str,
    definition: dict[str, Any] | None,
    version: int,
    trusted: frozenset[str],
    row: SeenRow | None,
    samples: list[Sample],
) -> EventTypeDetail:
    """Return all that is known of a type."""
    first, last, events = (None, None, 0) if row is None else (row.first_seen_at, row.last_seen_at, row.events)
    return EventTypeDetail(name, definition, version, name in trusted, first, last, events, samples)


def _listed(name: str, definition: Definition | None, trusted: frozenset[str], row: SeenRow | None) -> ListedType:
    known = definition or {}
    version = known.get("version")
    return ListedType(
        name,
        definition is not None,
        name in trusted,
        known.get("title", ""),
        None if version is None else str(version),
        None if row is None else row.first_seen_at,
        None if row is None else row.last_seen_at,
        0 if row is None else row.events,
        None if row is None else row.sample,
    )
