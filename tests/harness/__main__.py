"""`python -m tests.harness`: crash runs as long as one likes; 1 when one of them found something."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from questline.store.embedded import EmbeddedPostgres

from . import carrier_defects
from .carriers import TRANSPORTS, lacking, started
from .defects import DEFECTS
from .faults import ALL, names_for
from .run import run


def main() -> int:
    """Run with the options given, else by the environment, else as CI does."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness", description=__doc__)
    given = os.environ.get
    parser.add_argument("--seed", type=int, default=int(given("QL_TEST_SEED", "20261121")))
    parser.add_argument("--runs", type=int, default=1, help="runs, each with the next seed and a fresh database")
    parser.add_argument("--rounds", type=int, default=int(given("QL_TEST_CRASH_ROUNDS", "28")), help="faults of a run")
    parser.add_argument(
        "--seconds", type=float, default=float(given("QL_TEST_CRASH_SECONDS", "0")), help="of a run, at least"
    )
    parser.add_argument("--fault", action="append", choices=ALL, help="only this one; may be given again")
    parser.add_argument(
        "--defect",
        choices=[*DEFECTS, *carrier_defects.DEFECTS],
        default="",
        help="plant a defect, to see it caught",
    )
    parser.add_argument("--transport", choices=TRANSPORTS, default="postgres", help="what carries the events")
    parser.add_argument("--redis", action="store_true", help="with a Redis beside it")
    parser.add_argument(
        "--real-times", action="store_true", help="leases and sessions as long as in earnest, where a broker carries"
    )
    options = parser.parse_args()
    if lacks := lacking(options.transport, redis=options.redis):
        parser.error(f"this machine lacks {lacks}")
    clean = True
    with tempfile.TemporaryDirectory(prefix="ql-", ignore_cleanup_errors=True) as directory:
        server = EmbeddedPostgres(Path(directory, "postgres"))
        server.start()
        short = not options.real_times
        try:
            with started(Path(directory), options.transport, redis=options.redis, short_times=short) as carriers:
                for number in range(options.runs):
                    report = run(
                        server, f"crash_{number}", seed=options.seed + number, rounds=options.rounds,
                        seconds=options.seconds, faults=options.fault or names_for(carriers), carriers=carriers,
                        defect=options.defect,
                    )  # fmt: skip
                    print(report.render(), flush=True)
                    clean = clean and not report.audit.findings
        finally:
            server.stop()
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
