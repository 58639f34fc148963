"""Scenarios of one user: what questline.testing plays, at times given in days."""

from datetime import UTC, datetime, timedelta
from typing import Any

from questline.model.decision import Decision
from questline.testing import scenario as shipped

START = datetime(2026, 1, 5, 12, tzinfo=UTC)  # a Monday, at noon


class Scenario:
    """One user under one program; time is given in days since START."""

    def __init__(self, program: dict[str, Any], *, timezone: str | None = None) -> None:
        self._shipped = shipped.Scenario(program)
        self.program = self._shipped.program
        self.boards = self._shipped.boards
        self.state = self._shipped.user()
        self.state.timezone = timezone

    def play(self, day: float, type_: str, **payload: Any) -> Decision:
        """Decide one event, `day` days after START, and fold it into the state."""
        return self.at(START + timedelta(days=day), type_, **payload)

    def at(self, when: datetime, type_: str, **payload: Any) -> Decision:
        """Decide one event at an instant."""
        return self._shipped.play([(when, type_, payload)])[0].decision


def paid(decision: Decision) -> dict[str, int]:
    """What a decision moved to the user, by cause and currency."""
    return {f"{t.rule} {t.currency}": t.amount for t in decision.transfers if t.credit == "user"}


COINS = {"coins": {"kind": "currency"}}
XP = {"XP": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}}}
