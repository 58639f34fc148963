"""Bodies and answers that no handler's type tells: those of the hot paths, of programs, of the process."""

import re
from typing import Any

import msgspec

from questline.api.description import dialects
from questline.api.description.examples import DEFINITIONS, NAMES
from questline.api.hot.commands import HOT_COMMANDS, Done
from questline.api.hot.items import ItemResult
from questline.api.hot.spend import Spend, Spent
from questline.control.schema import program_schema
from questline.ingest.segment import KINDS
from questline.model.limits import (
    BATCH_EVENTS_MAX,
    COUPON_CHARS_MAX,
    COUPONS_UPLOAD_MAX,
    EVENT_TYPE_CHARS_MAX,
    KEY_CHARS_MAX,
    SHORT_TEXT_CHARS_MAX,
    USER_ID_CHARS_MAX,
    WAIT_SECONDS_MAX,
)

Json = dict[str, Any]

SECTIONS = {
    "currencies": "Currency", "metrics": "Metric", "rules": "Rule", "streaks": "Streak",
    "achievements": "Achievement", "boards": "Board", "vitals": "Vital", "items": "Item",
    "segments": "Segment", "boosts": "Boost", "tiers": "Tiers", "commissions": "Commission",
    "seasons": "Season", "leagues": "League", "quests": "Quest",
    "rewards": "NamedReward", "guards": "Guard", "store": "StoreItem",
}  # fmt: skip
"""What one entry of each part of a program is called."""

_KEY = {"type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX}
_SHORT = {"type": "string", "maxLength": SHORT_TEXT_CHARS_MAX}
_VERSION_TEXT = {"type": ["string", "number"]}
_ID = {"type": "string", "format": "uuid"}
_YES_NO = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}


def ref(name: str) -> Json:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, *optional: str) -> Json:
    return {"type": "object", "required": [p for p in properties if p not in optional], "properties": properties}


_EVENT: Json = {
    "type": "object",
    "required": ["type", "userId"],
    "properties": dialects.or_null(
        {
            "payload": {"type": "object"},
            "occurredAt": {
                "type": ["string", "number"],
                "description": "RFC 3339, or epoch milliseconds; default: now.",
            },
            "eventId": {**_KEY, "description": "Your id of the event; also its dedupe key where no other is given."},
            "idempotencyKey": _KEY,
            "source": _SHORT,
            "schemaVersion": _VERSION_TEXT,
            "specVersion": _VERSION_TEXT,
            "partitionKey": _SHORT,
            "correlationId": _SHORT,
            "context": {"type": "object", "description": "The circumstances; rules read them as event.context."},
        }
    )
    | {
        "type": {"type": "string", "minLength": 1, "maxLength": EVENT_TYPE_CHARS_MAX, "pattern": "^[^$]"},
        "userId": {"type": "string", "minLength": 1, "maxLength": USER_ID_CHARS_MAX},
    },
}


def _items(schema: str) -> Json:
    """Return the schema of a batch, each of whose items is answered for itself."""
    item = {"anyOf": [ref(schema), {"description": "Whatever else it is, it is rejected for itself."}]}
    return {"type": "array", "items": item, "maxItems": BATCH_EVENTS_MAX}


_ACCEPTED: Json = {
    "status": {"const": "accepted"},
    "eventId": {**_ID, "description": "Ours; of a duplicate, the original's."},
    "idempotencyKey": {"type": "string"},
    "duplicate": {"type": ["boolean", "null"], "description": "Null: a log holds the event, and nobody knows yet."},
    "correlationId": {"type": "string"},
}
_PROBLEM = {
    "type": "object",
    "description": "A problem document (RFC 9457). Further members depend on the code.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "description": "urn:questline:problem: and the code."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; docs/reference/http-api.md lists them."},
        "detail": {"type": "string", "description": "What was wrong, and how to mend it."},
        "errors": {
            "type": "array",
            "description": "Everything that is wrong at once: of a body by `field`, of a program by `path` (and `line`).",
            "items": {"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}},
        },
    },
}


