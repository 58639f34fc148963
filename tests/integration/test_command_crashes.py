"""Every command dies behind each of its statements in turn: nothing is half done, and a repeat under its key does it once."""

import itertools
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from conftest_api import App, Instance
from dying import dying
from ledger import misbooked

from questline.api.app import RESOURCES
from questline.api.hot.commands import HOT_PATTERNS

Request = tuple[str, str, dict[str, Any]]

COINS = [{"currency": "coins", "value": 10}]
PROGRAM: dict[str, Any] = {
    "currencies": {"XP": {"kind": "xp", "levels": {"curve": "linear", "base": 20, "rewards": {"2": {"rewards": COINS}}}},
                   "coins": {"kind": "currency"}},
    "metrics": {"bought": {"on": "$buy", "count": True}, "tasks": {"on": "task", "count": True}},
    "rules": {
        "gift": {"on": "gift", "award": {"coins": 100}},
        "visit": {"on": "check_in", "award": {"coins": 5, "XP": 20}, "rewards": [{"vital": "energy", "value": 20}]},
        "task": {"on": "task", "award": {"XP": 30}, "rewards": [{"reward": "welcome"}], "limit": {"times": 2, "per": "day"}},
        **{name: {"on": name, "rewards": [{"reward": name}]} for name in ("cash", "welcome", "code")},
    },
    "vitals": {"energy": {"start": 90, "atTop": {"rewards": [{"currency": "XP", "value": 7}], "then": 10}}},
    "boosts": {"tea": {"by": 2, "currencies": ["XP"], "lasts": {"duration": 1, "unit": "hours"}}},
    "inventory": {"cap": 5},
    "items": {"tea": {"price": {"coins": 3}, "use": [{"boost": "tea"}, {"vital": "energy", "value": 15}, {"currency": "XP", "value": 20}]}},
    "streaks": {
        "daily": {"on": ["check_in", "e"], "milestones": {"1": {"award": {"coins": 7}}, "3": {"award": {"coins": 9}}}},
        "weekly": {"on": "w", "every": "week", "days": 2, "personal": True},
    },
    "achievements": {
        "told": {"title": "Told", "requirements": [{"progress": "told", "threshold": 3}], "rewards": COINS},
        "shopper": {"title": "Shopper", "requirements": [{"metric": "bought", "threshold": 1}], "rewards": COINS},
    },
    "tiers": {"club": {"earned": "XP", "steps": [{"name": "a", "at": 0}, {"name": "b", "at": 30, "rewards": COINS}]}},
    "rewards": {
        "cash": {"type": "currency", "currency": "coins", "value": 50, "clawback": "debt"},
        "welcome": {"type": "currency", "currency": "coins", "value": 5, "grant": "claim", "limit": 2},
        "code": {"type": "coupon", "grant": "claim"},
        "shirt": {"type": "custom", "data": {"sku": "m"}, "stock": 9, "limit": 1},
    },
    "store": {"mug": {"price": {"coins": 10}, "fulfilment": "manual", "stock": 9, "limit": 2},
              "month": {"price": {"coins": 5}, "fulfilment": "code", "pool": "spring"}},
    "quests": {"tour": {"title": "Tour", "autoStart": False, "autoComplete": False, "rewards": [*COINS, {"reward": "shirt"}],
                        "steps": [{"id": "sign", "rewards": COINS}]}},
    "boards": {"xp": {"currency": "XP", "periods": ["daily", "all-time"]}},
    "leagues": {"weekly": {"currency": "XP", "tiers": [{}], "cohorts": {"size": 5}}},
    "guards": {"far": {"kind": "bounds", "on": "task", "field": "metres", "max": 9, "action": "hold", "score": 30}},
}  # fmt: skip
SOON = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()
WHO = {"userId": "{user}"}


def send(type_: str, **more: Any) -> Request:
    return "POST", "/v1/events", {**WHO, "type": type_, **more}


def ask(path: str, **body: Any) -> Request:
    """A command whose body names its user."""
    return "POST", path, {**WHO, **body}


def about(path: str, **body: Any) -> Request:
    """A command whose path names what it is about."""
    return "POST", path, body


