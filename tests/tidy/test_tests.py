"""The tests keep their own rules."""

import ast

import pytest
from source import ROOT, dotted

from tests.conftest import LONGEST_FIRST

FOLDERS = sorted(p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and not p.name.startswith("_"))
SLEEPS = {"time.sleep", "asyncio.sleep"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_test_sleeps_for_a_time_that_was_guessed(folder: str) -> None:
    """To look again and again until a deadline is no sleep: it ends as soon as what is waited for is there."""
    found = []
    for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        polls = {line for loop in ast.walk(tree) if isinstance(loop, ast.While) for line in _sleeps(loop)}
        found += [f"{path.name}:{line}" for line in sorted(_sleeps(tree) - polls)]
    assert found == []


@pytest.mark.parametrize("name", LONGEST_FIRST)
def test_a_file_that_is_to_come_first_is_there(name: str) -> None:
    assert (ROOT / "tests" / name).is_file()


def _sleeps(tree: ast.AST) -> set[int]:
    return {node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func) in SLEEPS}
