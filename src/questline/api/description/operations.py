"""Examples of what operators send and are answered, by the name of the schema."""

from typing import Any

_ID = "019aa8f2-6f3e-7000-8000-000000000000"
_AT = "2026-11-21T12:00:00Z"

_REPLAY: dict[str, Any] = {
    "id": _ID, "mode": "reprocess", "metric": None, "programVersion": 4, "type": "task_completed", "status": "running",
    "progress": 0.5, "total": 1200, "examined": 600, "events": 900, "changed": 40, "reason": "a rule was wrong",
    "startedBy": "operator", "startedAt": _AT, "finishedAt": None,
}  # fmt: skip

EXAMPLES: dict[str, Any] = {
    "DeadLetterPage": {
        "items": [
            {
                "eventId": _ID, "externalId": "task-1", "project": "shop", "type": "task_completed", "userId": "ada",
                "reason": "RETRY_EXHAUSTED", "message": "the last try failed with TRANSIENT_ERROR", "attempts": 6,
                "receivedAt": _AT, "failedAt": _AT, "discarded": None,
            }
        ],
        "nextCursor": None,
    },
    "DeadLetterCounts": {
        "items": [
            {
                "project": "shop", "reason": "RETRY_EXHAUSTED", "events": 12, "discarded": 1, "oldest": _AT, "newest": _AT,
            }
        ]
    },
    "DeadLetterRetry": {"reasonCode": "RETRY_EXHAUSTED", "from": _AT, "limit": 1000},
    "DeadLetterDiscard": {"eventIds": [_ID], "reason": "a load test sent it"},
    "ReplayStart": {"mode": "reprocess", "type": "task_completed", "from": _AT, "dryRun": True, "reason": "a rule was wrong"},
    "ReplayPreview": {
        "mode": "reprocess", "metric": None, "programVersion": 4, "total": 1200, "examined": 20, "events": 31, "changed": 2,
        "totals": {"coins": -10, "XP": 40},
        "differences": [{"userId": "ada", "events": 2, "amounts": {"coins": -10, "XP": 40}}],
        "nextCursor": "20",
    },
    "ReplayView": _REPLAY,
    "ReplayPage": {"items": [_REPLAY], "nextCursor": None},
    "DeadLettersDone": {"done": 12, "left": 0, "failedBefore": _AT},
}  # fmt: skip
