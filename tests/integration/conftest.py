"""Fixtures of the integration tests; the helpers behind them are in conftest_api.py, to be imported by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conftest_api import questline
from poison import poison

__all__ = ["poison", "questline"]
