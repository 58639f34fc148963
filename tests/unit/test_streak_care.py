"""Streak care: pauses, restored breaks, incidents, targets and day starts; the same streak in any order of arrival."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questline.engine import choices
from questline.engine.validate import validate
from questline.model import calendar
from questline.model.event import Event
from questline.model.reasons import Reason
from questline.testing.scenario import Scenario

MONDAY = datetime(2026, 1, 5, 12, tzinfo=UTC)


def program(**streak: Any) -> dict[str, Any]:
    return {"currencies": {"coins": {"kind": "currency"}}, "streaks": {"s": {"on": "e", **streak}}}


def day(number: float) -> datetime:
    """Noon, so many days after Monday the 5th."""
    return MONDAY + timedelta(days=number)


def effects(scenario: Scenario, *rows: Any) -> list[tuple[str, ...]]:
    return [played.effects for played in scenario.play(rows)]


PAUSE = {"streak": "s", "from": "2026-01-07", "until": "2026-01-09"}
RESTORE = {"streak": "s", "reason": "a week in hospital", "by": "key:1"}


@pytest.mark.parametrize(
    ("streak", "table"),
    [
        ({}, [
            (0, "e", {},                                   ("streak s 0 → 1",)),
            (1, "$streak_pause", PAUSE,                    ("streak s 1 → 1",)),
            (1, "e", {},                                   ("streak s 1 → 2",)),
            (3, "e", {},                                   ("streak s 2 → 3",)),  # a day of a pause counts where it is active
            (5, "e", {},                                   ("streak s 3 → 4",)),
            (7, "e", {},                                   ("streak s 4 → 1",)),
        ]),
        ({}, [  # a pause before the first activity holds just the same
            (1, "$streak_pause", PAUSE,                    ("streak s 0 → 0",)),
            (1, "e", {},                                   ("streak s 0 → 1",)),
            (5, "e", {},                                   ("streak s 1 → 2",)),
        ]),
        ({"every": "week"}, [  # a pause excuses every week it touches
            (0, "e", {},                                   ("streak s 0 → 1",)),
            (1, "$streak_pause", {"streak": "s", "from": "2026-01-18", "until": "2026-01-19"}, ("streak s 1 → 1",)),
            (21, "e", {},                                  ("streak s 1 → 2",)),
        ]),
        ({"milestones": {"3": {"award": {"coins": 9}}}}, [  # what a restored streak is long enough for is paid
            (0, "e", {},                                   ("streak s 0 → 1",)),
            (1, "e", {},                                   ("streak s 1 → 2",)),
            (6, "e", {},                                   ("streak s 2 → 1",)),
            (6, "$streak_restore", RESTORE,                ("coins +9 streak:s:3", "streak s 1 → 3")),
            (6, "$streak_restore", RESTORE,                ("refused STREAK_NOT_BROKEN",)),
            (9, "$streak_restore", RESTORE,                ("streak s 3 → 3",)),  # broken since: the days of now are excused
            (9, "e", {},                                   ("streak s 3 → 4",)),
        ]),
        ({}, [
            (0, "$streak_restore", RESTORE,                ("refused STREAK_NOT_BROKEN",)),
            (0, "$streak_restore", {"streak": "s"},        ("refused INVALID_COMMAND",)),
            (0, "$streak_restore", {"streak": "t", "reason": "r"}, ("refused UNKNOWN_STREAK",)),
            (0, "$streak_restore", {**RESTORE, "from": "2026-01-01", "until": "2026-01-05"}, ("refused INVALID_COMMAND",)),
            (0, "$streak_restore", {**RESTORE, "from": "2026-01-01"}, ("refused INVALID_COMMAND",)),
            (0, "$streak_pause", {"streak": "s"},          ("refused INVALID_COMMAND",)),
            (0, "$streak_pause", {"streak": "s", "until": "tomorrow"}, ("refused INVALID_COMMAND",)),
            (0, "$streak_pause", {"streak": "s", "until": "2026-01-04"}, ("refused INVALID_COMMAND",)),
            (5, "$streak_pause", PAUSE,                    ("refused INVALID_COMMAND",)),
            (0, "$streak_pause", {"streak": "s", "until": "2027-01-06"}, ("refused LIMIT_REACHED",)),
            (0, "$streak_pause", {"streak": "s", "until": "2027-01-05"}, ("streak s 0 → 0",)),
            (0, "$streak_target", {"streak": "s", "days": 3}, ("refused INVALID_COMMAND",)),
            (0, "$streak_day_start", {"streak": "s", "hours": 3}, ("refused INVALID_COMMAND",)),
        ]),
        ({"every": "week", "days": 2, "personal": True}, [
            (0, "e", {},                                   ()),
            (0.2, "e", {},                                 ()),  # the same day once more
            (3, "$streak_target", {"streak": "s", "days": 3}, ()),  # from the next week on
            (4, "e", {},                                   ("streak s 0 → 1",)),
            (7, "e", {},                                   ()),
            (8, "e", {},                                   ()),
            (15, "$streak_target", {"streak": "s", "days": None}, ()),
            (10, "e", {},                                  ("streak s 1 → 2",)),  # late: the third day of its week
            (14, "e", {},                                  ()),
            (16, "e", {},                                  ()),
            (21, "e", {},                                  ()),
            (22, "e", {},                                  ("streak s 2 → 1",)),  # two days again; of the week before only two of three
            (0, "$streak_target", {"streak": "s", "days": 8}, ("refused INVALID_COMMAND",)),
        ]),
    ],
)  # fmt: skip
def test_care_follows_its_table(streak: dict[str, Any], table: list[Any]) -> None:
    scenario = Scenario(program(**streak))
    assert effects(scenario, *((day(at), type_, payload) for at, type_, payload, _ in table)) == [
        row[3] for row in table
    ]


def test_a_lower_target_that_was_chosen_before_counts_weeks_that_are_played_before_it() -> None:
    scenario = Scenario(program(every="week", days=2, personal=True))
    played = [(day(8), "e", {}), (day(1), "$streak_target", {"streak": "s", "days": 1})]
    assert effects(scenario, *played) == [(), ("streak s 0 → 1",)]


@pytest.mark.parametrize(
    ("start", "times", "length"),
    [
        (4, ["05T03:59", "05T04:00"], 2),  # Sunday the 4th, and Monday
        (4, ["05T04:00", "06T03:59"], 1),
        (0, ["05T23:59", "06T00:00"], 2),
        (4, ["29T01:30", "29T02:30"], 2),  # the night in which clocks go forward (March, Berlin)
    ],
)
def test_a_day_may_begin_hours_after_midnight(start: int, times: list[str], length: int) -> None:
    month = "03" if times[0].startswith("29") else "01"
    scenario = Scenario(program(dayStartHours=start), timezone="Europe/Berlin" if month == "03" else "UTC")
    scenario.play([(f"2026-{month}-{time}Z", "e", {}) for time in times])
    assert scenario.user().streaks["s"].length == length


def test_grace_begins_with_the_day_as_it_is_chosen() -> None:
    scenario = Scenario(program(dayStartHours=4, graceHours=2))
    scenario.play([(at, "e", {}) for at in ("2026-01-05T10:00Z", "2026-01-07T05:00Z", "2026-01-09T06:00Z")])
    assert scenario.user().streaks["s"].length == 1  # the 6th was saved at five, the 8th not at six
    assert scenario.user().streaks["s"].longest == 2


def test_a_chosen_day_start_dates_what_happens_from_then_on_and_breaks_nothing() -> None:
    scenario = Scenario(program(personal=True))
    night_owl = [
        ("2026-01-05T23:00Z", "e", {}),
        ("2026-01-07T00:30Z", "e", {}),  # as of midnight: the 6th was missed
        ("2026-01-05T12:00Z", "$streak_day_start", {"streak": "s", "hours": 5}),
        ("2026-01-08T00:30Z", "e", {}),  # the 7th
        ("2026-01-08T20:00Z", "e", {}),
        (
            "2026-01-10T03:00Z",
            "$streak_day_start",
            {"streak": "s", "hours": 0},
        ),  # the 9th ends at three; the 10th is short
        ("2026-01-11T20:00Z", "e", {}),
    ]
    scenario.play(night_owl)
    state = scenario.user().streaks["s"]
    assert (state.length, state.longest) == (1, 2)
    scenario.play([("2026-01-09T20:00Z", "e", {})])  # late: the one day that was missed
    assert scenario.user().streaks["s"].length == 4


def starts(*rows: tuple[str, int]) -> list[Any]:
    return [(f"2026-{when}Z", "$streak_day_start", {"streak": "s", "hours": hours}) for when, hours in rows]


# Of each of 137 days without activity: when its day start is chosen, and which.
HOPS = {
    "there and back at once": [("T12:00", 23), ("T12:01", 0)],
    "back before the day has begun once more": [("T12:00", 0), ("T20:00", 23)],
    "many times": [(f"T{hour:02}:00", (0, 23)[hour % 2]) for hour in range(1, 22)],
}


@pytest.mark.parametrize("hops", HOPS.values(), ids=HOPS.keys())
@pytest.mark.parametrize("every", ["day", "week", "month"])
def test_no_choice_of_day_starts_keeps_a_streak_alive_without_activity(every: str, hops: list[Any]) -> None:
    scenario = Scenario(program(every=every, personal=True))
    scenario.play([(day(n), "e", {}) for n in (-70, -40, -10, -9, -4, -3, 1, 2)])
    scenario.play(starts(("01-07T20:00", 23)))
    length = scenario.user().streaks["s"].length
    dates = [day(n).date().isoformat()[5:] for n in range(3, 140)]
    scenario.play(starts(*((date + at, hours) for date in dates for at, hours in hops)))
    scenario.play([(day(140), "e", {})])
    assert (scenario.user().streaks["s"].length, length > 1) == (1, True)


def test_a_day_that_a_chosen_start_cuts_short_is_excused_once_in_a_while_and_other_changes_are_free() -> None:
    scenario = Scenario(program(personal=True))
    table = [
        ("01-05T12:00", 5, "-"),
        ("01-10T03:00", 0, "streak s 0 → 0"),             # the 9th ends at three: the 10th is short
        ("01-10T04:00", 5, "-"),                          # the 9th goes on
        ("01-10T04:30", 0, "-"),                          # the 10th had begun
        ("01-20T12:00", 5, "-"),
        ("01-25T03:00", 0, "refused LIMIT_REACHED"),      # the 25th would be short
        ("01-25T05:00", 0, "-"),                          # both say that it has begun
        ("04-10T12:00", 5, "-"),
        ("04-15T03:00", 0, "streak s 0 → 0"),
    ]  # fmt: skip
    played = scenario.play(starts(*((when, hours) for when, hours, _ in table)))
    assert [found.effects[0] if found.effects else "-" for found in played] == [told for _, _, told in table]


def test_more_day_starts_than_are_remembered_are_refused() -> None:
    scenario = Scenario(program(personal=True))
    hops = [(f"01-{5 + n // 10:02}T{12 + n % 10:02}:00", n % 2) for n in range(40)]
    refused = [found.decision.reason is Reason.LIMIT_REACHED for found in scenario.play(starts(*hops))]
    assert refused == [False] * 32 + [True] * 8
    assert scenario.play(starts(("04-20T12:00", 5)))[0].effects == ()


def test_hopping_over_the_date_line_every_night_keeps_no_streak_alive() -> None:
    def hop(at: str, zone: str) -> Any:
        return (at, "$profile_update", {"timezone": zone})

    scenario = Scenario(program(), timezone="Etc/GMT+12")
    scenario.play([(day(n), "e", {}) for n in range(3)])
    nights = [
        day(n).date().isoformat() for n in range(3, 20)
    ]  # half past ten on these islands, half past midnight on those
    for night in nights:
        scenario.play([hop(f"{night}T10:30Z", "Pacific/Kiritimati"), hop(f"{night}T10:31Z", "Etc/GMT+12")])
        scenario.play([hop(f"{night}T10:{32 + n}Z", ("UTC", "Etc/GMT+12")[n % 2]) for n in range(20)])
    scenario.play([(day(20), "e", {})])
    assert scenario.user().streaks["s"].length == 1


def test_a_zone_change_skips_the_dates_of_days_as_they_begin() -> None:
    scenario = Scenario(program(dayStartHours=6), timezone="Etc/GMT+12")
    scenario.play(
        [
            ("2025-12-31T20:00Z", "e", {}),  # the 31st, eight in the morning
            ("2026-01-02T05:00Z", "e", {}),  # the 1st
            (
                "2026-01-02T17:30Z",
                "$profile_update",
                {"timezone": "Pacific/Kiritimati"},
            ),  # half past five: still the 1st; there the 3rd
            ("2026-01-02T20:00Z", "e", {}),
        ]
    )
    assert scenario.user().streaks["s"].length == 3


def test_an_incident_mends_what_it_touched_on_the_users_own_clocks() -> None:
    scenario = Scenario(program())
    mended = {"incident": "outage", "from": "2026-01-07T20:00:00+00:00", "until": "2026-01-08T00:00:00+00:00"}
    for user, zone in (("ada", "UTC"), ("bob", "Pacific/Auckland"), ("cid", "America/Los_Angeles")):
        scenario.user(user).timezone = zone
        scenario.play([(day(n), user, "e", {}) for n in (0, 1, 3)])
        scenario.play([(day(4), user, "$streak_mend", mended)])
    dates = {
        user: [calendar.date_text(int(n)) for n in state.streaks["s"].excused.strip("{[)}").split(",")]
        for user, state in scenario.users.items()
    }
    assert dates == {
        "ada": ["2026-01-07", "2026-01-08"],
        "bob": ["2026-01-08", "2026-01-09"],  # eleven hours ahead of the evening: the next morning
        "cid": ["2026-01-07", "2026-01-08"],
    }
    assert [state.streaks["s"].length for state in scenario.users.values()] == [3, 3, 3]


care = st.one_of(
    st.tuples(st.just("e"), st.integers(0, 30)),
    st.tuples(st.just("e"), st.integers(0, 30)),
    st.tuples(st.just("$streak_pause"), st.integers(0, 28), st.integers(0, 3), st.integers(0, 4)),
    st.tuples(st.just("$streak_restore"), st.integers(4, 30), st.integers(1, 4), st.integers(0, 2)),
    st.tuples(st.just("$streak_mend"), st.integers(0, 30), st.integers(0, 28), st.integers(1, 60)),
)


def event_of(number: int, fact: Any) -> Event:
    type_, at, *rest = fact
    payload: dict[str, Any] = {"streak": "s", "reason": "r"}
    if type_ == "$streak_mend":
        begin = MONDAY + timedelta(days=rest[0])
        payload = {"incident": "i", "from": begin.isoformat(), "until": (begin + timedelta(hours=rest[1])).isoformat()}
    elif type_ != "e":
        first = day(at + rest[0]) if type_ == "$streak_pause" else day(at - rest[0] - rest[1])
        payload |= {"from": first.date().isoformat(), "until": (first + timedelta(days=rest[1])).date().isoformat()}
    return Event(UUID(int=number), 1, type_, "ada", payload, day(at))


definitions = st.sampled_from(
    [
        {},
        {"freezes": {"max": 2, "earnEvery": 3}},
        {"graceHours": 13, "dayStartHours": 5, "freezes": {"max": 1, "earnEvery": 2}},
        {"every": "week", "days": 2},
        {"every": "week", "days": 3, "personal": True, "graceHours": 20},
    ]
)


@settings(max_examples=300, deadline=None)
@given(definitions, st.lists(care, min_size=1, max_size=16), st.randoms(use_true_random=False))
def test_any_order_of_activity_and_care_gives_the_same_streak(definition: Any, facts: Any, chance: Any) -> None:
    document = program(milestones={"2": {"award": {"coins": 3}}, "5": {"award": {"coins": 7}}}, **definition)
    events = [event_of(number, fact) for number, fact in enumerate(facts, 1)]
    shuffled = [*events, *chance.choices(events, k=3)]
    chance.shuffle(shuffled)
    found = []
    for sequence in (events, shuffled):
        scenario = Scenario(document)
        for event in sequence:
            scenario.apply(event)
        state = scenario.user()
        found.append((state.streaks.get("s"), state.balances, state.records))
    assert found[0] == found[1]


@settings(max_examples=200, deadline=None)
@given(
    definitions,
    st.lists(care, min_size=1, max_size=12),
    care.filter(lambda f: f[0] in ("$streak_pause", "$streak_mend")),
)
def test_care_never_shortens_the_longest_run(definition: Any, facts: Any, more: Any) -> None:
    def longest(*sequence: Any) -> int:
        scenario = Scenario(program(**definition))
        for number, fact in enumerate(sequence, 1):
            scenario.apply(event_of(number, fact))
        return scenario.user().streaks["s"].longest if "s" in scenario.user().streaks else 0

    assert longest(*facts, more) >= longest(*facts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(1, 7))
def test_a_week_counts_when_as_many_days_as_it_needs_were_active(days: list[int], needed: int) -> None:
    scenario = Scenario(program(every="week", days=needed))
    scenario.play([(day(n), "e", {}) for n in days])
    weeks = [len({n for n in days if n // 7 == week}) >= needed for week in range(9)]
    state = scenario.user().streaks.get("s")
    longest = max(len(run) for run in "".join("x" if week else " " for week in weeks).split(" "))
    assert (state.longest if state is not None else 0) == longest


def test_only_the_latest_choices_are_kept() -> None:
    chosen = choices.StreakChoices()
    for number in range(100):
        chosen = choices.with_target(chosen, number, 1 + number % 7)
        chosen = choices.with_day_start(chosen, day(number), number % 24)
    assert (len(chosen.targets), len(chosen.day_starts)) == (32, 32)
    assert chosen.targets[-1] == (99, 2)


@pytest.mark.parametrize(
    ("streak", "part"), [({"days": 2}, "every day"), ({"every": "week", "days": 8}, "every week"), ({"every": "month", "days": 29}, "every month")]
)  # fmt: skip
def test_more_days_than_a_period_has_are_an_error(streak: dict[str, Any], part: str) -> None:
    errors = {error.path: error.message for error in validate(program(**streak))}
    assert part in errors["streaks.s.days"]
