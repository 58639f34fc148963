"""The event catalogue: what a program says of event types, and of the forms their payloads had over time."""

from typing import Any

from questline.model.definition import Definition


class Upcast(Definition, frozen=True, rename="camel", omit_defaults=True):
    """How a payload of one version becomes one of another: steps, one after the other, each an `op` with its members."""

    to: str | int
    steps: tuple[dict[str, Any], ...] = ()


class PayloadVersion(Definition, frozen=True, rename="camel", omit_defaults=True):
    """One form of a type's payload: its JSON Schema, and how it becomes the next."""

    schema: dict[str, Any] | None = None
    upcast: Upcast | None = None


class EventType(Definition, frozen=True, rename="camel", omit_defaults=True):
    """One type of event.

    Its payloads match `schema`, whatever their `schemaVersion`; or they match the one of `versions` that they name
    (`unversioned`: the one meant by those that name none) and are upcast to `version`, which rules read.
    """

    title: str = ""
    description: str = ""
    trusted: bool = False
    schema: dict[str, Any] | None = None
    version: str | int | None = None
    unversioned: str | int | None = None
    versions: dict[str, PayloadVersion] = {}