def schemas() -> Json:
    """Return the schemas by name."""
    template = "#/components/schemas/{name}"
    _, structs = msgspec.json.schema_components(
        [Spend, Spent, ItemResult, Done, *dialects.STRUCTS, *(command.body for command in HOT_COMMANDS)],
        ref_template=template,
    )
    results = {"type": "array", "items": ref("ItemResult")}
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    found: Json = {
        **structs,
        "Event": _EVENT,
        **dialects.SCHEMAS,
        "Batch": _object({"events": _items("Event")}),
        "BareBatch": {**_items("Event"), "description": "A batch without a name around it."},
        "Accepted": _object(_ACCEPTED),
        "Applied": _object(
            {
                **_ACCEPTED,
                "status": {"enum": ["processed", "refused", "held", "failed"]},
                "reason": {"type": "string"},
                "message": {"type": "string"},
                "outcome": {"type": "object", "description": "Transfers, balances, levels, streaks and unlocks."},
            }
        ),
        "BatchResult": _object({"accepted": _COUNT, "duplicate": _COUNT, "rejected": _COUNT, "results": results}),
        "Problem": _PROBLEM,
        "Codes": {
            "type": "array",
            "minItems": 1,
            "maxItems": COUPONS_UPLOAD_MAX,
            "items": {"type": "string", "minLength": 1, "maxLength": COUPON_CHARS_MAX},
        },
        "JsonSchema": {"type": "object"},
        "Alive": _object({"status": {"const": "alive"}}),
        "Ready": _object({"status": {"const": "ready"}, "dependencies": texts}),
    }
    return found | _program_schemas()


def _program_schemas() -> Json:
    """Take the program's published schema apart, so that each definition has a name."""
    whole = _relocated(program_schema())
    found: Json = {"Condition": whole.pop("$defs")["condition"]}
    types = whole["properties"]["eventTypes"]
    found["EventType"], types["additionalProperties"] = types["additionalProperties"], ref("EventType")
    for section, name in SECTIONS.items():
        definition = whole["properties"][section]["additionalProperties"]
        whole["properties"][section]["additionalProperties"] = ref(name)
        found[name] = definition
        named = {"name": {"type": "string", "minLength": 1, "maxLength": 128}, **definition["properties"]}
        found[f"{name}Create"] = {**definition, "properties": named, "required": ["name", *definition["required"]]}
        version = {"type": "integer", "description": "The program version that holds it."}
        found[f"{name}Entry"] = _object({"name": {"type": "string"}, "version": version, "definition": ref(name)})
        items = {"type": "object", "additionalProperties": ref(name)}
        found[f"{name}List"] = _object({"version": version, "items": items})
    del whole["$schema"], whole["$id"]
    return found | {"Program": whole}


def _relocated(value: Any) -> Any:
    """Copy a schema whose references point into its own $defs to one that points into the document's components."""
    if isinstance(value, list):
        return [_relocated(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: "#/components/schemas/Condition" if k == "$ref" else _relocated(v) for k, v in value.items()}


def examples() -> Json:
    """Return the examples of schemas that are made from one definition each."""
    found: Json = {}
    for name, definition in DEFINITIONS.items():
        found[name] = definition
        found[f"{name}Create"] = {"name": NAMES[name], **definition}
        found[f"{name}Entry"] = {"name": NAMES[name], "version": 3, "definition": definition}
        found[f"{name}List"] = {"version": 3, "items": {NAMES[name]: definition}}
    return found


def _body(*media: str, schema: str) -> Json:
    return {"required": True, "content": {m: {"schema": ref(schema)} for m in media}}


def _answer(description: str, *media: str, schema: str) -> Json:
    return {"description": description, "content": {m: {"schema": ref(schema)} for m in media}}


_JSON, _YAML = "application/json", "application/yaml"
_PROGRAM = _answer("The document; the header ETag has its version.", _JSON, _YAML, schema="Program")
KEY_HEADER = {
    "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": KEY_CHARS_MAX},
    "description": "Repeat a request under the same key: it takes effect once. 409 when the key belongs to another request.",
}  # fmt: skip
_PARTS_KEY_HEADER = {
    **KEY_HEADER,
    "description": "Repeat a request under the same key: items that have no key and no id of their own are told apart by it and "
    "their place, so that each counts once.",
}
_WAIT_HEADER = {
    "name": "Prefer", "in": "header", "schema": {"type": "string"}, "example": "wait=5",
    "description": f"wait=N applies the event at once and answers with its outcome; N up to {WAIT_SECONDS_MAX} seconds.",
}  # fmt: skip

