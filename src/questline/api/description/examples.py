"""An example of each body and answer, by the name of its schema. A test holds each against its schema."""

from typing import Any

from questline.api.description.access import ACCESS, AT, ID
from questline.api.description.operations import EXAMPLES as OPERATIONS

EVENT: dict[str, Any] = {
    "type": "task_completed",
    "userId": "ada",
    "payload": {"difficulty": "hard"},
    "occurredAt": AT,
    "eventId": "task-1",
}
OUTCOME: dict[str, Any] = {
    "transfers": [{"currency": "coins", "debit": "issuance", "credit": "user", "amount": 15, "rule": "rule:hard-task"}],
    "balances": {"coins": 15},
    "levels": [{"track": "XP", "before": 1, "after": 2}],
    "streaks": [{"streak": "daily", "before": 0, "after": 1, "longest": 1}],
    "unlocks": [{"achievement": "first-hard", "tier": 1, "times": 1}],
    "records": [],
    "guards": [],
    "programVersion": 3,
}
RULE: dict[str, Any] = {
    "on": "task_completed",
    "when": {"field": "difficulty", "op": "eq", "value": "hard"},
    "award": {"XP": 40, "coins": 15},
    "limit": {"times": 10, "per": "day"},
}
DEFINITIONS: dict[str, dict[str, Any]] = {
    "Currency": {"kind": "xp", "levels": {"curve": "sqrt", "base": 100}},
    "Metric": {"on": "task_completed", "count": True},
    "Rule": RULE,
    "Streak": {"on": "task_completed", "every": "day", "freezes": {"max": 2, "earnEvery": 7}},
    "Achievement": {
        "title": "Ten hard ones",
        "requirements": [{"metric": "hard_tasks", "operator": "gte", "threshold": 10}],
        "rewards": [{"currency": "coins", "value": 100}],
    },
    "Board": {"currency": "XP", "periods": ["weekly", "all-time"]},
    "Vital": {"max": 100, "start": 50, "atTop": {"rewards": [{"currency": "XP", "value": 1}], "then": 0}},
    "Quest": {
        "title": "First week",
        "type": "story",
        "ordered": True,
        "prerequisites": [{"level": "XP", "threshold": 2}],
        "steps": [
            {"id": "tasks", "on": "task_completed", "count": 5, "rewards": [{"currency": "coins", "value": 10}]},
            {"id": "hard", "requirements": [{"metric": "hard_tasks", "threshold": 3, "since": "start"}]},
        ],
        "timeLimit": {"duration": 7, "unit": "days"},
        "rewards": [{"currency": "XP", "value": 100}],
    },
    "Item": {"title": "Coffee", "price": {"coins": 10}, "use": [{"vital": "energy", "value": 15}]},
    "Segment": {"when": {"field": "level.XP", "op": "gte", "value": 5}},
    "Boost": {"by": 2, "currencies": ["XP"], "from": "2026-12-05T00:00:00Z", "until": "2026-12-07T00:00:00Z"},
    "Season": {
        "start": "2026-12-01",
        "end": "2027-03-01",
        "reset": {"coins": "zero"},
        "boards": {
            "xp": {
                "currency": "XP",
                "rewards": [{"from": 1, "to": 3, "rewards": [{"currency": "coins", "value": 100}]}],
            }
        },
    },
    "League": {
        "currency": "XP",
        "cohorts": {"size": 30},
        "promote": 5,
        "demote": 5,
        "tiers": [{"title": "Bronze"}, {"title": "Silver"}, {"title": "Gold"}],
    },
    "StoreItem": {
        "title": "Mug",
        "price": {"coins": 500},
        "fulfilment": "manual",
        "stock": 100,
        "limit": 1,
        "badge": "founder",
    },
    "NamedReward": {
        "type": "currency",
        "currency": "coins",
        "value": 50,
        "grant": "claim",
        "expiresAfter": {"duration": 7, "unit": "days"},
    },
    "Guard": {
        "kind": "rate",
        "on": "task_completed",
        "times": 10,
        "window": {"duration": 1, "unit": "minutes"},
        "action": "hold",
        "score": 20,
    },
    "Tiers": {"earned": "XP", "steps": [{"name": "bronze", "at": 0}, {"name": "silver", "at": 1_000}]},
    "Commission": {
        "on": "purchase",
        "currency": "coins",
        "plans": [{"name": "standard", "basisPoints": 500}],
        "to": "affiliate",
    },
}
NAMES = {
    "Currency": "XP", "Metric": "hard_tasks", "Rule": "hard-task", "Streak": "daily", "Achievement": "ten-hard", "Board": "xp",
    "Vital": "energy", "Item": "coffee",
    "Segment": "regulars", "Boost": "weekend", "Tiers": "club", "Commission": "sales",
    "Season": "winter", "League": "weekly", "Quest": "first-week", "Guard": "burst",
    "NamedReward": "welcome", "StoreItem": "mug",
}  # fmt: skip
PROGRAM: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "currencies": {"XP": DEFINITIONS["Currency"], "coins": {"kind": "currency"}},
    "rules": {"hard-task": RULE},
}

