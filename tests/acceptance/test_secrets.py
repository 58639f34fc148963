"""No secret that a request carries is written into a log, whatever becomes of the request."""

import json

import httpx

from .conftest import Instance, eventually

SECRET = "s3cr3t-{}-0f1e2d3c"


def test_no_log_holds_a_secret_of_a_request(running: Instance) -> None:
    """In headers, bodies and queries, of requests that succeed, that fail, that are none, and that the database refuses."""
    made = running.client.post("/v1/keys", json={"name": "n"}).json()["key"]
    carried = [made, running.dev_file["secretKey"], running.dev_file["adminToken"]]
    url = running.dev_file["url"]
    places = (
        "key",
        "bearer",
        "token",
        "body",
        "query",
        "cookie",
        "signature",
        "origin",
        "event",
        "webhook",
        "password",
        "path",
    )
    of = {place: SECRET.format(place) for place in places}
    headers = [
        {"X-API-Key": of["key"]}, {"Authorization": f"Bearer {of['bearer']}"}, {"X-Admin-Token": of["token"]}, {"X-API-Key": made},
        {"X-API-Key": made, "Cookie": of["cookie"], "x-signature": of["signature"], "Origin": f"https://{of['origin']}.example"},
    ]  # fmt: skip
    bodies = [
        json.dumps({"type": "t", "userId": "u", "payload": {"card": of["event"]}}), "{" + of["body"], of["body"],
        json.dumps({"id": "leaky", "name": "n", "webhookUrl": f"https://a:{of['webhook']}@h/", "webhookSecret": of["webhook"]}),
        json.dumps({"email": "a@b.c", "password": of["password"], "name": "n"}), json.dumps({"id": of["body"], "attributes": {"pw": of["body"]}}),
        json.dumps({"token": of["token"], "newPassword": of["password"]}),
    ]  # fmt: skip
    paths = ["/v1/events", "/v1/events/batch", "/v1/ingest/stream", "/v1/apps", "/v1/users", "/v1/program", "/v1/currency/spend",
             "/v1/members/login", "/v1/members/reset", "/v1/auth/reset", "/v1/nothing", "/v1/keys"]  # fmt: skip
    statuses = set()
    with httpx.Client(base_url=url, timeout=60) as client:
        for sent in headers:
            for path in paths:
                for body in bodies:
                    answer = client.post(f"{path}?token={of['query']}", content=body, headers=sent)
                    statuses.add(answer.status_code)
                statuses.add(client.get(f"{path}?api_key={of['query']}", headers=sent).status_code)
    assert {202, 401, 404, 405, 422} <= statuses
    assert max(statuses) < 500
    running.client.get("/health", headers={"X-Correlation-Id": "the-last-one"})
    logs = running.data / "logs"
    eventually(lambda: "/v1/nothing" in (logs / "api.log").read_text())
    written = {file.name: file.read_text(errors="replace") for file in logs.iterdir()}
    written["output"] = (
        running.said().replace(running.dev_file["secretKey"], "").replace(running.dev_file["adminToken"], "")
    )
    found = [(name, secret) for name, text in written.items() for secret in [*carried, *of.values()] if secret in text]
    assert found == []
