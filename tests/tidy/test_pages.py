"""What is written for people says what the code does."""

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


def test_every_reason_code_has_its_line() -> None:
    assert list(REASONS) == list(Reason)


def test_the_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    assert command.exists() or shutil.which("lint-imports"), "import-linter is not installed: make test"
    done = subprocess.run(
        [str(command), "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
