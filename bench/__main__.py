"""`python -m bench [NAME ...]`: measure, print, and with --write put the figures into docs/."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from bench.frame import Bench, Benchmark, Figure, machine, show, write
from bench.processes import Processes
from bench.state import Size, build
from bench.wrk import WrkMissing
from questline.cli.processes import run_as_process
from questline.store.embedded import EmbeddedPostgres

BENCHMARKS = {  # those that leave the most events behind come last: 1,000,000 are to be there, and not many more
    "start": "bench.start",
    "steady": "bench.steady",
    "spend": "bench.spend",
    "daily": "bench.daily",
    "hot": "bench.hot",
    "apply": "bench.drain",
    "mechanics": "bench.mechanics",
    "noisy": "bench.noisy",
    "signed": "bench.signed",
    "accept": "bench.accept",
    "carriers": "bench.carriers",
    "kafka": "bench.log_first",
    "seen": "bench.seen",
    "torture": "bench.torture",
    "ranks": "bench.boards",
    "rollover": "bench.rollover",
    "growth": "bench.growth",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named (all without a name); 1 when a figure is not what is asked."""
    parser = argparse.ArgumentParser(prog="questline bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; none: all")
    parser.add_argument("--repeats", type=int, default=3, help="runs whose median is the figure")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one run under load")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the filled database there, and use it again")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks.json and .md")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    directory = options.keep or Path(tempfile.mkdtemp(prefix="questline-bench-"))
    server = EmbeddedPostgres(directory)
    server.start()
    try:
        where = machine()
        figures = run_as_process(_run(server, options, options.names or list(BENCHMARKS), where))
    finally:
        server.stop()
        if options.keep is None:
            shutil.rmtree(directory, ignore_errors=True)
    if options.write:
        write(figures, where)
    return 0 if all(figure.reached for figure in figures) else 1


async def _run(
    server: EmbeddedPostgres, options: argparse.Namespace, names: Sequence[str], where: dict[str, str]
) -> list[Figure]:
    for key, value in where.items():
        print(f"{key}: {value}")
    state = await build(server, Size())
    bench = Bench(server, state, Processes(state.app_dsn, server.directory / "logs"), options.repeats, options.seconds)
    figures: list[Figure] = []
    for name in names:
        if find_spec(BENCHMARKS[name]) is None:
            print(f"skip {name}: there is no module {BENCHMARKS[name]}")
            continue
        measure: Benchmark = import_module(BENCHMARKS[name]).run
        try:
            measured = await measure(bench)
        except WrkMissing as missing:
            print(f"skip {name}: {missing}")
            continue
        for figure in measured:
            print(show(figure), flush=True)
        figures += measured
    return figures


if __name__ == "__main__":
    sys.exit(main())
