"""A draft is gone once its event is decided: rings of objects would wait for the garbage collector, which stops the process."""

import gc
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from scenario import START

from questline.engine.decide import decide, decide_again
from questline.engine.draft import Draft
from questline.model.decision import Decision
from questline.model.event import Event
from questline.testing.scenario import Scenario

PROGRAM: dict[str, Any] = {
    "currencies": {"coins": {"kind": "currency"}},
    "metrics": {"tasks": {"on": "task", "count": True}},
    "rules": {
        "rich": {
            "on": "task",
            "when": {"all": [{"field": "balance.coins", "op": "gte", "value": 0}]},
            "award": {"coins": 5},
        },
    },
}


@pytest.mark.parametrize("decided_by", [decide, decide_again])
@pytest.mark.parametrize("type_", ["task", "check_in", "$spend"])
def test_no_draft_is_left_behind_whether_its_event_was_applied_or_refused(
    type_: str, decided_by: Callable[..., Decision]
) -> None:
    scenario = Scenario(PROGRAM)
    event = Event(UUID(int=1), 1, type_, "ada", {"currency": "coins", "amount": 1}, START)
    gc.collect()
    gc.disable()
    try:
        decided_by(scenario.program, scenario.user(), event)
        assert not [one for one in gc.get_objects() if isinstance(one, Draft)]
    finally:
        gc.enable()
