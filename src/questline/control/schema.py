"""What is published of a program's form: its JSON Schema, and the states of its quests."""

from typing import Any

from questline.engine.quest_states import TRANSITIONS, Transition
from questline.engine.schema import PROGRAM_SCHEMA


def program_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) that editors complete and check a program with."""
    return PROGRAM_SCHEMA


def quest_transitions() -> tuple[Transition, ...]:
    """Return the ways from one state of a quest to another, which the docs are drawn from."""
    return TRANSITIONS
