"""Where commands write: results to standard output, complaints to standard error."""

import typer
from rich.console import Console

console = Console()
errors = Console(stderr=True)


def fail(message: str) -> typer.Exit:
    """Print an error for the person who must act, and return the exit to raise."""
    errors.print("[bold red]error:[/] ", end="")
    errors.print(message, highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(1)
