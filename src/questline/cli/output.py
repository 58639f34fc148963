"""Where commands write: results to standard output, complaints to standard error."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

console = Console()
errors = Console(stderr=True)
_GAP = 2  # blanks between columns
_FOLDED_MIN = 20  # characters of a last column that is folded

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, with all that is known.")]


def show(columns: Mapping[str, str], items: Sequence[Mapping[str, Any]], as_json: bool = False) -> None:
    """Print a line for each item: by JSON, or by the columns (title to member), of which a narrow terminal shows the first.

    What is shown is shown whole, since it is there to be passed on. Where nobody looks, tabs stand between all columns.
    """
    rows = [["" if item[member] is None else str(item[member]) for member in columns.values()] for item in items]
    if as_json:
        lines = [json.dumps(item, ensure_ascii=False) for item in items]
    elif not console.is_terminal:
        lines = ["\t".join(" ".join(cell.split()) for cell in row) for row in [list(columns), *rows]]
    else:
        console.print(_table(list(columns), rows) if rows else "there are none")
        return
    for line in lines:
        print(line, file=console.file)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of as many columns as fit beside one another; the last of all may be folded."""
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    left = console.width
    for at, title in enumerate(columns):
        width = max(cell_len(cell) for cell in (title, *(row[at] for row in rows)))
        is_last = at == len(columns) - 1
        if at and width > left and not (is_last and left >= _FOLDED_MIN):
            table.caption = f"left out for want of room: {', '.join(columns[at:])}"
            table.caption_justify = "left"
            break
        table.add_column(title, no_wrap=not is_last, overflow="fold", min_width=min(width, max(left, _FOLDED_MIN)))
        left -= width + _GAP
    for row in rows:
        table.add_row(*row[: len(table.columns)])
    return table


def fail(message: str) -> typer.Exit:
    """Print an error for the person who must act, and return the exit to raise."""
    errors.print("[bold red]error:[/] ", end="")
    errors.print(message, highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(1)
