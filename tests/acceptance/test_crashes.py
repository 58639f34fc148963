"""Kill -9, frozen processes and cut connections at seeded moments: nothing lost, nothing twice, nothing stuck."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from questline.store.embedded import EmbeddedPostgres
from tests.harness.audit import Audit
from tests.harness.carriers import Carriers
from tests.harness.defects import DEFECTS
from tests.harness.faults import FAULTS, KILLS
from tests.harness.run import run, run_until_caught

ROUNDS = int(
    os.environ.get("QL_TEST_CRASH_ROUNDS", "20")
)  # each kills, while one of the other faults is recovered from
SECONDS = float(os.environ.get("QL_TEST_CRASH_SECONDS", "0"))
SEED = int(os.environ.get("QL_TEST_SEED", "20261121"))

# Of defects alone, which are to be seen soon: whoever is dead is replaced long before anything counts as stuck.
LIMITS = "LEASE_SECONDS=2,LEASE_RENEW_SECONDS=0.5"
STUCK_SECONDS = 5.0

# By what each defect is caught, done how often, and by which of its signs.
CAUGHT = {
    "ack-before-commit": ("kill api", 1, lambda found: found.lost),
    "effect-outside-transaction": ("kill worker-1", 3, lambda found: "board entries" in " ".join(found.findings)),
    "lease-never-recovered": ("kill worker-1", 1, lambda found: found.stuck),
    "dedupe-skipped": ("lose the clients' answers", 3, lambda found: found.twice),
    "queue-emptied-first": ("kill worker-1", 3, lambda found: found.lost),
}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that may be killed. A killed process loses nothing that it wrote, so fsync is off."""
    with tempfile.TemporaryDirectory(prefix="ql-", ignore_cleanup_errors=True) as directory:
        started = EmbeddedPostgres(Path(directory), settings={"fsync": "off", "shared_buffers": "128MB"})
        started.start()
        yield started
        started.stop()


@pytest.mark.tells
@pytest.mark.timeout(0)  # it has deadlines of its own, and may be asked to run for hours
def test_what_was_acknowledged_is_applied_once_whatever_is_killed_frozen_or_cut(server: EmbeddedPostgres) -> None:
    others = [name for name in FAULTS if name not in KILLS]
    report = run(server, "crashes", seed=SEED, rounds=ROUNDS, seconds=SECONDS, faults=KILLS, beside=others)
    print(report.render())
    assert report.audit == Audit(events=report.audit.events), report.render()
    assert report.audit.events > ROUNDS


@pytest.mark.timeout(0)  # as many tries as it takes
@pytest.mark.parametrize("defect", CAUGHT)
def test_the_harness_catches(server: EmbeddedPostgres, defect: str) -> None:
    fault, rounds, is_caught = CAUGHT[defect]
    report = run_until_caught(
        server, defect.replace("-", "_"), is_caught, seed=SEED, rounds=rounds, fault=fault,
        carriers=Carriers(limits=LIMITS), defect=defect, stuck_seconds=STUCK_SECONDS,
    )  # fmt: skip
    assert is_caught(report.audit), report.render()


def test_every_defect_is_to_be_caught() -> None:
    assert CAUGHT.keys() == DEFECTS.keys()
