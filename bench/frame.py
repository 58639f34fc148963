"""What every benchmark shares: a figure beside its floor, the machine, the results on paper."""

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path

import msgspec

from bench.processes import Processes
from bench.state import State
from questline.store.embedded import EmbeddedPostgres

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "benchmarks.json"
TABLE = ROOT / "docs" / "benchmarks.md"


class Figure(msgspec.Struct):
    """One measured value: the median of `runs`. `floor` is what the machine can do with the same rows bare."""

    name: str  # of the benchmark, such as "spend"
    what: str
    unit: str
    runs: list[float]
    reach: float | None = None
    more_is_better: bool = True
    floor_what: str = ""
    floor_runs: list[float] = []
    reach_ratio: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        return statistics.median(self.runs)

    @property
    def floor(self) -> float | None:
        return statistics.median(self.floor_runs) if self.floor_runs else None

    @property
    def ratio(self) -> float | None:
        """The median of each run by its floor, where they were measured in turn: the machine changes from minute to minute."""
        if not self.floor_runs or not all(self.floor_runs):
            return None
        if len(self.runs) != len(self.floor_runs):
            return self.value / statistics.median(self.floor_runs)
        return statistics.median([run / floor for run, floor in zip(self.runs, self.floor_runs, strict=True)])

    @property
    def reached(self) -> bool:
        """Whether the value and the ratio are within what is asked."""
        good = self.reach is None or (self.value >= self.reach if self.more_is_better else self.value <= self.reach)
        return good and (self.reach_ratio is None or self.ratio is None or self.ratio >= self.reach_ratio)


class Bench(msgspec.Struct):
    """What a benchmark is given: a filled state, the server it is in, and the processes of `questline dev` on it."""

    server: EmbeddedPostgres
    state: State
    processes: Processes
    repeats: int = 3
    seconds: float = 5.0


Benchmark = Callable[[Bench], Awaitable[Sequence[Figure]]]


def show(figure: Figure) -> str:
    """One line for people."""
    sign = "≥" if figure.more_is_better else "≤"
    parts = [f"{figure.what}: {_number(figure.value)} {figure.unit}"]
    if figure.reach is not None:
        parts.append(f"(reach {sign} {_number(figure.reach)})")
    if figure.floor is not None and figure.ratio is not None:
        parts.append(f"floor {_number(figure.floor)} ({figure.floor_what}), ratio {figure.ratio:.2f}")
        if figure.reach_ratio is not None:
            parts.append(f"(reach ≥ {figure.reach_ratio})")
    if figure.note:
        parts.append(f"— {figure.note}")
    return f"{'ok  ' if figure.reached else 'MISS'} {' '.join(parts)}"


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cpu = "unknown processor"
    memory = ""
    if Path("/proc/cpuinfo").exists():
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        cpu = found[1] if found else cpu
        kilobytes = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
        memory = f", {int(kilobytes[1]) / 2**20:.0f} GB" if kilobytes else ""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "processor": f"{os.cpu_count()} × {cpu}{memory}",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "commit": commit,
        "date": date.today().isoformat(),  # noqa: DTZ011
    }


def write(figures: Sequence[Figure], here: dict[str, str]) -> None:
    """Put the figures into docs/benchmarks.json, beside those of other benchmarks there, and write the table anew.

    `here` is what machine() said when the run began.
    """
    old = msgspec.json.decode(RESULTS.read_bytes()) if RESULTS.exists() else {"figures": []}
    measured = {figure.name for figure in figures}
    kept = [entry for entry in old["figures"] if entry["figure"]["name"] not in measured]
    entries = kept + [{"figure": msgspec.to_builtins(figure), "machine": here} for figure in figures]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode({"figures": entries}), indent=1) + b"\n")
    TABLE.write_text(_table([(msgspec.convert(e["figure"], Figure), e["machine"]) for e in entries]))


_HEAD = """\
# Benchmarks

Measured by `questline bench` (in the repository: `python -m bench`), with everything on one machine: PostgreSQL with
fsync on, the API, the worker and the load. The state is three projects, 100,000 users with balances and streaks and
1,000,000 stored events. A floor is the least that the same machine must do for the same rows, measured in the same
run. Each value is the median of short runs. Repeat all with `python -m bench --write`, or one with
`python -m bench NAME`.

| benchmark | what | figure | reach | floor | ratio | commit | machine |
|---|---|---|---|---|---|---|---|"""


_TAIL = """
## How to read it

The processors of this machine are shared with others: the same commit on the same database is up to twice as fast in
one minute as in another, and the floor, measured in turn with each figure, moves with it. So a ratio (the median of each run
by the floor that was measured next to it) says more than a figure, and a figure is to be read beside its floor: one of 26,000
single events a second in a good minute, of 13,000 in a bad one. Where one of several runs of a benchmark stands in the table,
`docs/internals/status.md` says what the others were.

Between two checkpoints, which lie ten minutes apart, PostgreSQL logs each page whole when it is first changed, and after a
start it reads each page once: in its first seconds it does a fifth less. So a run as long as those that are measured comes
before them.

Applying costs some 90 µs of an event in Python and 110 in PostgreSQL: with a worker for each of two processors both are
busy all the time. Two board rows are a third of PostgreSQL's part, then transfers, decisions and balances. A check-in
costs some 430 µs in the API and as much in PostgreSQL, where each statement of a group costs more than its rows.
"""


def _table(entries: Sequence[tuple[Figure, dict[str, str]]]) -> str:
    lines = [_HEAD]
    for figure, where in entries:
        sign = "≥" if figure.more_is_better else "≤"
        reach = "" if figure.reach is None else f"{sign} {_number(figure.reach)}"
        floor = "–" if figure.floor is None else f"{_number(figure.floor)} ({figure.floor_what})"
        ratio = "–" if figure.ratio is None else f"{figure.ratio:.2f}"
        if figure.reach_ratio is not None:
            ratio += f" (≥ {figure.reach_ratio})"
        missed = "" if figure.reached else " **(missed)**"
        note = f"; {figure.note}" if figure.note else ""
        what = f"{figure.what}{note}"
        value = f"{_number(figure.value)} {figure.unit}{missed}"
        place = f"{where['commit']} | {where['processor']}, {where['date']}"
        lines.append(f"| {figure.name} | {what} | {value} | {reach} | {floor} | {ratio} | {place} |")
    return "\n".join(lines) + "\n" + _TAIL


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
