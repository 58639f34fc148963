"""Tables of the command line: what is shown is whole, and a pipe gets all of it."""

import json
from typing import Any

import pytest
from rich.console import Console

from questline.cli import output

COLUMNS = {"id": "id", "name": "name", "said": "message"}
ITEMS: list[dict[str, Any]] = [
    {"id": "01a201ce-5aac-7000-8000-123456789abc", "name": "a key", "message": "word " * 12, "more": 1},
    {"id": "01a201ce-5aac-7000-8000-cba987654321", "name": None, "message": "tab\there", "more": 2},
]


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, **more: Any) -> list[str]:
    """What is printed, line by line, on a terminal of a width; 0: into a pipe."""
    console = Console(width=width or 80, force_terminal=bool(width), color_system=None)
    monkeypatch.setattr(output, "console", console)
    output.show(COLUMNS, ITEMS, **more)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("width", "titles", "left_out"),
    [
        (120, ["id", "name", "said"], ""),
        (70, ["id", "name", "said"], ""),  # the last is folded
        (50, ["id", "name"], "left out for want of room: said"),
        (37, ["id"], "left out for want of room: name, said"),
    ],
)
def test_a_terminal_shows_whole_columns_as_many_as_fit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, titles: list[str], left_out: str
) -> None:
    lines = shown(monkeypatch, capsys, width)
    assert lines[0].split() == titles
    assert [item["id"] in "\n".join(lines) for item in ITEMS] == [True, True]
    assert " ".join(" ".join(lines).split()).endswith(left_out)
    assert max(map(len, lines)) <= width


def test_a_pipe_gets_every_column_between_tabs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(monkeypatch, capsys, 0)
    assert [line.split("\t") for line in lines] == [
        ["id", "name", "said"],
        [ITEMS[0]["id"], "a key", " ".join(["word"] * 12)],
        [ITEMS[1]["id"], "", "tab here"],
    ]


def test_json_has_all_that_is_known(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert [json.loads(line) for line in shown(monkeypatch, capsys, 80, as_json=True)] == ITEMS
