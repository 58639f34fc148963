"""A Redis of a test's own, which keeps nothing: started again it is empty, as after the loss of a machine."""

import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.services import Service

_BINARY = "redis-server"


class RedisServer(Service):
    """`redis-server` on a free port, without persistence."""

    name = "Redis"

    def __init__(self, directory: Path, options: Mapping[str, str] | None = None) -> None:
        """`options` are further ones of its configuration."""
        super().__init__(directory)
        self._options = options or {}

    @classmethod
    def lacks(cls) -> str | None:
        """See Service."""
        return None if shutil.which(_BINARY) else "Redis (apt-get install redis-server)"

    @property
    def url(self) -> str:
        """See Service."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _launch(self, log: int) -> "subprocess.Popen[bytes]":
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            **self._options,
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        return subprocess.Popen([_BINARY, *flags], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False
