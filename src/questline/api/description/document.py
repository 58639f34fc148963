"""The OpenAPI 3.1 document: from the handlers' types, and from tables for what these do not tell."""

import re
from typing import Any

from litestar import Litestar

from questline.api.callers import CALLERS
from questline.api.description import catalogue, dialects, examples, management, untyped
from questline.api.description.untyped import SECTIONS, ref
from questline.api.hot.commands import HOT_COMMANDS
from questline.api.once import takes_key
from questline.api.problems import TITLES
from questline.api.staff import STAFF
from questline.ingest.segment import KINDS
from questline.model.limits import PAGE_ITEMS_MAX, SWEEP_LOOK_USERS
from questline.model.own import OWN_COMMANDS, OWN_READS
from questline.model.permissions import PERMISSIONS, Scope

Json = dict[str, Any]

_INTRODUCTION = """Send events, and read what they made of your users.

Each path also answers without the prefix `/v1`. A key is sent as `X-API-Key` or `Authorization: Bearer`. Ids in a path are
percent-encoded, and may hold any character. Every error is a problem document with a stable `code`. An answer gives back
the request's `X-Correlation-Id`, or makes one."""

_TAGS = {
    "apps": "Projects, each a tenant of its own.",
    "users": "Users, what they have, and why.",
    "events": "Facts about users: sending them, and what became of them.",
    "reviews": "Held events: approved or denied by a person.",
    "currency": "Commands on balances.",
    "referrals": "Codes, and who brought whom.",
    "daily": "The daily loop: check-ins, items, inventories.",
    "progress": "What users strive for: progress, awards, and care for their streaks.",
    "grants": "Rewards given to users: claimed, revoked.",
    "fulfilments": "The reward store: redeeming, and what becomes of it.",
    "coupons": "Pools of codes that rewards and the store draw from.",
    "leaderboards": "Boards: pages, ranks, neighbours.",
    "program": "A project's rules as one versioned document.",
    **dict.fromkeys(SECTIONS, "A part of the program in force. Each write makes the program's next version."),
    "end-users": "Users who log in here, and tokens with which users reach what is their own.",
    "signing": "Secrets that events are signed with.",
    "keys": "API keys of a project.",
    "organizations": "Who owns projects together.",
    "members": "People who use the console: invited, logged in, removed.",
    "audit": "What was done, by whom, from where.",
    "operations": "What went wrong, and how it is mended: dead letters and replays.",
    "system": "The process itself.",
}
_METHODS = ("get", "post", "put", "patch", "delete")
_EVERYBODY = ["ADMIN", "INGEST", "READONLY"]

