"""PostgreSQL's user, which is made when the embedded server is first started by root."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import missing_data

AT_ONCE = 6
ENSURE = "import sys; from questline.store.embedded import _ensure_system_user; sys.stdin.read(1); print(_ensure_system_user(sys.argv[1]))"


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a user whom nobody has made."""
    if os.geteuid() != 0:
        missing_data("root, who alone may make users,")
    made = f"qltest{secrets.token_hex(4)}"
    yield made
    subprocess.run(["userdel", made], check=False, capture_output=True)


def test_who_start_for_the_first_time_at_once_have_one_user(name: str) -> None:
    starting = [
        subprocess.Popen([sys.executable, "-c", ENSURE, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(AT_ONCE)
    ]
    for process in starting:
        assert process.stdin is not None
        process.stdin.write("g")
        process.stdin.flush()
    ids = {process.communicate()[0].strip() for process in starting}
    made = subprocess.run(["id", "--user", name], check=True, capture_output=True, text=True).stdout.strip()
    assert ids == {made}
