"""RabbitMQ as Debian brings it, with a directory, a node and an epmd of its own, so that several run beside each other."""

import os
import shlex
import socket
import subprocess
from pathlib import Path

import psutil

from tests.services import Service, free_port

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_HEADER = b"AMQP\x00\x00\x09\x01"
_GONE_SECONDS = 30.0


class RabbitMQ(Service):
    """A broker of one node; what it stored survives `kill` and is gone after `forget`."""

    name = "RabbitMQ"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._distribution, self._epmd = free_port(), free_port()

    @classmethod
    def lacks(cls) -> str | None:
        """Return what the machine lacks to run it."""
        return None if SERVER.exists() else "RabbitMQ (tests/services/install, or apt-get install rabbitmq-server)"

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def forget(self) -> None:
        """Take away all that it stored, while it does not run: a broker on a new disk."""
        subprocess.run(["rm", "-rf", str(self.directory / "mnesia")], check=True)

    def kill(self) -> None:
        """End it and wait for all its processes: their ports are needed again."""
        processes = [psutil.Process(pid) for pid in self.pids() if psutil.pid_exists(pid)]
        super().kill()
        psutil.wait_procs(processes, timeout=_GONE_SECONDS)

    def _launch(self, log: int) -> "subprocess.Popen[bytes]":
        config, plugins = self.directory / "rabbitmq.conf", self.directory / "plugins"
        config.write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            "disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.relative = 0.6\nlog.console = true\nlog.file = false\n"
        )
        plugins.write_text("[].")
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.directory),  # the cookie lies here
            "RABBITMQ_NODENAME": f"questline-{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",  # waiting burns no processor
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        # Its epmd is started here, as a child that ends with it; Erlang's own would stay behind.
        script = f"epmd -port {self._epmd} & exec {shlex.quote(str(SERVER))}"
        return subprocess.Popen(
            ["sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.settimeout(2)
                connection.sendall(_HEADER)
                return connection.recv(1) == b"\x01"  # a frame: Connection.Start
        except OSError:
            return False
