"""The crash harness with each carrier: brokers, relays and Redis are killed, cut off and frozen too, in mid-batch where it hurts."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from questline.store.embedded import EmbeddedPostgres
from tests.conftest import missing_part
from tests.harness.audit import Audit
from tests.harness.carrier_defects import DEFECTS
from tests.harness.carriers import Carriers, lacking, started
from tests.harness.faults import names_for
from tests.harness.run import run, run_until_caught

ROUNDS = int(os.environ.get("QL_TEST_CRASH_ROUNDS", "0"))  # by default each of these faults once
SECONDS = float(os.environ.get("QL_TEST_CRASH_SECONDS", "0"))
SEED = int(os.environ.get("QL_TEST_SEED", "20261121"))

STUCK_SECONDS = 5.0  # of defects alone, which are to be seen soon

FAULTS = {
    "rabbitmq": [
        "kill api with statements on their way",
        "kill relay-1 with messages on their way",
        "kill worker-1 in mid-batch",
        "kill rabbitmq",
        "kill postgres",
        "kill redis",
        "cut rabbitmq's connections",
        "hold rabbitmq's connections",
        "freeze relay-2 beyond its lease",
        "fail a consumer over in mid-batch",
    ],
    "kafka": [
        "kill api",
        "kill kafka",
        "kill postgres",
        "freeze redis",
        "cut kafka's connections",
        "hold kafka's connections",
        "rebalance in mid-batch",
        "freeze a worker in mid-batch beyond its session",
    ],
}

# By what each defect is caught, and by which of its signs.
Sign = Callable[[Audit], int]


def _lost_or_told_wrongly(found: Audit) -> bool:
    """Whether an event is lost, or its sender was told that it is a duplicate of what nobody has."""
    return bool(found.lost) or any(finding.startswith("an answer was wrong") for finding in found.findings)


CAUGHT: dict[str, dict[str, tuple[str, Sign]]] = {
    "rabbitmq": {
        "acked-on-arrival": ("kill worker-1 in mid-batch", lambda found: found.stuck),
        "earlier-rows-overlooked": ("kill relay-1 with messages on their way", lambda found: found.disordered),
        "noted-before-stored": ("kill api with statements on their way", _lost_or_told_wrongly),
    },
    "kafka": {
        "answered-before-the-log": ("kill api", lambda found: found.lost),
        "offsets-moved-first": ("kill worker-1 in mid-batch", lambda found: found.lost),
    },
}


ROUNDS_TO_CATCH = {"noted-before-stored": 6, "answered-before-the-log": 4}  # in some rounds no event is on its way


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that may be killed. A killed process loses nothing that it wrote, so fsync is off."""
    with tempfile.TemporaryDirectory(prefix="ql-", ignore_cleanup_errors=True) as directory:
        begun = EmbeddedPostgres(Path(directory), settings={"fsync": "off", "shared_buffers": "128MB"})
        begun.start()
        yield begun
        begun.stop()


@pytest.fixture(scope="module")
def carriers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carriers]:
    """A broker and a Redis that may be killed."""
    if lacks := lacking(request.param, redis=True):
        missing_part(lacks)
    with started(tmp_path_factory.mktemp(request.param), request.param, redis=True) as begun:
        yield begun


@pytest.mark.tells
@pytest.mark.timeout(0)  # it has deadlines of its own, and may be asked to run for hours
@pytest.mark.parametrize("carriers", FAULTS, indirect=True, scope="module")
def test_what_was_acknowledged_is_applied_once_and_in_order(server: EmbeddedPostgres, carriers: Carriers) -> None:
    transport = carriers.transport
    faults = names_for(carriers) if ROUNDS else FAULTS[transport]
    rounds = ROUNDS or len(faults)
    report = run(server, transport, seed=SEED, rounds=rounds, seconds=SECONDS, faults=faults, carriers=carriers)
    print(report.render())
    assert report.audit == Audit(events=report.audit.events), report.render()
    assert report.audit.events > rounds


@pytest.mark.timeout(0)  # as many tries as it takes
@pytest.mark.parametrize(
    ("carriers", "defect"),
    [(transport, defect) for transport, defects in CAUGHT.items() for defect in defects],
    indirect=["carriers"],
    scope="module",
)
def test_the_harness_catches(server: EmbeddedPostgres, carriers: Carriers, defect: str) -> None:
    fault, is_caught = CAUGHT[carriers.transport][defect]
    report = run_until_caught(
        server, defect.replace("-", "_"), is_caught, seed=SEED, rounds=ROUNDS_TO_CATCH.get(defect, 1), fault=fault,
        carriers=carriers, defect=defect, stuck_seconds=STUCK_SECONDS,
    )  # fmt: skip
    assert is_caught(report.audit), report.render()


def test_every_defect_of_a_carrier_is_to_be_caught() -> None:
    assert {defect for defects in CAUGHT.values() for defect in defects} == DEFECTS.keys()
