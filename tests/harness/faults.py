"""What is done to the installation while it works. All that is chosen, is chosen by the seed."""

import random
from collections.abc import Callable, Iterator, Sequence

from .cluster import Cluster

_SHORT_SECONDS = (0.05, 0.3, 1.0)
_LONGER_THAN_A_LEASE_SECONDS = 7.0  # the worker that goes on then has been replaced meanwhile

Fault = Callable[[Cluster, random.Random], None]


def _kill(name: str) -> Fault:
    return lambda cluster, _: cluster.kill(name)


def _freeze(name: str, seconds: Sequence[float] = _SHORT_SECONDS) -> Fault:
    return lambda cluster, chance: cluster.freeze(name, chance.choice(seconds))


def _hold_store(cluster: Cluster, chance: random.Random) -> None:
    cluster.store_door.freeze()
    cluster.later(chance.choice(_SHORT_SECONDS), cluster.store_door.thaw)


FAULTS: dict[str, Fault] = {
    "kill api": _kill("api"),
    "kill worker-1": _kill("worker-1"),
    "kill worker-2": _kill("worker-2"),
    "kill postgres": _kill("postgres"),
    "kill a backend": lambda cluster, chance: cluster.kill_backend(chance),
    "freeze api": _freeze("api"),
    "freeze worker-1": _freeze("worker-1"),
    "freeze worker-2 beyond its lease": _freeze("worker-2", [_LONGER_THAN_A_LEASE_SECONDS]),
    "freeze postgres": _freeze("postgres"),
    "hold the store's connections": _hold_store,
    "cut the store's connections": lambda cluster, chance: cluster.store_door.cut(chance, chance.choice((0.3, 1.0))),
    "lose the store's answers": lambda cluster, chance: cluster.store_door.lose_answers(chance, 0.5),
    "cut the clients' connections": lambda cluster, chance: cluster.front_door.cut(chance, 0.7),
    "lose the clients' answers": lambda cluster, chance: cluster.front_door.lose_answers(chance, 0.7),
}


def dealt(chance: random.Random, names: Sequence[str]) -> Iterator[str]:
    """Yield names for ever in a random order, each as often as the others."""
    while True:
        deck = list(names)
        chance.shuffle(deck)
        yield from deck
