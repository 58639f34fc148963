"""Processes under a supervisor: started again when they die, later each time they die soon, and never left behind."""

import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

from questline.cli.children import Child, Roll, Tended, describe, keep_log_small
from questline.model.limits import LOG_FILE_BYTES_MAX

LIVES = "import sys, os; os.read(int(sys.argv[2]), 1)"  # until the pipe to its supervisor closes
DIES = "import sys; sys.exit(3)"


def child(tmp_path: Path, code: str) -> Child:
    return Child("thing", [sys.executable, "-c", code], {}, tmp_path / "thing.log")


def tend_until(tended: Tended, word: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (news := tended.tend()) and word in news:
            return news
    raise AssertionError(f"nothing was said of {word!r}")


def test_a_dead_process_is_started_again_and_both_are_told(tmp_path: Path) -> None:
    one = child(tmp_path, LIVES)
    one.start()
    tended = Tended(one)
    assert tended.tend() is None
    first = one.pid
    one.kill()
    assert tend_until(tended, "ended") == "thing ended (by SIGKILL); starting it again in 0.2 s"
    assert tend_until(tended, "again") == "thing runs again"
    assert one.pid not in (None, first)
    one.stop()


def test_a_process_that_keeps_dying_is_started_later_each_time(tmp_path: Path) -> None:
    one = child(tmp_path, DIES)
    one.start()
    tended = Tended(one)
    waits = [tend_until(tended, "ended").rpartition(" in ")[2] for _ in range(3)]
    assert waits == ["0.2 s", "0.4 s", "0.8 s"]
    one.stop()


def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    class Broken:
        name = "thing"

        def start(self) -> None:
            raise OSError("no memory")

        def exit_code(self) -> int:
            return 1

    tended = Tended(Broken())
    assert "ended (exit code 1)" in tend_until(tended, "ended")
    assert tend_until(tended, "could not") == "thing could not be started (no memory); starting it again in 0.4 s"
    assert tend_until(tended, "could not").endswith("0.8 s")


def test_a_process_ends_when_the_pipe_to_its_supervisor_closes(tmp_path: Path) -> None:
    one = child(tmp_path, LIVES)
    one.start()
    pid = one.pid
    assert pid is not None
    one._close_pipe()  # as when the supervisor is killed
    assert psutil.Process(pid).wait(60) == 0


def test_what_outlived_its_supervisor_is_ended_and_a_stranger_with_its_number_is_not(tmp_path: Path) -> None:
    left, stranger = (subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(2))
    try:
        roll = Roll(tmp_path / "processes.json")
        roll.write({"api": left.pid, "worker": stranger.pid, "postgres": None})
        noted = json.loads((tmp_path / "processes.json").read_text())
        noted["worker"]["began"] -= 3600
        (tmp_path / "processes.json").write_text(json.dumps(noted))
        assert roll.end_leftovers() == ["api"]
        assert not psutil.pid_exists(left.pid)
        assert stranger.poll() is None
    finally:
        for process in (left, stranger):
            process.kill()
            process.wait()


def test_a_roll_that_was_torn_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text('{"api": {"pid"')
    assert Roll(tmp_path / "processes.json").end_leftovers() == []


def test_a_log_that_grew_large_is_moved_aside_and_one_old_one_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_bytes(b"x" * (LOG_FILE_BYTES_MAX + 1))
    keep_log_small(log)
    assert [p.name for p in tmp_path.iterdir()] == ["api.old.log"]


def test_an_end_is_told_in_words() -> None:
    assert [describe(code) for code in (0, 3, -15)] == ["exit code 0", "exit code 3", "by SIGTERM"]
