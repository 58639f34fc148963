"""What the conformance suite of transports runs on: one installation for each transport, and a record of what was applied.

A transport that joins is one `Carriage` in carriages.py.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "integration"))

from carriages import CARRIAGES, Installation, installed
from poison import Poison


@pytest.fixture(scope="module", params=list(CARRIAGES))
async def installation(request: pytest.FixtureRequest, database: Any) -> AsyncIterator[Installation]:
    """An installation for each transport."""
    async with installed(request.param, request, database) as found:
        yield found


@pytest.fixture
async def poison(installation: Installation) -> AsyncIterator[Poison]:
    """A poison that goes with the test."""
    given = Poison(installation.questline)
    await given.install()
    yield given
    await given.remove()
