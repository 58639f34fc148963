"""What `questline doctor` says of each thing it looked at."""

from typing import Literal

import msgspec

_MARKS = {"good": "[green]✓[/]", "doubtful": "[yellow]![/]", "wrong": "[bold red]✗[/]"}

State = Literal["good", "doubtful", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at."""

    state: State
    text: str

    def render(self) -> str:
        """Return the line for a terminal."""
        return f"{_MARKS[self.state]} {self.text.replace('[', chr(92) + '[')}"