GIFT, START = send("gift"), ask("/v1/quests/tour/start")
SIGN, BUY, REDEEM = ask("/v1/quests/tour/steps/sign/complete"), ask("/v1/items/tea/buy"), ask("/v1/store/mug/redeem")
FAR = send("task", payload={"metres": 10})
ACTIVE = [send("e", occurredAt=f"2026-01-{day:02d}T12:00:00Z") for day in (5, 6, 8)]

# What a command does, what comes before it, and the command. {event} is the event of what came last before it.
COMMANDS: dict[str, tuple[list[Request], Request]] = {
    "apply a waited event":       ([],                 send("task")),
    "check in":                   ([],                 ask("/v1/check-in")),
    "buy an item":                ([GIFT],             ask("/v1/items/tea/buy", quantity=2)),
    "use an item":                ([GIFT, BUY],        ask("/v1/items/tea/use")),
    "spend":                      ([GIFT],             ask("/v1/currency/spend", currency="coins", amount=30)),
    "be refused a spend":         ([GIFT],             ask("/v1/currency/spend", currency="coins", amount=101)),
    "claim a reward":             ([send("welcome")],  ask("/v1/rewards/{event}-0/claim")),
    "claim a code":               ([send("code")],     ask("/v1/rewards/{event}-0/claim")),
    "revoke a grant into debt":   ([send("cash"), ask("/v1/currency/spend", currency="coins", amount=30), send("cash")],
                                   about("/v1/rewards/{event}-0/revoke", reason="by mistake")),
    "redeem in the store":        ([GIFT],             REDEEM),
    "redeem a code in the store": ([GIFT],             ask("/v1/store/month/redeem")),
    "complete a fulfilment":      ([GIFT, REDEEM],     about("/v1/fulfilments/{event}/complete", note="sent")),
    "fail a fulfilment":          ([GIFT, REDEEM],     about("/v1/fulfilments/{event}/fail", note="lost")),
    "start a quest":              ([],                 START),
    "complete a step":            ([START],            SIGN),
    "complete a quest":           ([START, SIGN],      ask("/v1/quests/tour/complete")),
    "report progress":            ([],                 ask("/v1/achievements/told/progress", amount=3)),
    "restore a streak":           (ACTIVE,             about("/v1/users/{user}/streaks/daily/restore", reason="we were down")),
    "pause a streak":             (ACTIVE,             about("/v1/users/{user}/streaks/daily/pause", until=SOON)),
    "choose a target":            ([GIFT],             about("/v1/users/{user}/streaks/weekly/target", days=5)),
    "choose when a day starts":   ([GIFT],             about("/v1/users/{user}/streaks/weekly/day-start", hours=3)),
    "change a profile":           ([GIFT],             about("/v1/users", id="{user}", displayName="Ada")),
    "block a user":               ([send("task")],     about("/v1/users/{user}/block", reason="a bot", standing="remove")),
    "unblock a user":             ([send("task"), about("/v1/users/{user}/block", reason="a bot", standing="remove")],
                                   about("/v1/users/{user}/unblock", reason="no bot")),
    "approve what was held":      ([FAR],              about("/v1/reviews/{event}/approve", reason="seen")),
    "deny what was held":         ([FAR],              about("/v1/reviews/{event}/deny", reason="seen")),
}  # fmt: skip


async def prepared(questline: Instance, before: list[Request]) -> tuple[App, dict[str, str]]:
    """A project with two users to whom all that comes before has happened; the event of the last of that by user."""
    app = await questline.app(PROGRAM)
    for pool in ("code", "spring"):
        assert (await app.post(f"/v1/coupons/{pool}", json=[f"{pool}-{n}" for n in range(4)])).status_code == 200
    last = {}
    for user in ("ada", "bob"):
        for number, request in enumerate(before):
            answer = await done(app, request, user, f"before-{number}", last.get(user, ""))
            assert answer.status_code < 300, answer.text
            told = answer.json()
            last[user] = told.get("eventId") or told.get("transfer", {}).get("eventId", "")
    return app, last


async def done(app: App, request: Request, user: str, key: str, event: str) -> httpx.Response:
    method, path, body = json.loads(json.dumps(request).replace("{user}", user).replace("{event}", event))
    headers = {"Idempotency-Key": f"{key}-{user}", "Prefer": "wait=10"}
    return await app.request(method, path, json=body, headers=headers)