APP = {
    "id": "todo", "name": "Todo", "defaultTimezone": "Europe/Berlin", "settings": {"dedupeStrategy": "full"},
    "webhookUrl": None, "programVersion": 0, "createdAt": AT, "archivedAt": None,
    "rateLimits": {"key": {"ingest": 2000}, "project": {"ingest": 10000, "read": 500}},
}  # fmt: skip
_GRANT: dict[str, Any] = {
    "grant": f"{ID}-0", "reward": "welcome", "title": "Welcome", "type": "currency", "status": "PENDING",
    "cause": "rule:welcome", "grantedAt": AT, "expiresAt": AT, "settledAt": None, "given": [], "code": None,
}  # fmt: skip
_ITEM = {"item": "coffee", "title": "Coffee", "units": 2, "expiresAt": None, "readyAt": None}
_NOTICE = {
    "eventId": ID, "ordinal": 0, "type": "level.up", "data": {"track": "XP", "before": 1, "after": 2}, "at": AT,
}  # fmt: skip
_SUMMARY = {
    "id": ID, "eventId": "task-1", "type": "task_completed", "userId": "ada", "occurredAt": AT, "receivedAt": AT,
    "status": "processed", "reason": "PROCESSED",
}  # fmt: skip
_TRANSFER = OUTCOME["transfers"][0]
_PLACE = {"rank": 1, "userId": "ada", "displayName": "Ada", "score": 400, "reachedAt": AT, "appId": "todo"}
_LEAGUE = {
    "league": "weekly", "title": "", "tier": 2, "tierTitle": "Silver", "tiers": 3, "week": "2026-W47",
    "endsAt": "2026-11-23T00:00:00Z", "cohort": 14, "members": 30, "rank": 1, "score": 400, "zone": "promotion",
    "results": [
        {"week": "2026-W46", "tier": 1, "cohort": 3, "score": 310, "rank": 2, "outcome": "promoted"},
    ],
}  # fmt: skip
_SEASON = {
    "season": "winter", "title": "", "start": "2026-12-01T00:00:00Z", "end": "2027-03-01T00:00:00Z", "ended": False,
    "places": [{"board": "xp", "rank": 1, "score": 400}],
}  # fmt: skip
_VERSION = {"version": 3, "appliedBy": f"key:{ID}", "appliedAt": AT}

_SWEEP = {
    "id": ID, "kind": "incident", "name": "outage-1", "programVersion": 0, "status": "finished", "progress": 1.0,
    "users": 1200, "examined": 800, "sent": 40, "reason": "our app was down", "startedBy": f"key:{ID}", "startedAt": AT,
    "finishedAt": AT,
    "payload": {
        "incident": "outage-1", "from": "2025-11-02T20:00:00+00:00", "until": "2025-11-03T01:30:00+00:00", "streaks": [],
    },
}  # fmt: skip

