"""Scenarios in memory: a program, events in a fixed time, and the state they lead to."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from questline.engine.compile import compile_program
from questline.engine.decide import decide
from questline.engine.evolve import evolve
from questline.model.decision import Decision
from questline.model.event import Event
from questline.model.state import UserState

START = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday, at noon


class Scenario:
    """One user under one program; time is given in days since START."""

    def __init__(self, program: dict[str, Any], *, timezone: str | None = None) -> None:
        self.program = compile_program(program, 1)
        self.state = UserState(1, "ada", timezone=timezone)
        self._count = 0

    def play(self, day: float, type_: str, **payload: Any) -> Decision:
        """Decide one event, `day` days after START, and fold it into the state."""
        return self.at(START + timedelta(days=day), type_, **payload)

    def at(self, when: datetime, type_: str, **payload: Any) -> Decision:
        """Decide one event at an instant."""
        self._count += 1
        event = Event(UUID(int=self._count), 1, type_, "ada", payload, when.astimezone(UTC))
        decision = decide(self.program, self.state, event)
        evolve(self.state, decision)
        return decision


def paid(decision: Decision) -> dict[str, int]:
    """What a decision moved to the user, by cause and currency."""
    return {f"{t.rule} {t.currency}": t.amount for t in decision.transfers if t.credit == "user"}


COINS = {"coins": {"kind": "currency"}}
XP = {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}}
