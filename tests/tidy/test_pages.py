"""What is written for people says what the code does."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from source import ROOT

from questline.cli.reference import PAGES
from questline.model.reasons import REASONS, Reason
from questline.settings import DESCRIPTIONS, Settings


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_page_is_what_the_code_writes(page: str) -> None:
    written = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert written == PAGES[page](), "run `make docs`"


def test_every_setting_is_described_and_nothing_else_is() -> None:
    assert list(DESCRIPTIONS) == [field.name for field in msgspec.structs.fields(Settings)]


TESTS_OWN = {"QUESTLINE_SIMULATION_RUNS", "QUESTLINE_SIMULATION_SEED"}
SPOKEN = re.compile(r"\bQUESTLINE_[A-Z0-9_]*[A-Z0-9]\b")


def test_no_page_speaks_of_a_setting_that_does_not_exist() -> None:
    known = {f"QUESTLINE_{name.upper()}" for name in DESCRIPTIONS} | TESTS_OWN
    kinds = {".md", ".yaml", ".yml", ".env", ".sh", ".service", ".py"}
    roots = [ROOT / name for name in ("docs", "deploy", "examples", "src")]
    pages = [*ROOT.glob("*.md"), *(page for root in roots for page in root.rglob("*") if page.suffix in kinds)]
    strange = {
        (str(page.relative_to(ROOT)), name)
        for page in pages
        for name in SPOKEN.findall(page.read_text(encoding="utf-8"))
        if name not in known
    }
    assert strange == {("src/questline/settings.py", "QUESTLINE_FIELD")}  # that says how they are named
    assert len(pages) > 500


def test_every_reason_code_has_its_line() -> None:
    assert list(REASONS) == list(Reason)


def test_the_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    assert command.exists() or shutil.which("lint-imports"), "import-linter is not installed: make test"
    done = subprocess.run(
        [str(command), "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