# What can go wrong, by status: the code of the usual problem.
_PROBLEMS = {
    "400": "invalid-request", "401": "unauthorized", "403": "forbidden", "404": "not-found", "409": "conflict",
    "412": "stale-version", "413": "payload-too-large", "415": "unsupported-media-type", "422": "invalid-request",
    "429": "rate-limited", "503": "unavailable",
}  # fmt: skip
_FURTHER_PROBLEMS = {
    "registerUser": ["401", "403", "409", "429"], "logInUser": ["401", "403", "429"], "refreshUser": ["401"],
    "logOutUser": ["401"], "changeOwnPassword": ["409"], "issueResetOfLogin": ["404"], "resetUserPassword": ["404", "429", "503"],
    "rotateKey": ["409"], "rotateProjectKey": ["409"],
    "createApp": ["409"], "createProject": ["403", "409"], "createOrganization": ["409"], "archiveOrganization": ["409"],
    "updateMember": ["403", "409"], "removeMember": ["403", "409"], "acceptInvitation": ["401", "404", "409", "429"],
    "inviteMember": ["403"], "logInMember": ["401", "429", "503"], "resetMemberPassword": ["404", "429", "503"],
    "spend": ["409"], "sendEvent": ["409"], "track": ["409"], "upsertUser": ["409"], "getLeaderboard": ["404"],
    "reportIncident": ["404", "409"], "startReplay": ["404"],
    "approveReview": ["409"], "denyReview": ["409"], "blockUser": ["409"], "unblockUser": ["409"],
    "revokeGrant": ["409"], "completeFulfilment": ["409"], "failFulfilment": ["409"],
    **{f"segment{kind.capitalize()}": ["409"] for kind in KINDS},
    "stream": ["415"], "ready": ["503"], "getInventory": ["404"],
    **{command.operation: ["409"] for command in HOT_COMMANDS},
}  # fmt: skip
_MOMENT: Json = {
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "description": "Epoch seconds.", "minimum": -62_135_596_800, "maximum": 253_402_300_799},
        {"type": "null", "description": "As if left out."},
    ]
}
_PARAMETERS: dict[str, Json] = {
    "userId": {"description": "The customer's id of the user."},
    "eventId": {"description": "Our id of the event, the customer's, or its idempotency key."},
    "appId": {"description": "The app's id."},
    "project": {"description": "The app's id: that of the key."},
    "pool": {"description": "The pool's name."},
    "fulfilmentId": {"description": "The fulfilment's id: that of the event that redeemed."},
    "grantId": {"description": "The grant's id."},
    "organization": {"description": "The organization's id."},
    "memberId": {"description": "The member's id."},
    "member": {"description": "The member's id, or their email."},
    "invitationId": {"description": "The invitation's id."},
    "secretId": {"description": "The secret's id."},
    "keyId": {"description": "The key's id."},
    "actor": {
        "description": "Only of this actor: key:ID, member:ID, operator, developer, or user (the target themselves)."
    },
    "action": {"description": "Only this action, such as key.create."},
    "targetKind": {"description": "Only on targets of this kind: key, program, rules, user ..."},
    "target": {"description": "Only on this target."},
    "since": {"description": "From this moment on.", "schema": _MOMENT},
    "until": {"description": "Before this moment.", "schema": _MOMENT},
    "name": {"description": "The definition's name."},
    "eventType": {"description": "The event type."},
    "achievement": {"description": "The achievement's name."},
    "streak": {"description": "The streak's name."},
    "incident": {"description": "The incident's id."},
    "discarded": {"description": "Those that were given up for good, and not the others."},
    "reasonCode": {"description": "Only those with this reason code."},
    "replay": {"description": "The replay's id."},
    "preview": {"description": "Show what it would do, and do nothing."},
    "number": {"description": "The version."},
    "limit": {
        "description": "How many at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": PAGE_ITEMS_MAX},
    },
    "cursor": {"description": "`nextCursor` of the page before."},
    "after": {"description": "`nextCursor` of the page before."},
    "type": {"description": "Only events of this type."},
    "status": {"description": "Only events that stand so."},
    "metric": {"description": "A board's name, or the track, currency or metric it ranks."},
    "board": {"description": "A board's name; the same as `metric`."},
    "scope": {"description": "APP, or GLOBAL over the organization's projects that opt in; default: the board's own."},
    "periodKey": {
        "description": "2026-11-21, 2026-W47, 2026-11, 2026, all-time or a season; default: the current period."
    },
    "leagueId": {"description": "A league: the cohort of `userId` in it, this week or in the week of `periodKey`."},
    "around": {"description": "With `userId`: so many neighbours above and below."},
}
_LIMITS = dict.fromkeys(("reportIncident", "previewAward", "startAward"), (0, SWEEP_LOOK_USERS))
_IF_MATCH_FORM = '^"?[0-9]{1,9}"?$'
_IF_MATCH = {
    "name": "If-Match", "in": "header", "schema": {"type": "string", "pattern": _IF_MATCH_FORM},
    "description": "The version that was edited: 412 when another is in force.",
}  # fmt: skip
_EDITS = ("putProgram", "putEventType", "deleteEventType")  # beside those of the sections
_LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}