SCHEMAS: dict[str, Any] = {
    **ACCESS,
    "AppCreate": {"id": "todo", "name": "Todo", "defaultTimezone": "Europe/Berlin"},
    "App": APP,
    "ProjectRates": {"key": {"ingest": 2000}, "project": {"ingest": 10000, "read": 500}},
    "AppCreated": {"app": APP, "bootstrapApiKey": f"sk_live_{'1f3a' * 16}"},
    "UserUpsert": {"id": "ada", "displayName": "Ada", "timezone": "Europe/London", "attributes": {"tier": "gold"}},
    "User": {
        "id": "ada", "displayName": "Ada", "attributes": {"tier": "gold"}, "timezone": "Europe/London", "createdAt": AT,
    },
    "Profile": {
        "user": {
            "id": "ada", "displayName": "Ada", "attributes": {"tier": "gold"}, "timezone": "Europe/London",
            "blocked": False, "createdAt": AT,
        },
        "levels": [
            {"track": "XP", "title": "", "xp": 160, "level": 2, "levelXp": 100, "nextLevelXp": 400, "progress": 0.2}
        ],
        "streaks": [
            {"streak": "daily", "title": "", "current": 4, "longest": 9, "freezes": 1, "activeNow": True,
             "daysNeeded": 1, "daysActive": 1, "protectedUntil": None}
        ],
        "balances": [{"currency": "coins", "title": "", "amount": 45, "decimals": 0, "debt": 0}],
        "achievements": [
            {
                "achievement": "ten-hard", "title": "Ten hard ones", "description": "", "type": "MILESTONE",
                "category": "work", "points": 10, "secret": False, "unlocked": False, "tier": 0, "tiers": 1, "times": 0,
                "unlockedAt": None, "progress": 0.4,
            }
        ],
        "metrics": [{"metric": "hard_tasks", "value": 4}],
        "vitals": [{"vital": "energy", "title": "Energy", "value": 70, "min": 0, "max": 100}],
        "badges": [{"badge": "founder", "title": "Founder", "earnedAt": AT}],
        "rewards": [_GRANT],
        "items": [_ITEM],
        "suspicion": 20,
        "tiers": [{"tier": "club", "title": "Club", "step": "bronze", "next": "silver", "progress": 0.4}],
        "segments": ["regulars"],
        "boosts": [{"boost": "weekend", "title": "", "by": 2, "until": "2026-12-07T00:00:00Z", "personal": False}],
        "quests": [
            {
                "quest": "first-week", "title": "First week", "description": "", "type": "story", "difficulty": "easy",
                "category": "", "status": "IN_PROGRESS", "available": False, "times": 0, "startedAt": AT,
                "expiresAt": "2026-11-28T12:00:00Z", "endedAt": None, "progress": 0.4,
                "steps": [
                    {
                        "step": "tasks", "title": "", "description": "", "optional": False, "manual": False, "open": True,
                        "complete": False, "progress": 0.4,
                    }
                ],
            }
        ],
        "leagues": [_LEAGUE],
        "seasons": [_SEASON],
        "programVersion": 3,
    },
    "ReferralCode": {"code": "7KX2M9QA"},
    "Referrals": {
        "code": "7KX2M9QA", "referrer": None, "brought": 1, "qualified": 1, "nextCursor": None,
        "items": [{"userId": "bob", "at": AT, "status": "QUALIFIED"}],
    },
    "ReviewPage": {
        "items": [
            {
                "eventId": ID, "externalId": "task-1", "userId": "ada", "type": "task_completed",
                "payload": EVENT["payload"],
                "occurredAt": AT, "receivedAt": AT, "status": "waiting", "reason": "", "decidedBy": None,
                "guards": [
                    {"guard": "burst", "kind": "rate", "action": "hold", "values": {"count": 11, "times": 10}, "score": 20}
                ],
            }
        ],
        "nextCursor": None,
    },
    "ReviewDecision": {"reason": "a known customer"},
    "Reviewed": {"eventId": ID, "status": "approved", "decidedBy": ID, "duplicate": False, "outcome": OUTCOME},
    "Block": {"reason": "a bot", "standing": "remove"},
    "Unblock": {"reason": "it was none"},
    "Blocked": {"userId": "ada", "blocked": True, "eventId": ID, "duplicate": False},
    "CheckIn": {"userId": "ada"},
    "Claim": {"userId": "ada"},
    "StartQuest": {"userId": "ada"},
    "CompleteStep": {"userId": "ada"},
    "CompleteQuest": {"userId": "ada"},
    "StockList": {"items": [{"stock": "store:mug", "bound": 100, "taken": 12, "left": 88}]},
    "Redeem": {"userId": "ada"},
    "Settle": {"note": "DHL 00340434161094042557"},
    "DeliveryView": {"status": "PENDING", "tries": 0, "lastAnswer": "503", "nextTryAt": AT},
    "FulfilmentList": {
        "items": [
            {
                "fulfilment": ID, "userId": "ada", "item": "ticket", "title": "Ticket", "method": "webhook",
                "status": "PENDING", "price": {"coins": 900}, "redeemedAt": AT, "settledAt": None, "note": "",
                "code": None,
                "delivery": {"status": "PENDING", "tries": 3, "lastAnswer": "503", "nextTryAt": AT},
            }
        ],
        "nextCursor": None,
    },
    "Revoke": {"policy": "debt", "reason": "fraud"},
    "Codes": ["SPRING-7F3K", "SPRING-9QXM"],
    "Uploaded": {"pool": "spring", "codes": 2, "new": 2, "total": 2, "left": 2},
    "PoolView": {"pool": "spring", "total": 2, "drawn": 1, "left": 1},
    "GrantList": {"items": [_GRANT], "nextCursor": None},
    "Buy": {"userId": "ada", "quantity": 2},
    "Use": {"userId": "ada"},
    "Progress": {"userId": "ada", "amount": 1},
    "Preview": {
        "name": "ten-hard", "programVersion": 3, "users": 1200, "examined": 1200, "found": 2, "cost": {"coins": 200},
        "sample": ["ada", "bob"], "nextCursor": None, "sweep": None,
    },
    "SweepView": _SWEEP,
    "Incident": {
        "id": "outage-1", "from": "2025-11-02T20:00:00Z", "until": "2025-11-03T01:30:00Z", "reason": "our app was down",
    },
    "IncidentList": {"items": [_SWEEP], "nextCursor": None},
    "Pause": {"from": "2026-12-24", "until": "2026-12-31"},
    "Restore": {"reason": "was in hospital", "from": "2026-11-02", "until": "2026-11-04"},
    "Target": {"days": 5},
    "DayStart": {"hours": 4},
    "Done": {"status": "processed", "eventId": ID, "duplicate": False, "outcome": OUTCOME},
    "Inventory": {"items": [_ITEM], "units": 2, "cap": 5, "by": "units"},
    "NoticeList": {"items": [_NOTICE], "nextCursor": None},
    "Standings": {
        "achievement": "ten-hard", "title": "Ten hard ones", "type": "MILESTONE", "unlocked": True, "tier": 1, "tiers": 1,
        "times": 1, "unlockedAt": AT, "progress": 1.0,
        "requirements": [
            {
                "kind": "metric", "name": "hard_tasks", "operator": "gte", "threshold": 10,
                "timeframe": {"duration": 7, "unit": "days"}, "value": 10, "met": True, "progress": 1.0,
            }
        ],
        "history": [{"eventId": ID, "at": AT, "tier": 1, "times": 1}],
        "nextCursor": None,
    },
    "ProgressHistory": {
        "items": [
            {"eventId": ID, "at": AT, "kind": "metric", "name": "hard_tasks", "value": 7, "progress": 0.7},
        ],
        "nextCursor": None,
    },
    "History": {
        "items": [
            {
                "eventId": ID, "type": "task_completed", "occurredAt": AT, "receivedAt": AT, "status": "processed",
                "reason": "PROCESSED", "programVersion": 3, "rules": ["hard-task"],
                "changes": [
                    {"kind": "transfer", **_TRANSFER},
                    {"kind": "level", "track": "XP", "before": 1, "after": 2},
                ],
            }
        ],
        "nextCursor": None,
    },
    "EventView": {
        **_SUMMARY,
        "payload": EVENT["payload"], "source": None, "schemaVersion": None, "specVersion": None, "partitionKey": None,
        "correlationId": None, "context": None, "sentWith": None, "message": "",
        "attempts": [
            {"number": 1, "status": "processed", "reason": "PROCESSED", "message": None, "durationUs": 310, "at": AT}
        ],
        "decision": {
            "status": "processed", "reason": "PROCESSED", "message": "", "programVersion": 3, "transfers": [_TRANSFER],
            "trace": {"fired": ["hard-task"]},
            "explanation": [
                {"kind": "rules", "name": "hard-task", "fired": True, "failed": None, "note": ""},
                {
                    "kind": "rules", "name": "easy-task", "fired": False, "note": "",
                    "failed": {
                        "field": "difficulty", "op": "eq", "expected": "easy", "actual": "hard", "missing": False,
                    },
                },
            ],
        },
        "review": None,
    },
    "EventPage": {"items": [_SUMMARY], "nextCursor": None},
    "LeaderboardPage": {
        "board": "xp", "metric": "XP", "scope": "APP", "period": "weekly", "periodKey": "2026-W47", "ties": "first",
        "decimals": 0, "total": 1, "entries": [_PLACE], "nextCursor": None, "me": _PLACE, "aroundMe": [_PLACE],
        "league": None,
    },
    "CohortView": {"tier": 2, "tierTitle": "Silver", "cohort": 14, "promote": 5, "demote": 5, "zone": "promotion"},
    "UserLeagues": {"items": [_LEAGUE]},
    "Plan": {
        "changes": [{"action": "change", "kind": "rules", "name": "hard-task", "fields": ["award"], "note": ""}],
        "errors": [],
        "orderDependent": {},
    },
    "Version": {**_VERSION, "document": PROGRAM},
    "VersionList": {"items": [_VERSION], "nextCursor": None},
    "Event": EVENT,
    "Accepted": {
        "status": "accepted", "eventId": ID, "idempotencyKey": "task-1", "duplicate": False, "correlationId": ID,
    },
    "Applied": {
        "status": "processed", "eventId": ID, "idempotencyKey": "task-1", "duplicate": False, "correlationId": ID,
        "reason": "PROCESSED", "message": "", "outcome": OUTCOME,
    },
    "Batch": {"events": [EVENT]},
    "BareBatch": [EVENT],
    "BatchResult": {
        "accepted": 1, "duplicate": 0, "rejected": 1,
        "results": [
            {"index": 0, "status": "accepted", "eventId": ID, "idempotencyKey": "task-1"},
            {
                "index": 1, "status": "rejected", "reason": "INVALID_ENVELOPE", "code": "invalid-envelope",
                "message": "userId: is missing", "field": "userId",
            },
        ],
    },
    "Spend": {"userId": "ada", "currency": "coins", "amount": 10, "idempotencyKey": "hat-1"},
    "Spent": {
        "transfer": {"eventId": ID, "currency": "coins", "amount": 10, "debit": "user", "credit": "burn"},
        "balance": 35, "duplicate": False,
    },
    **OPERATIONS,
    "Program": PROGRAM,
    "JsonSchema": {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Questline program"},
    "Alive": {"status": "alive"},
    "Ready": {"status": "ready", "dependencies": {"postgres": "ok", "migrations": "ok"}},
}  # fmt: skip
