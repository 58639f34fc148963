"""The published JSON Schema of a program."""

from typing import Any

from questline.engine.schema import PROGRAM_SCHEMA


def program_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) that editors complete and check a program with."""
    return PROGRAM_SCHEMA
