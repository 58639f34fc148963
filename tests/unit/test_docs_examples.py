"""What the documentation shows is what the code takes."""

import re
from pathlib import Path

import pytest

from questline.control.documents import read_document
from questline.engine.compile import compile_program
from questline.engine.conditions import OPERATORS, SYNONYMS
from questline.model.reasons import Reason

ROOT = Path(__file__).parents[2]
PAGES = ["docs/tutorial.md", "docs/reference/program.md"]
FILES = ["examples/open-source/program.yaml", "src/questline/cli/demo.yaml"]


def programs() -> list[tuple[str, str]]:
    found = [
        (page, block)
        for page in PAGES
        for block in re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    ]
    return found + [(name, (ROOT / name).read_text()) for name in FILES]


@pytest.mark.parametrize(("page", "text"), programs(), ids=[page for page, _ in programs()])
def test_every_program_that_is_shown_compiles(page: str, text: str) -> None:
    compile_program(read_document(text.encode()).value, 1)


def test_every_operator_and_synonym_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/program.md").read_text()
    assert [name for name in (*OPERATORS, *SYNONYMS) if f"`{name}`" not in page] == []


def test_every_reason_code_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/events.md").read_text()
    assert [reason for reason in Reason if f"`{reason}`" not in page] == []