_LINES = {"application/x-ndjson": {"schema": {"type": "string", "description": "One JSON value a line."}}}

OPERATIONS: dict[str, Json] = {
    "getProgram": {"responses": {"200": _PROGRAM}},
    "putEventType": {"requestBody": _body(_JSON, _YAML, schema="EventType")},
    "putProgram": {"requestBody": _body(_JSON, _YAML, schema="Program"), "responses": {"200": _PROGRAM}},
    "planProgram": {"requestBody": _body(_JSON, _YAML, schema="Program")},
    "getProgramSchema": {"responses": {"200": _answer("A JSON Schema (2020-12).", _JSON, schema="JsonSchema")}},
    "upsertUser": {
        "responses": {
            "201": _answer("Created.", _JSON, schema="User"),
            "200": _answer("Updated.", _JSON, schema="User"),
        },
    },
    "uploadCoupons": {
        "requestBody": {
            "required": True,
            "content": {
                _JSON: {"schema": ref("Codes")},
                "application/x-ndjson": {"schema": {"description": "A code a line."}},
            },
        }
    },
    "exportActs": {"responses": {"200": {"description": "An act a line.", "content": _LINES}}},
    "exportOrganizationActs": {"responses": {"200": {"description": "An act a line.", "content": _LINES}}},
    "reportIncident": {
        "responses": {
            "202": _answer("Under way.", _JSON, schema="SweepView"),
            "200": _answer("With `preview`: what it would do.", _JSON, schema="Preview"),
        },
    },
    "startAward": {
        "responses": {
            "202": _answer("Under way.", _JSON, schema="SweepView"),
            "200": _answer("With `preview`: what it would do.", _JSON, schema="Preview"),
        },
    },
    "getInventory": {
        "parameters": [
            {
                "name": "userId",
                "in": "query",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
                "description": "The customer's id of the user.",
            },
        ],
    },
    "startReplay": {
        "responses": {
            "202": _answer("Under way.", _JSON, schema="ReplayView"),
            "200": _answer("With `dryRun`: what a page of it would change.", _JSON, schema="ReplayPreview"),
        },
    },
    "health": {"responses": {"200": _answer("Alive.", _JSON, schema="Alive")}},
    "ready": {"responses": {"200": _answer("Every dependency can be used.", _JSON, schema="Ready")}},
}
"""What is laid over an operation of a handler, by operation id."""

for _section, _name in SECTIONS.items():
    OPERATIONS[f"list{_section.capitalize()}"] = {
        "responses": {"200": _answer("By name.", _JSON, schema=f"{_name}List")},
    }
    OPERATIONS[f"get{_name}"] = {"responses": {"200": _answer("The definition.", _JSON, schema=f"{_name}Entry")}}
    OPERATIONS[f"put{_name}"] = {
        "requestBody": _body(_JSON, _YAML, schema=_name),
        "responses": {"200": _answer("In force.", _JSON, schema=f"{_name}Entry")},
    }
    OPERATIONS[f"add{_name}"] = {
        "requestBody": _body(_JSON, _YAML, schema=f"{_name}Create"),
        "responses": {"201": _answer("In force.", _JSON, schema=f"{_name}Entry")},
    }


def _post(operation: str, tag: str, summary: str, body: Json, answers: Json, *parameters: Json) -> Json:
    return {
        "operationId": operation, "summary": summary, "tags": [tag], "requestBody": body, "responses": answers,
        "parameters": list(parameters),
    }  # fmt: skip