# Counted in memory and written now and then; a key's last use; what a writer counts by itself until it is read.
_NOT_OF_USERS = ("event_types", "api_keys", "board_counts")
_OF_ONE_RUN = re.compile(
    r'"(?:id|project_id|user_hash|key_hash|seq|partition|duration_us|board_period|league_week|organization_id)": [^,}]+'
)
_DRAWN = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+(?:\+00:00|Z)|\\\\x[0-9a-f]+"
)


async def rows_of(app: App) -> list[str]:
    """Every row of a project, of every table, with its table's name."""
    owner = app.instance.owner
    tables = await owner.fetch(
        """SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'project_id'
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace AND c.relname <> ALL ($1)
        ORDER BY 1""",
        _NOT_OF_USERS,
    )
    rows = " UNION ALL ".join(
        f"SELECT '{table} ' || to_jsonb(t)::text FROM {table} t WHERE project_id = (SELECT id FROM projects WHERE app_id = $1)"
        for (table,) in tables
    )
    return sorted(row for (row,) in await owner.fetch(rows, app.app_id))


async def comparable(app: App, rows: list[str]) -> list[str]:
    """The rows without what differs between two projects to which the same happened: ids, times of receipt, hashes."""
    users = await app.instance.owner.fetch(
        "SELECT u.id, external_id FROM users u JOIN projects p ON p.id = u.project_id WHERE app_id = $1", app.app_id
    )
    rows = [row.replace(app.app_id, "app") for row in rows]
    for id_, user in users:
        rows = [row.replace(f'"user_id": {id_},', f'"user_id": "{user}",') for row in rows]
    return sorted(_DRAWN.sub("-", _OF_ONE_RUN.sub("-", row)) for row in rows)


def told(answer: httpx.Response) -> Any:
    """An answer without ids, and without whether it is a repeat."""
    body = json.loads(_DRAWN.sub("-", answer.text))
    return answer.status_code, {
        name: value for name, value in body.items() if name not in ("duplicate", "correlationId")
    }


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_command_that_dies_behind_any_statement_and_is_repeated_under_its_key_is_done_once(
    questline: Instance, name: str
) -> None:
    before, command = COMMANDS[name]
    calm, last = await prepared(questline, before)
    undisturbed = {user: await done(calm, command, user, "k", last.get(user, "")) for user in ("ada", "bob")}
    expected = {409} if name.startswith("be refused") else {200, 201}
    assert {answer.status_code for answer in undisturbed.values()} <= expected, undisturbed["ada"].text

    app, last = await prepared(questline, before)
    as_before = await rows_of(app)
    for behind in itertools.count(1):
        with dying(behind, until="COMMIT;") as death:
            answer = await done(app, command, "ada", "k", last.get("ada", ""))
        if not death.came:
            break
        assert (answer.status_code, await rows_of(app)) == (503, as_before), death.ran[-1]
    assert behind > 5
    assert told(answer) == told(undisturbed["ada"])

    for behind in itertools.count(1):  # all was committed, and the answer lost
        with dying(behind, since="COMMIT") as death:
            answer = await done(app, command, "bob", "k", last.get("bob", ""))
        if not death.came:
            break
        assert answer.status_code == 503, death.ran[-1]
    assert behind > 1
    assert (told(answer), answer.json().get("duplicate", True)) == (told(undisturbed["bob"]), True)

    here, there = [Counter(await comparable(one, await rows_of(one))) for one in (app, calm)]
    assert (sorted(here - there), sorted(there - here)) == ([], [])
    assert await misbooked(questline.owner) == []


def test_the_table_has_every_command_of_the_api() -> None:
    paths = [path for _, (_, path, _) in COMMANDS.values()]
    others = [path for handler in RESOURCES if handler.opt.get("command") for path in handler.paths]
    patterns = [*HOT_PATTERNS, *(re.compile("/v1" + re.sub(r"\{[^}]+\}", "[^/]+", path)) for path in others)]
    assert [pattern.pattern for pattern in patterns if not any(map(pattern.fullmatch, paths))] == []
