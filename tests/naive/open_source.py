"""What examples/open-source/program.yaml should lead to, counted plainly and apart from the engine."""

import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

TIERS = {1: 0, 10: 10, 100: 50, 1000: 250}


def longest_run(numbers: set[int]) -> int:
    best = run = 0
    before = None
    for number in sorted(numbers):
        run = run + 1 if before is not None and number == before + 1 else 1
        best, before = max(best, run), number
    return best


def count(commits: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each user's totals, longest streaks and unlocks; a commit sent twice counts once."""
    by_user: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for commit in commits:
        by_user[commit["userId"]][commit["eventId"]] = commit
    return {user: _count_one(list(facts.values())) for user, facts in by_user.items()}


def _count_one(commits: list[dict[str, Any]]) -> dict[str, Any]:
    xp = coins = 0
    days, weeks, repos = set(), set(), set()
    merges = lines = largest = 0
    for commit in commits:
        payload = commit["payload"]
        at = datetime.fromisoformat(commit["occurredAt"]).astimezone(UTC)
        xp += 3 if payload["merge"] else 10
        if payload["added"] > 0:
            xp += min(payload["added"] // 10, 50)
        if at.hour < 5:
            coins += 2
        if not payload["merge"] and payload["removed"] >= 100 and payload["added"] < 10:
            coins += 5
        days.add(at.date().toordinal())
        year, week, _ = at.isocalendar()
        weeks.add(date.fromisocalendar(year, week, 1).toordinal() // 7)
        repos.add(payload["repo"])
        merges += payload["merge"]
        lines += payload["added"]
        largest = max(largest, payload["added"])
    daily, weekly = longest_run(days), longest_run(weeks)
    level = math.isqrt(xp // 100) + 1
    unlocked: dict[str, tuple[int, int]] = {}
    tier = sum(len(commits) >= threshold for threshold in TIERS)
    unlocked["committer"] = (tier, 1)
    coins += sum(reward for threshold, reward in TIERS.items() if len(commits) >= threshold)
    for name, holds, reward in (
        ("ten-thousand-lines", lines >= 10_000, 100),
        ("wanderer", len(repos) >= 3, 30),
        ("whole-week", daily >= 7, 0),
        ("month", daily >= 30, 0),
        ("maintainer", merges >= 50 and weekly >= 8, 80),
        ("level-20", level >= 20, 0),
    ):
        if holds:
            unlocked[name] = (1, 1)
            coins += reward
    if merges >= 100:
        unlocked["hundred-merges"] = (1, merges // 100)
        coins += 40 * (merges // 100)
    coins += 20 * (daily >= 7) + 100 * (daily >= 30)
    return {
        "XP": xp, "coins": coins, "level": level, "commits": len(commits), "merges": merges, "lines": lines,
        "largest": largest, "repos": len(repos), "daily": daily, "weekly": weekly, "unlocked": unlocked,
    }  # fmt: skip