_MANY = {_JSON: {"schema": {"anyOf": [ref("Batch"), ref("BareBatch")]}}}
_ONE_OR_MANY = {_JSON: {"schema": {"anyOf": [ref("Event"), ref("Batch"), ref("BareBatch")]}}}
_ONE_OR_MANY_ANSWERS = {_JSON: {"schema": {"anyOf": [ref("Accepted"), ref("BatchResult")]}}}
_EVENT_FORMS = {
    _JSON: {"schema": ref("Event")},
    "application/cloudevents+json": {"schema": ref("CloudEvent")},
    "application/cloudevents-batch+json": {"schema": _items("CloudEvent")},
}
_STREAM: Json = {  # any text is a stream, and each of its lines an item that is answered for itself
    "application/x-ndjson": {"schema": {"description": "One JSON value a line."}},
    "application/xml": {"schema": {"description": "A root of any name; an <event> for each event."}},
}
_RESULTS = {
    "name": "results", "in": "query", "schema": {"enum": ["all", "errors"]},
    "description": "errors: answer with the rejected items and the summary only.",
}  # fmt: skip

HOT_PATHS: dict[str, Json] = {
    "/v1/events": _post(
        "sendEvent", "events", "Accept one event: answered once it is durable",
        {"required": True, "content": _EVENT_FORMS},
        {
            "202": {"description": "Durable.", "content": _ONE_OR_MANY_ANSWERS},
            "200": _answer("Applied.", _JSON, schema="Applied"),
        },
        KEY_HEADER, _WAIT_HEADER,
    ),
    "/v1/events/batch": _post(
        "sendBatch", "events", f"Accept up to {BATCH_EVENTS_MAX:,} events, each answered for itself",
        {"required": True, "content": _MANY}, {"202": _answer("A result an item.", _JSON, schema="BatchResult")},
        _PARTS_KEY_HEADER,
    ),
    "/v1/events/track": _post(
        "track", "events", "Accept one event, or many under `events`: for clients that know one path",
        {"required": True, "content": _ONE_OR_MANY},
        {"202": {"description": "Durable.", "content": _ONE_OR_MANY_ANSWERS}}, _PARTS_KEY_HEADER,
    ),
    "/v1/ingest/stream": _post(
        "stream", "events", "Accept NDJSON or XML of any length, in bounded memory",
        {"content": _STREAM}, {"200": {"description": "A line an item, and a summary.", "content": _LINES}},
        _RESULTS, _PARTS_KEY_HEADER,
    ),
    "/v1/currency/spend": _post(
        "spend", "currency", "Take an amount of a currency from a user",
        _body(_JSON, schema="Spend"), {"201": _answer("Taken.", _JSON, schema="Spent")}, KEY_HEADER,
    ),
}  # fmt: skip
"""The POST operations that Litestar does not see."""

for _kind in KINDS:
    HOT_PATHS[f"/v1/{_kind}"] = _post(
        f"segment{_kind.capitalize()}", "events", f"Accept a message of Segment's: {_kind}",
        _body(_JSON, schema="Message"), {"200": _answer("Durable.", _JSON, schema="Tracked")}, _PARTS_KEY_HEADER,
    )  # fmt: skip
HOT_PATHS["/v1/batch"] = _post(
    "segmentBatch", "events", "Accept messages of Segment's, each answered for itself",
    _body(_JSON, schema="MessageBatch"), {"200": _answer("A result a message.", _JSON, schema="TrackedBatch")},
    _PARTS_KEY_HEADER,
)  # fmt: skip

for _command in HOT_COMMANDS:
    _names = re.findall(r"\{(\w+)\}", _command.path)
    HOT_PATHS[f"/v1{_command.path}"] = _post(
        _command.operation, _command.tag, (_command.body.__doc__ or "").partition(".")[0].partition(":")[0],
        _body(_JSON, schema=_command.body.__name__), {"200": _answer("Done.", _JSON, schema="Done")},
        *({"name": n, "in": "path", "required": True, "schema": {"type": "string"}, "description": f"The {n}'s name."}
          for n in _names), KEY_HEADER,
    )  # fmt: skip