def document(app: Litestar) -> Json:
    """Return the whole document for an application's routes and the hot paths."""
    raw = _any_of(app.openapi_schema.to_schema())
    routes: dict[str, Any] = {route.path_format: route for route in app.routes}
    paths: dict[str, Json] = {}
    for path, item in raw["paths"].items():
        handlers = routes[path].route_handler_map
        shown = re.sub(r"{(\w+)}", lambda found: f"{{{_camel(found[1])}}}", path)
        paths[shown] = {
            method: _operation(shown, operation, handlers[method.upper()][0])
            for method, operation in item.items()
            if method in _METHODS
        }
    for path, operation in untyped.HOT_PATHS.items():
        scope = Scope.EVENTS_WRITE if operation["tags"] == ["events"] else Scope.COMMANDS_WRITE
        paths.setdefault(path, {})["post"] = _guarded(path, operation, scope)
    schemas = {**raw.get("components", {}).get("schemas", {}), **untyped.schemas()}
    told = {**examples.SCHEMAS, **management.SCHEMAS, **dialects.EXAMPLES, **catalogue.EXAMPLES, **untyped.examples()}
    for name, example in told.items():
        schemas[name] = {**schemas[name], "examples": [example]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Questline", "version": "1", "description": _INTRODUCTION, "license": _LICENSE},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": {path: _in_order(paths[path]) for path in sorted(paths, key=lambda p: _place(p, paths[p]))},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {status: _problem(int(status), code) for status, code in _PROBLEMS.items()},
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "user": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "member": {"type": "http", "scheme": "bearer"},
                "operator": {"type": "apiKey", "in": "header", "name": "X-Admin-Token"},
            },
        },
    }


def _operation(path: str, raw: Json, handler: Any) -> Json:
    section = path.split("/")[2] if 1 < path.count("/") < 4 else ""  # deeper, a path is about what users have of it
    operation_id = _operation_id(handler.fn.__name__, path, section)
    operation: Json = {
        "operationId": operation_id,
        "summary": _summary(handler, section),
        "tags": [section] if section in SECTIONS else raw["tags"],
        "parameters": [_parameter(p, _LIMITS.get(operation_id)) for p in raw.get("parameters", [])],
    }
    if "requestBody" in raw:
        operation["requestBody"] = {**raw["requestBody"], "required": True}
    operation["responses"] = {
        status: {k: v for k, v in answer.items() if k != "headers"}
        for status, answer in raw["responses"].items()
        if status.startswith("2")
    }
    operation |= untyped.OPERATIONS.get(operation_id, {})
    if takes_key(handler):
        operation["parameters"] = [*operation["parameters"], untyped.KEY_HEADER]
    if operation_id in _EDITS or (section in SECTIONS and "GET" not in handler.http_methods):
        operation["parameters"] = [*operation["parameters"], _IF_MATCH]
    caller = next((name for name in handler.parsed_fn_signature.parameters if name in CALLERS), None)
    if caller == "creator":
        about = "In development anybody may; elsewhere the operator's token is needed."
        return _with_problems(path, {**operation, "description": about, "security": [{"operator": []}, {}]})
    if caller == "end_user":
        return _with_problems(path, {**operation, "description": "A user's token.", "security": [{"user": []}]})
    if staff := next((name for name in handler.parsed_fn_signature.parameters if name in STAFF), None):
        return _with_problems(path, {**operation, "description": _who(staff, handler), "security": STAFF[staff]})
    if caller is None:
        return _with_problems(path, {**operation, "security": []})
    guarded = _guarded(path, operation, handler.opt["scope"])
    if caller in ("overseer", "steward"):
        guarded["description"] += " It is for the key's own project; the operator's token is for all."
        guarded["security"] = [*guarded["security"], {"operator": []}]
    return guarded


def _who(staff: str, handler: Any) -> str:
    """Say which staff may, in words."""
    if staff == "manager":
        scope = handler.opt["scope"]
        roles = sorted(role.value for role in PERMISSIONS[scope].members)
        return f"An operator, or a member of the organization with the role {' or '.join(roles)}."
    return {"operator": "An operator.", "staff": "An operator or a member.", "person": "A member."}[staff]


