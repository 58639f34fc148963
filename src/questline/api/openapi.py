"""The OpenAPI 3.1 document: from the handlers' types, and from a table for the paths that are not Litestar's."""

from typing import Any

from litestar import Litestar

_EVENT_EXAMPLE = {
    "type": "task_completed",
    "userId": "ada",
    "payload": {"difficulty": "hard"},
    "occurredAt": "2026-11-21T12:00:00Z",
    "eventId": "task-1",
}
_ACCEPTED_EXAMPLE = {
    "status": "accepted",
    "eventId": "019aa8f2-6f3e-7000-8000-000000000000",
    "idempotencyKey": "task-1",
    "duplicate": False,
    "correlationId": "019aa8f2-6f3e-7000-8000-000000000000",
}
_PROBLEM = {
    "description": "A problem document (RFC 9457) with a stable `code`.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}


def document(app: Litestar) -> dict[str, Any]:
    """Return the whole document."""
    schema = app.openapi_schema.to_schema()
    for path, item in _hot_paths().items():
        schema["paths"].setdefault(path, {}).update(item)
    for path, item in schema["paths"].items():
        for operation in item.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"] = {
                    status: answer
                    for status, answer in operation["responses"].items()
                    if not status.startswith(("4", "5"))
                }
                operation["responses"]["default"] = _PROBLEM
                if path not in ("/health", "/ready"):
                    operation.setdefault("security", [{"apiKey": []}, {"bearer": []}])
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM_SCHEMA
    components["securitySchemes"] = {
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "bearer": {"type": "http", "scheme": "bearer"},
        "operator": {"type": "apiKey", "in": "header", "name": "X-Admin-Token"},
    }
    return schema


def _hot_paths() -> dict[str, Any]:
    return {
        "/v1/events": _post(
            "sendEvent",
            "Accept one event: 202 once it is durable; with `Prefer: wait=N`, 200 with its outcome.",
            {"application/json": {"schema": _EVENT_SCHEMA, "example": _EVENT_EXAMPLE}},
            {
                "202": _answer("Durable.", _ACCEPTED_SCHEMA, _ACCEPTED_EXAMPLE),
                "200": _answer("Applied.", {"type": "object"}),
            },
        ),
        "/v1/events/batch": _post(
            "sendBatch",
            "Accept up to 1,000 events, each answered for itself.",
            {"application/json": {"schema": _BATCH_SCHEMA, "example": {"events": [_EVENT_EXAMPLE]}}},
            {"202": _answer("A result an item.", _RESULTS_SCHEMA)},
        ),
        "/v1/events/track": _post(
            "track",
            "Accept one event, or many under `events`.",
            {"application/json": {"schema": {"type": "object"}, "example": _EVENT_EXAMPLE}},
            {"202": _answer("Durable.", {"type": "object"})},
        ),
        "/v1/currency/spend": _post(
            "spend",
            "Take an amount of a currency from a user, once under its key; 409 insufficient-balance takes nothing.",
            {"application/json": {"schema": _SPEND_SCHEMA, "example": _SPEND_EXAMPLE}},
            {"201": _answer("Taken.", _SPENT_SCHEMA, _SPENT_EXAMPLE)},
        ),
        "/v1/ingest/stream": _post(
            "stream",
            "Accept NDJSON of any length; `?results=errors` answers with rejected items only.",
            {"application/x-ndjson": {"schema": {"type": "string"}}},
            {"200": {"description": "A line an item and a summary.", "content": {"application/x-ndjson": {}}}},
        ),
    }


def _post(operation: str, summary: str, content: dict[str, Any], responses: dict[str, Any]) -> dict[str, Any]:
    return {
        "post": {
            "operationId": operation,
            "summary": summary,
            "tags": ["events"],
            "requestBody": {"required": True, "content": content},
            "responses": responses,
        }
    }


def _answer(description: str, schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {"application/json": content}}


_EVENT_SCHEMA = {
    "type": "object",
    "required": ["type", "userId"],
    "properties": {
        "type": {"type": "string", "maxLength": 128},
        "userId": {"type": "string", "maxLength": 256},
        "payload": {"type": "object"},
        "occurredAt": {"type": ["string", "integer"], "description": "RFC 3339, or epoch milliseconds."},
        "eventId": {"type": "string", "maxLength": 512},
        "idempotencyKey": {"type": "string", "maxLength": 512},
        "source": {"type": "string", "maxLength": 256},
        "schemaVersion": {"type": ["string", "number"]},
        "specVersion": {"type": ["string", "number"]},
        "partitionKey": {"type": "string", "maxLength": 256},
    },
}
_BATCH_SCHEMA = {
    "type": "object",
    "properties": {"events": {"type": "array", "items": _EVENT_SCHEMA, "maxItems": 1000}},
}
_ACCEPTED_SCHEMA = {
    "type": "object",
    "required": list(_ACCEPTED_EXAMPLE),
    "properties": {
        "status": {"const": "accepted"},
        "eventId": {"type": "string"},
        "idempotencyKey": {"type": "string"},
        "duplicate": {"type": ["boolean", "null"]},
        "correlationId": {"type": "string"},
    },
}
_RESULTS_SCHEMA = {
    "type": "object",
    "required": ["accepted", "duplicate", "rejected", "results"],
    "properties": {
        "accepted": {"type": "integer"},
        "duplicate": {"type": "integer"},
        "rejected": {"type": "integer"},
        "results": {"type": "array", "items": {"type": "object"}},
    },
}

_SPEND_EXAMPLE = {"userId": "ada", "currency": "coins", "amount": 10, "idempotencyKey": "hat-1"}
_SPEND_SCHEMA = {
    "type": "object",
    "required": ["userId", "currency", "amount"],
    "additionalProperties": False,
    "properties": {
        "userId": {"type": "string", "maxLength": 256},
        "currency": {"type": "string"},
        "amount": {"type": "integer", "minimum": 1},
        "reason": {"type": "string"},
        "idempotencyKey": {"type": ["string", "null"], "maxLength": 512},
    },
}
_SPENT_EXAMPLE = {
    "transfer": {
        "eventId": "019aa8f2-6f3e-7000-8000-000000000000",
        "currency": "coins",
        "amount": 10,
        "debit": "user",
        "credit": "burn",
    },
    "balance": 5,
    "duplicate": False,
}
_SPENT_SCHEMA = {
    "type": "object",
    "required": ["transfer", "balance", "duplicate"],
    "properties": {
        "transfer": {
            "type": "object",
            "properties": {name: {} for name in ("eventId", "currency", "amount", "debit", "credit")},
        },
        "balance": {"type": "integer"},
        "duplicate": {"type": "boolean"},
    },
}
