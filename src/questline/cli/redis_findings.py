"""What `questline doctor` finds of Redis. Nothing of it is wrong: all goes on without, only slower."""

from importlib.util import find_spec
from urllib.parse import urlsplit

from questline.cli.findings import Finding
from questline.model.limits import REDIS_DEADLINE_SECONDS

_OLDEST = (6, 2)


async def examine_redis(url: str) -> list[Finding]:
    """Look at Redis, where it is set and its client is there; the URL may hold a password, so only the host is shown."""
    if not url or find_spec("redis") is None:
        return []
    from questline.cache.redis import Gone
    from questline.cache.redis_facts import look_at

    try:
        at = urlsplit(url)
        where = f"Redis at {at.hostname or at.path}" + (f":{at.port}" if at.port else "")
        facts = await look_at(url)
    except ValueError as error:
        return [Finding("wrong", f"QUESTLINE_REDIS_URL cannot be used: {error}")]
    except Gone as fault:
        return [Finding("doubtful", f"{where} gives no answer ({fault}); all goes on without it, slower")]
    findings = [Finding("good", f"{where} is version {facts.version} and answers ({facts.answered_ms:.1f} ms)")]
    doubts = {
        f"Redis is older than {_OLDEST[0]}.{_OLDEST[1]}, which nobody has tried": _version(facts.version) < _OLDEST,
        f"Redis needs more than half of the {REDIS_DEADLINE_SECONDS * 1000:.0f} ms that it is given: put it nearer":
            facts.answered_ms > REDIS_DEADLINE_SECONDS * 500,
        "Redis is a replica, which takes no writes: it is done without until the URL names the primary": facts.is_replica,
        "Redis may use all memory there is: set maxmemory": facts.memory_bytes_max == 0,
        f"Redis refuses writes once it is full, by maxmemory-policy {facts.policy}: set volatile-ttl":
            facts.memory_bytes_max > 0 and facts.policy == "noeviction",
        f"Redis forgets any key once it is full, by maxmemory-policy {facts.policy}: set volatile-ttl, which spares boards":
            facts.policy.startswith("allkeys"),
    }  # fmt: skip
    return findings + [Finding("doubtful", text) for text, holds in doubts.items() if holds]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
