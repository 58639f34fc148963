"""What is done to the installation while it works. All that is chosen, is chosen by the seed."""

import random
from collections.abc import Callable, Iterator, Sequence

from .carriers import Carriers
from .cluster import Cluster
from .mid_batch import in_mid_batch, with_messages_on_their_way

_SHORT_SECONDS = (0.05, 0.3, 1.0)
_LONGER_THAN_A_LEASE_SECONDS = 7.0  # the worker that goes on then has been replaced meanwhile
_LONGER_THAN_SHORT_TIMES_SECONDS = 3.5  # the same, where times are those of carriers.SHORT_TIMES
_ON_THE_WAY_SECONDS = 0.3
_JOINS_SECONDS_MAX = 45.0  # a session that ends, a client that is given up, and two rebalances, on a busy machine

Fault = Callable[[Cluster, random.Random], None]


def _kill(name: str) -> Fault:
    return lambda cluster, _: cluster.kill(name)


def _freeze(name: str, seconds: Sequence[float] = _SHORT_SECONDS) -> Fault:
    return lambda cluster, chance: cluster.freeze(name, chance.choice(seconds))


def _hold_store(cluster: Cluster, chance: random.Random) -> None:
    cluster.store_door.freeze()
    cluster.later(chance.choice(_SHORT_SECONDS), cluster.store_door.thaw)


def _hold(name: str) -> Fault:
    def hold(cluster: Cluster, chance: random.Random) -> None:
        cluster.carrier_doors[name].freeze()
        cluster.later(chance.choice(_SHORT_SECONDS), cluster.carrier_doors[name].thaw)

    return hold


def _of_server(name: str) -> dict[str, Fault]:
    """Return what is done to a broker or a cache."""
    return {
        f"kill {name}": _kill(name),
        f"freeze {name}": _freeze(name),
        f"hold {name}'s connections": _hold(name),
        f"cut {name}'s connections": lambda cluster, chance: cluster.carrier_doors[name].cut(
            chance, chance.choice((0.3, 1.0))
        ),
        f"lose {name}'s answers": lambda cluster, chance: cluster.carrier_doors[name].lose_answers(chance, 0.5),
    }


def _beyond_lease_seconds(cluster: Cluster) -> float:
    return _LONGER_THAN_SHORT_TIMES_SECONDS if cluster.carriers.limits else _LONGER_THAN_A_LEASE_SECONDS


def _freeze_beyond_lease(name: str) -> Fault:
    return lambda cluster, _: cluster.freeze(name, _beyond_lease_seconds(cluster))


def _fail_over(cluster: Cluster, chance: random.Random) -> None:
    """A consumer stands still until it is replaced, or loses its broker, while its batches are half applied."""
    with in_mid_batch(cluster):
        if chance.random() < 0.5:
            cluster.freeze(chance.choice(("worker-1", "worker-2")), _beyond_lease_seconds(cluster))
        else:
            cluster.carrier_doors["rabbitmq"].cut(chance, 1.0)


def _kill_in_mid_batch(name: str) -> Fault:
    def kill(cluster: Cluster, _: random.Random) -> None:
        with in_mid_batch(cluster):
            cluster.kill(name)

    return kill


def _kill_relay_on_the_way(cluster: Cluster, _: random.Random) -> None:
    """A relay dies, and its messages with it; what it had in flight waits, while the other relay hands over what came later."""
    with with_messages_on_their_way(cluster):
        cluster.kill("relay-1")


def _freeze_in_mid_batch(cluster: Cluster, chance: random.Random) -> None:
    """A worker stands still with a transaction open until its partitions are another's, and goes on then."""
    seconds = _beyond_lease_seconds(cluster)
    with in_mid_batch(cluster):
        cluster.freeze(chance.choice(("worker-1", "worker-2")), seconds)
    cluster.tend_for(seconds)


def _kill_api_on_the_way(cluster: Cluster, chance: random.Random) -> None:
    """The API dies after it has begun to store events, and before PostgreSQL has heard of it."""
    cluster.store_door.freeze()
    cluster.tend_for(_ON_THE_WAY_SECONDS)
    cluster.kill("api")
    cluster.store_door.cut(chance, 1.0)
    cluster.store_door.thaw()


def _rebalance(cluster: Cluster, chance: random.Random) -> None:
    """A third worker joins while batches are half applied, whose partitions it gets; then it dies in mid-batch itself."""
    with in_mid_batch(cluster):
        cluster.join("worker-3")
        cluster.tend_until(lambda: cluster.group_size() == 3, _JOINS_SECONDS_MAX, "a third worker joins")
        cluster.tend_for(chance.uniform(0.0, 1.5))
    cluster.tend_for(chance.uniform(0.1, 0.5))
    with in_mid_batch(cluster):
        cluster.leave("worker-3")


FAULTS: dict[str, Fault] = {
    "kill api": _kill("api"),
    "kill worker-1": _kill("worker-1"),
    "kill worker-2": _kill("worker-2"),
    "kill postgres": _kill("postgres"),
    "kill a backend": lambda cluster, chance: cluster.kill_backend(chance),
    "freeze api": _freeze("api"),
    "freeze worker-1": _freeze("worker-1"),
    "freeze worker-2 beyond its lease": _freeze_beyond_lease("worker-2"),
    "freeze postgres": _freeze("postgres"),
    "hold the store's connections": _hold_store,
    "cut the store's connections": lambda cluster, chance: cluster.store_door.cut(chance, chance.choice((0.3, 1.0))),
    "lose the store's answers": lambda cluster, chance: cluster.store_door.lose_answers(chance, 0.5),
    "cut the clients' connections": lambda cluster, chance: cluster.front_door.cut(chance, 0.7),
    "lose the clients' answers": lambda cluster, chance: cluster.front_door.lose_answers(chance, 0.7),
}

KILLS = [name for name in FAULTS if name.startswith("kill ")]

_OF_TRANSPORT: dict[str, dict[str, Fault]] = {
    "postgres": {},
    "rabbitmq": {
        "kill relay-1": _kill("relay-1"),
        "kill relay-1 with messages on their way": _kill_relay_on_the_way,
        "kill relay-2": _kill("relay-2"),
        "freeze relay-1": _freeze("relay-1"),
        "freeze relay-2 beyond its lease": _freeze_beyond_lease("relay-2"),
        **_of_server("rabbitmq"),
        "kill worker-1 in mid-batch": _kill_in_mid_batch("worker-1"),
        "fail a consumer over in mid-batch": _fail_over,
    },
    "kafka": {
        **_of_server("kafka"),
        "kill worker-1 in mid-batch": _kill_in_mid_batch("worker-1"),
        "rebalance in mid-batch": _rebalance,
        "freeze a worker in mid-batch beyond its session": _freeze_in_mid_batch,
    },
}
_OF_REDIS = {**_of_server("redis"), "kill api with statements on their way": _kill_api_on_the_way}

ALL: dict[str, Fault] = {
    **FAULTS,
    **{name: fault for faults in _OF_TRANSPORT.values() for name, fault in faults.items()},
    **_OF_REDIS,
}


def names_for(carriers: Carriers) -> list[str]:
    """Return the names of the faults that such an installation can have."""
    return [*FAULTS, *_OF_TRANSPORT[carriers.transport], *(_OF_REDIS if "redis" in carriers.services else ())]


def dealt(chance: random.Random, names: Sequence[str]) -> Iterator[str]:
    """Yield names for ever in a random order, each as often as the others."""
    while True:
        deck = list(names)
        chance.shuffle(deck)
        yield from deck
