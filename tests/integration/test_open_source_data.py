"""Real input: the commits of 21 projects, streamed twice and once shuffled, against a naive count."""

import gzip
import importlib.util
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest_api import App, Instance

from tests.conftest import missing_data

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "open-source"
WHOLE = Path(os.environ.get("QL_TEST_COMMITS", ROOT.parent / "shared" / "data" / "commits.ndjson.gz"))

_spec = importlib.util.spec_from_file_location("naive_open_source", ROOT / "tests" / "naive" / "open_source.py")
assert _spec is not None
assert _spec.loader is not None
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)


@pytest.fixture(params=["sample", "whole"])
def commits(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The sample of 2,000 commits that ships with the example, and all of them where they lie beside the project."""
    if request.param == "sample":
        return [json.loads(line) for line in (EXAMPLE / "sample.ndjson").read_text().splitlines()]
    if not WHOLE.exists():
        missing_data(f"The whole data, {WHOLE.name} (QL_TEST_COMMITS is its path),")
    with gzip.open(WHOLE, "rt") as lines:
        return [json.loads(line) for line in lines]


async def stream(app: App, facts: list[dict[str, Any]]) -> dict[str, int]:
    content = "\n".join(json.dumps(fact) for fact in facts)
    answer = await app.post("/v1/ingest/stream?results=errors", content=content)
    return json.loads(answer.text.splitlines()[-1])["summary"]


async def outcome(app: App) -> dict[str, dict[str, Any]]:
    """Every user's totals as the database has them, in the shape of the naive count."""
    rows = await app.instance.owner.fetch(
        """SELECT u.external_id AS user,
            (SELECT json_object_agg(currency, amount) FROM balances b WHERE b.user_id = u.id) AS balances,
            (SELECT json_object_agg(currency, level) FROM balances b WHERE b.user_id = u.id) AS levels,
            (SELECT json_object_agg(metric, value) FROM metrics m WHERE m.user_id = u.id) AS metrics,
            (SELECT json_object_agg(streak, longest) FROM streaks s WHERE s.user_id = u.id) AS streaks,
            (SELECT json_object_agg(achievement, json_build_array(tier, times)) FROM achievements a WHERE a.user_id = u.id) AS unlocked
        FROM users u JOIN projects p ON p.id = u.project_id WHERE p.app_id = $1""",
        app.app_id,
    )
    found = {}
    for row in rows:
        balances, metrics, streaks = (json.loads(row[k] or "{}") for k in ("balances", "metrics", "streaks"))
        found[row["user"]] = {
            "XP": balances.get("XP", 0), "coins": balances.get("coins", 0),
            "level": max(json.loads(row["levels"] or "{}").get("XP", 0), 1),
            **{name: metrics.get(name, 0) for name in ("commits", "merges", "lines", "largest", "repos")},
            "daily": streaks["daily"], "weekly": streaks["weekly"],
            "unlocked": {name: tuple(pair) for name, pair in json.loads(row["unlocked"] or "{}").items()},
        }  # fmt: skip
    return found


@pytest.mark.timeout(900)
async def test_every_users_totals_streaks_and_unlocks_equal_a_naive_count_in_any_order(
    questline: Instance, commits: list[dict[str, Any]]
) -> None:
    program = yaml.safe_load((EXAMPLE / "program.yaml").read_text().replace("on:", "'on':"))
    facts = list(commits)
    expected = naive.count(facts)
    in_order = await questline.app(program)
    first, second = await stream(in_order, facts), await stream(in_order, facts)
    assert (first["accepted"], second) == (len(facts), {"accepted": 0, "duplicate": len(facts), "rejected": 0})
    shuffled = await questline.app(program)
    random.Random(21).shuffle(facts)
    assert (await stream(shuffled, facts))["accepted"] == len(facts)
    await questline.drain()
    for app in (in_order, shuffled):
        found = await outcome(app)
        assert found.keys() == expected.keys()
        assert {u: v for u, v in found.items() if v != expected[u]} == {}
