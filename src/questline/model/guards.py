"""Guards: what watches for cheating before an event is applied, and the suspicion that gathers on a user."""

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

from questline.model.definition import Condition, Definition

GuardKind = Literal["rate", "gap", "bounds", "jump", "sequence", "duplicate", "spread"]
Action = Literal["flag", "hold", "refuse", "block"]
ACTIONS: tuple[Action, ...] = ("flag", "hold", "refuse", "block")
"""The mildest first; of several the last in this order is taken."""

WINDOW_UNITS = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}


class Window(Definition, frozen=True, rename="camel", omit_defaults=True):
    """A length of time, such as {duration: 30, unit: seconds}."""

    duration: int
    unit: Literal["seconds", "minutes", "hours", "days"]

    @property
    def seconds(self) -> int:
        return self.duration * WINDOW_UNITS[self.unit]

    @property
    def ms(self) -> int:
        return self.seconds * 1_000


class Guard(Definition, frozen=True, rename="camel", omit_defaults=True):
    """One guard; which members it has depends on its kind, see engine/guards.py MEMBERS."""

    kind: GuardKind
    on: str | tuple[str, ...]
    when: Condition | None = None
    window: Window | None = None
    times: int = 0  # rate: so many in the window are allowed
    field: str | None = None  # bounds, jump: a number; spread: a device, an address
    min: float | int | None = None
    max: float | int | None = None
    by: float | int | None = None  # jump: the largest difference allowed
    factor: float | int | None = None  # jump: the largest multiple allowed
    after: str | None = None  # sequence: the type that must come first
    match: str | None = None  # sequence: the field by which the two belong together
    fields: tuple[str, ...] = ()  # duplicate: what makes the fingerprint
    across: Literal["user", "users"] = "user"  # duplicate: looked for among the user's own, or everybody's
    users: int | None = None  # spread: so many users may share a value in the window
    values: int | None = None  # spread: so many values may a user have in the window
    action: Action = "flag"
    score: int = 0  # added to the user's suspicion
    title: str = ""
    enabled: bool = True

    @property
    def listens(self) -> tuple[str, ...]:
        """Every event type it looks at; what a sequence begins with is looked at as well."""
        on = (self.on,) if isinstance(self.on, str) else self.on
        return on if self.after is None or self.after in on else (*on, self.after)

    @property
    def is_shared(self) -> bool:
        """Whether it compares users with each other."""
        return self.across == "users" or self.users is not None


class Decay(Definition, frozen=True, rename="camel", omit_defaults=True):
    """`points` fall off for each whole span of `every` units."""

    points: int
    every: int
    unit: Literal["seconds", "minutes", "hours", "days"] = "hours"

    @property
    def seconds(self) -> int:
        return self.every * WINDOW_UNITS[self.unit]


class Suspicion(Definition, frozen=True, rename="camel", omit_defaults=True):
    """How suspicion fades, and from which score on guarded events are acted on whatever they are."""

    decay: Decay | None = None
    actions: dict[str, Action] = {}

    @property
    def thresholds(self) -> list[tuple[int, Action]]:
        """(score, action), the lowest score first."""
        return sorted((int(score), action) for score, action in self.actions.items())


Mark = tuple[int, str]  # milliseconds since 1970 of an event's own time; its value, hashed (of a jump as it is), or ""


class GuardState(msgspec.Struct, frozen=True, gc=False):
    """What a guard remembers of a user: marks in the order of receipt.

    `value` is the number of a `jump` guard's only mark where that bears none, as they were written at first.
    """

    marks: tuple[Mark, ...] = ()
    value: Decimal | None = None


class SuspicionState(msgspec.Struct, frozen=True, gc=False):
    """The score as of `at`; what has decayed since is worked out by whoever reads it."""

    score: int
    at: datetime


class BlockState(msgspec.Struct, frozen=True, gc=False):
    """Whether the user is blocked, whether their standing is off the boards meanwhile, and the operator's reason."""

    blocked: bool
    off_boards: bool
    reason: str
    at: datetime


class ReviewState(msgspec.Struct, frozen=True, gc=False):
    """Where a held event stands: waiting, approved or denied."""

    status: Literal["waiting", "approved", "denied"]
    at: datetime  # the held event's own time
    reason: str = ""  # the operator's, once it is decided
    decided_by: UUID | None = None  # the event that approved or denied it


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """Which users bore one value, and when: (user id, milliseconds), in the order of receipt."""

    users: tuple[tuple[int, int], ...] = ()


SightingKey = tuple[str, bytes]  # guard, 16-byte hash of the value


class SightingChange(msgspec.Struct, frozen=True, gc=False):
    """A value's new sighting; `at` is its latest event's time. It is needed for `seconds` after that, and from now on."""

    guard: str
    value_hash: bytes
    state: Sighting
    at: datetime
    seconds: int


class Trip(msgspec.Struct, frozen=True, gc=False):
    """That a guard (or a threshold of the suspicion score: kind `score`) had something to say of an event.

    `values` are the numbers it compared; `score` is the user's suspicion with this event.
    """

    guard: str
    kind: str
    action: Action
    values: dict[str, int | float]
    score: int
