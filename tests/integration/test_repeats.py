"""What Hypothesis repeats, sent through the real accept and the real lanes: it is taken once, and answered as it was."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from conftest_api import PROGRAM, App, Instance
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger import misbooked

from questline.model import calendar
from questline.model.event import Event
from questline.testing.scenario import Scenario

START = calendar.moment("2026-01-05T12:00:00Z", calendar.zone("UTC"))

facts = st.lists(
    st.tuples(st.sampled_from(("task", "task", "gift")), st.integers(0, 15 * 24), st.integers(0, 30)),
    min_size=1,
    max_size=8,
)


async def state_in_postgresql(app: App) -> dict[str, Any]:
    """Everything of the project's only user, as the tables have it."""
    row = await app.instance.owner.fetchrow(
        """SELECT
            (SELECT json_object_agg(currency, amount) FROM balances b WHERE b.user_id = u.id) AS balances,
            (SELECT json_object_agg(currency, level) FROM balances b WHERE b.user_id = u.id AND level > 0) AS levels,
            (SELECT json_object_agg(metric, value) FROM metrics m WHERE m.user_id = u.id) AS metrics,
            (SELECT json_object_agg(streak, json_build_array(length, longest)) FROM streaks s WHERE s.user_id = u.id) AS streaks,
            (SELECT json_object_agg(achievement, json_build_array(tier, times)) FROM achievements a WHERE a.user_id = u.id) AS unlocked,
            (SELECT json_object_agg(p.board || ' ' || p.period, -lead) FROM board_entries e JOIN board_periods p ON p.id = e.board_period
                WHERE e.user_id = u.id) AS boards
        FROM users u JOIN projects p ON p.id = u.project_id WHERE p.app_id = $1""",
        app.app_id,
    )
    return {name: json.loads(value or "{}") for name, value in row.items()}


def state_in_memory(sequence: Sequence[Any]) -> dict[str, Any]:
    """The same, of a scenario that is told each fact once, in the order they were drawn in."""
    scenario = Scenario(PROGRAM)
    for number, (type_, hours, amount) in enumerate(sequence, 1):
        at = START + timedelta(hours=hours)
        scenario.apply(Event(UUID(int=number), 1, type_, "ada", {"amount": amount}, at))
    state = scenario.user()
    return {
        "balances": state.balances,
        "levels": state.levels,
        "metrics": {name: metric.value for name, metric in state.metrics.items()},
        "streaks": {name: [streak.length, streak.longest] for name, streak in state.streaks.items()},
        "unlocked": {name: [unlock.tier, unlock.times] for name, unlock in state.achievements.items()},
        "boards": {f"{board} {period}": score for (board, period, _), score in scenario.boards.items()},
    }


@settings(max_examples=8)
@given(
    facts, st.lists(st.integers(0, 7), min_size=1, max_size=8), st.integers(0, 15), st.randoms(use_true_random=False)
)
async def test_any_permutation_and_duplication_within_a_request_and_after_it_was_applied_gives_the_same_final_state(
    questline: Instance, drawn: Any, again: list[int], cut: int, chance: Any
) -> None:
    app = await questline.app(PROGRAM)
    items = [
        {"type": type_, "userId": "ada", "eventId": str(number), "payload": {"amount": amount},
         "occurredAt": (START + timedelta(hours=hours)).isoformat()}
        for number, (type_, hours, amount) in enumerate(drawn)
    ]  # fmt: skip
    sent = items + [items[number % len(items)] for number in again]
    chance.shuffle(sent)
    taken = 0
    for part in (sent[:cut], sent[cut:]):
        if part:
            answers = (await app.post("/v1/events/batch", json=part)).json()["results"]
            taken += [answer["status"] for answer in answers].count("accepted")
            await questline.drain()  # what comes again in the second part was applied before
    assert taken == len(items)
    assert await state_in_postgresql(app) == state_in_memory(drawn)
    assert await misbooked(questline.owner) == []


COMMANDS: dict[str, tuple[str, dict[str, Any]]] = {
    "spend a little": ("/v1/currency/spend", {"currency": "coins", "amount": 3}),
    "spend more": ("/v1/currency/spend", {"currency": "coins", "amount": 20}),
    "check in": ("/v1/check-in", {}),
    "buy": ("/v1/items/coffee/buy", {}),
    "use": ("/v1/items/coffee/use", {}),
    "start": ("/v1/quests/tour/start", {}),
}
acts = st.lists(st.tuples(st.sampled_from((*COMMANDS, "earn")), st.integers(1, 3)), min_size=4, max_size=24)


def naive(firsts: Sequence[tuple[str, bool]]) -> int:
    """The coins that what was done has left; raises AssertionError where something was done or refused that had not to be."""
    coins, cups, checked_in, started = 0, 0, False, False
    for name, done in firsts:
        may = {
            "earn": True, "spend a little": coins >= 3, "spend more": coins >= 20, "buy": coins >= 1, "use": cups > 0,
            "check in": not checked_in, "start": not started,
        }  # fmt: skip
        assert (name, done) == (name, may[name])
        if done:
            coins += {"earn": 15, "spend a little": -3, "spend more": -20, "buy": -1}.get(name, 0)
            cups += {"buy": 1, "use": -1}.get(name, 0)
            checked_in, started = checked_in or name == "check in", started or name == "start"
    return coins


@settings(max_examples=12)
@given(acts)
async def test_every_command_is_done_or_refused_once_under_a_key_and_a_repeat_is_told_that_whatever_came_between(
    questline: Instance, drawn: list[tuple[str, int]]
) -> None:
    app = await questline.app({**PROGRAM, "rules": {"earn": {"on": "earn", "award": {"coins": 15}}}})
    first: dict[tuple[str, int], tuple[int, Any]] = {}
    for name, number in (("earn", 0), *drawn):
        path, body = COMMANDS.get(name, ("/v1/events", {"type": "earn"}))
        headers = {"Idempotency-Key": f"{name} {number}", "Prefer": "wait=10"}
        answer = await app.post(path, json={"userId": "ada", **body}, headers=headers)
        told = answer.json()
        told.pop("correlationId", None)  # of the request, not of what it asked for
        known = first.setdefault((name, number), (answer.status_code, told))
        assert (answer.status_code, told) == (known[0], {**known[1], "duplicate": told["duplicate"]})
        assert told["duplicate"] is (known[1] is not told)
    done = [(name, status < 400) for (name, _), (status, _) in first.items()]
    assert await app.balance("ada", "coins") == naive(done)
    assert await misbooked(questline.owner) == []
