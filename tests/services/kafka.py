"""Apache Kafka: one real broker that is its own controller (KRaft), in a small heap."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.services import Service, free_port

VERSION = "3.9.1"  # as kafka.xml says
_HEAP = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:-UsePerfData")
_QUICK = ("-XX:TieredStopAtLevel=1",)  # starts in half the time; for long loads the whole compiler is better
_LOGGING = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
_CLUSTER_ID = "cXVlc3RsaW5lLXRlc3RzLQ"  # 16 bytes in base64; each broker is a cluster of its own

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={logs}
log.segment.bytes=16777216
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=1
num.io.threads=2
"""


def jars() -> Path:
    """Return where `install` puts what the broker runs with."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "questline" / f"kafka-{VERSION}"


class Kafka(Service):
    """A broker with one node; topics have one replica."""

    name = "Kafka"

    def __init__(self, directory: Path, *, quick: bool = True, advertised_port: int | None = None) -> None:
        """`quick`: starts soon, and computes slowly. `advertised_port`: where clients are sent, else to its own."""
        super().__init__(directory)
        self._advertised = advertised_port or self.port
        self._controller_port = free_port()
        self._java = ["java", *_HEAP, *(_QUICK if quick else ()), _LOGGING, "-cp", str(jars() / "*")]

    @classmethod
    def lacks(cls) -> str | None:
        if shutil.which("java") is None:
            return "Java (apt-get install default-jre-headless)"
        if not list(jars().glob("kafka_2.13-*.jar")):
            return f"Kafka {VERSION} in {jars()} (tests/services/install fetches it from Maven Central)"
        return None

    @property
    def url(self) -> str:
        """The value of QUESTLINE_KAFKA_SERVERS."""
        return f"127.0.0.1:{self.port}"

    def _launch(self, log: int) -> "subprocess.Popen[bytes]":
        properties, logs = self.directory / "server.properties", self.directory / "logs"
        if not (logs / "meta.properties").exists():
            ports = {"port": self.port, "advertised": self._advertised, "controller": self._controller_port}
            properties.write_text(_PROPERTIES.format(**ports, logs=logs))
            format_ = [*self._java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(properties)]
            subprocess.run(format_, stdout=log, stderr=log, check=True)
        return subprocess.Popen([*self._java, "kafka.Kafka", str(properties)], stdout=log, stderr=log)

    def _answers(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        try:
            client = AdminClient({"bootstrap.servers": self.url, "log_level": 0, "socket.timeout.ms": 1000})
            return bool(client.list_topics(timeout=1).brokers)
        except KafkaException:
            return False