def _guarded(path: str, operation: Json, scope: Scope) -> Json:
    """Say which keys may, in words, and as x-roles and x-scope for machines."""
    roles = sorted(role.value for role in PERMISSIONS[scope].roles)
    wanted = "A key of any role" if roles == _EVERYBODY else f"A key of role {' or '.join(roles)}"
    guarded = {
        **operation,
        "description": f"{wanted}, with the scope `{scope}`.",
        "x-roles": roles,
        "x-scope": scope.value,
        "security": [{"apiKey": []}, {"bearer": []}],
    }
    if operation["operationId"] in OWN_READS or operation["operationId"] in OWN_COMMANDS:
        guarded["description"] += " A user's token, for what is that user's own."
        guarded["security"] = [*guarded["security"], {"user": []}]
    return _with_problems(path, guarded)


def _with_problems(path: str, operation: Json) -> Json:
    statuses = set(_FURTHER_PROBLEMS.get(operation["operationId"], []))
    if operation["security"] != []:
        statuses |= {"401", "503"}
    if operation["security"] != []:
        statuses |= {"403", "429"}
    if "requestBody" in operation:
        statuses |= {"400", "413", "422"}
    if untyped.KEY_HEADER in operation["parameters"]:
        statuses |= {"400", "409"}
    if any(p["in"] == "query" for p in operation["parameters"]):
        statuses.add("400")
    if "{" in path and not operation["operationId"].startswith("put"):
        statuses.add("404")
    if _IF_MATCH in operation["parameters"]:
        statuses |= {"400", "412", "422"}
        statuses |= {"409"} if operation["operationId"].startswith("add") else set()
    refs = {status: {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    return {**operation, "responses": {**operation["responses"], **refs}}


def _parameter(raw: Json, limits: tuple[int, int] | None) -> Json:
    name = _camel(raw["name"])
    told = _PARAMETERS.get(name, {})
    if name == "limit" and limits is not None:
        told = {**told, "schema": {"type": "integer", "minimum": limits[0], "maximum": limits[1]}}
    return {
        "name": name,
        "in": raw["in"],
        **({"required": True} if raw.get("required") else {}),
        "schema": raw["schema"],
        **told,
    }


def _problem(status: int, code: str) -> Json:
    example = {
        "type": f"urn:questline:problem:{code}", "title": TITLES[code], "status": status, "code": code,
        "detail": "What was wrong here, and how to mend it.",
    }  # fmt: skip
    problem: Json = {
        "description": TITLES[code],
        "content": {"application/problem+json": {"schema": ref("Problem"), "example": example}},
    }
    if status in (429, 503):
        problem["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return problem


def _operation_id(function: str, path: str, section: str) -> str:
    if section in SECTIONS:
        if function == "list_section":
            return f"list{section.capitalize()}"
        return {"add_to_section": "add"}.get(function, function.removesuffix("_entry")) + SECTIONS[section]
    name = _camel(function.replace("_an_", "_").replace("_schema", "_program_schema"))
    return name.replace("Key", "ProjectKey") if path.startswith("/v1/projects/") else name


def _summary(handler: Any, section: str) -> str:
    """Return a handler's docstring; where one handler serves many parts of a program, with the name of the part."""
    text = " ".join((handler.fn.__doc__ or "").strip().split()).removesuffix(".")
    if section in SECTIONS:
        text = text.replace("definitions", section).replace("one definition", f"one of the {section}")
    return text


def _any_of(value: Any) -> Any:
    """Copy a schema with anyOf for oneOf: 4 is both a number and an integer, and no less right for that."""
    if isinstance(value, list):
        return [_any_of(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {"anyOf" if key == "oneOf" else key: _any_of(item) for key, item in value.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _place(path: str, item: Json) -> tuple[int, int, str]:
    tag = next(iter(item.values()))["tags"][0]
    return list(_TAGS).index(tag), path.count("/"), path


def _in_order(item: Json) -> Json:
    return {method: item[method] for method in _METHODS if method in item}
