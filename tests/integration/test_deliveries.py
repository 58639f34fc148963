"""Fulfilment by webhook: sent until it is answered, signed, with one effect whatever breaks, and nobody waits for another."""

import asyncio
import logging
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from conftest_api import App, Instance, running_instance, until
from conftest_deliveries import (
    PROGRAM,
    Receiver,
    Reply,
    delivering,
    due_now,
    fulfilments,
    receiving,
    redeem,
    set_aside,
    set_webhook,
    shop,
    state,
    until_tried,
)
from structlog.testing import capture_logs

from questline.cli.doctor import examine
from questline.model.limits import DELIVERY_TRIES_MAX
from questline.model.retention import Retention
from questline.outward import deliveries, receivers, webhooks
from questline.processing.retention import plan, prune
from questline.store.ids import EventIds
from questline.store.pool import connect
from tests.collector import Collector

GIVEN = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"

# The answer, then what becomes of fulfilment and delivery, the answer that is shown, and what the user has left of 100.
ANSWERS = {
    "200": ("FULFILLED", "DELIVERED", "200", 90),
    "204": ("FULFILLED", "DELIVERED", "204", 90),
    "202": ("PENDING", "DELIVERED", "202", 90),
    "410": ("FAILED", "FAILED", "410", 100),
    "400": ("FAILED", "FAILED", "400", 100),
    "401": ("FAILED", "FAILED", "401", 100),
    "404": ("FAILED", "FAILED", "404", 100),
    "302": ("PENDING", "PENDING", "302", 90),
    "408": ("PENDING", "PENDING", "408", 90),
    "425": ("PENDING", "PENDING", "425", 90),
    "429": ("PENDING", "PENDING", "429", 90),
    "500": ("PENDING", "PENDING", "500", 90),
    "503": ("PENDING", "PENDING", "503", 90),
    "late": ("PENDING", "PENDING", "the receiver did not answer in time", 90),
    "cut": ("PENDING", "PENDING", "the receiver ended the connection, or did not answer in HTTP", 90),
}


async def as_named(body: dict[str, Any]) -> Reply:
    """Answer as the user is called."""
    user = body["data"]["userId"]
    if user == "late":
        await asyncio.Event().wait()
    return 0 if user == "cut" else int(user), {
        "location": "http://127.0.0.1:1/elsewhere",
        "set-cookie": "who=somebody else; Path=/",
    }


async def test_an_answer_completes_fails_or_is_asked_for_again(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "DELIVERY_SECONDS_MAX", 5.0)
    monkeypatch.setattr(webhooks, "DELIVERY_WAIT_SECONDS", 600.0)  # so that none is sent again while one is waited for
    async with receiving() as receiver:
        receiver.reply = as_named
        app = await shop(questline, receiver)
        await redeem(app, *ANSWERS)
        async with delivering(questline):
            await until_tried(app)
        await questline.drain()
        assert {user: await state(app, user) for user in ANSWERS} == ANSWERS
        assert Counter(receiver.ids) == Counter(f["fulfilment"] for f in await fulfilments(app))
        assert [headers for headers in receiver.headers if "cookie" in headers] == []


async def test_a_message_says_what_was_redeemed_and_is_signed_in_the_standard_way(questline: Instance) -> None:
    async with receiving() as receiver:
        app = await shop(questline, receiver)
        [id_] = await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
        [body], [headers] = receiver.heard, receiver.headers
    at = datetime.fromisoformat(body.pop("timestamp"))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    data = {"userId": "ada", "fulfilment": id_, "item": "ticket", "method": "webhook", "price": {"coins": 10}}
    assert body == {"type": "store.redeemed", "data": data}
    assert (headers["webhook-id"], headers["content-type"]) == (id_, "application/json")


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        ("whsec_c2l4dGVlbiBieXRlcy4u", "whsec_c2l4dGVlbiBieXRlcy4u"),
        ("whsec_not base64 at all", b"whsec_not base64 at all"),
        ("chosen by a person", b"chosen by a person"),
    ],
)
async def test_a_secret_of_any_form_signs_as_it_is_documented(
    questline: Instance, secret: str, key: str | bytes
) -> None:
    async with receiving() as receiver:
        receiver.key = key
        app = await shop(questline, receiver, secret)
        await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
        await questline.drain()
        assert await state(app, "ada") == ("FULFILLED", "DELIVERED", "200", 90)


async def test_what_waits_is_sent_once_there_is_somewhere_to_send_it(questline: Instance) -> None:
    app = await shop(questline, None)
    await redeem(app, "ada")
    async with delivering(questline), receiving() as receiver:
        await until_tried(app)
        assert await state(app, "ada") == ("PENDING", "PENDING", "no webhookUrl is set", 90)
        answer = await app.request("PATCH", f"/v1/projects/{app.app_id}", json={"webhookUrl": receiver.url})
        assert answer.status_code == 200
        await due_now(app)
        await until_tried(app, 2)
        assert await state(app, "ada") == ("PENDING", "PENDING", "no webhookSecret is set", 90)
        await set_webhook(app, receiver.url)
        await due_now(app)
        await until_tried(app, 3)
        await questline.drain()
        assert await state(app, "ada") == ("FULFILLED", "DELIVERED", "200", 90)


async def test_a_receiver_that_never_agrees_is_given_up_and_the_price_comes_back(questline: Instance) -> None:
    async with receiving() as receiver:

        async def away(_: dict[str, Any]) -> Reply:
            return 503, {}

        receiver.reply = away
        app = await shop(questline, receiver)
        await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
            await questline.owner.execute("UPDATE deliveries SET tries = $1", DELIVERY_TRIES_MAX - 1)
            await due_now(app)
            await until_tried(app, DELIVERY_TRIES_MAX)
        await questline.drain()
        assert await state(app, "ada") == ("FAILED", "FAILED", "503", 100)
        [one] = await fulfilments(app)
        assert one["note"] == f"webhook: 503, after {DELIVERY_TRIES_MAX} tries"
        assert len(set(receiver.ids)) == 1


async def test_a_receiver_says_when_it_is_asked_again(questline: Instance) -> None:
    async with receiving() as receiver:

        async def later(_: dict[str, Any]) -> Reply:
            return 429, {"retry-after": "7200"}

        receiver.reply = later
        app = await shop(questline, receiver)
        await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
        [one] = await fulfilments(app)
        wait = (datetime.fromisoformat(one["delivery"]["nextTryAt"]) - datetime.now(UTC)).total_seconds()
        assert (one["delivery"]["tries"], 7_100 < wait < 7_300) == (1, True)


async def test_an_answer_without_an_end_is_cut_and_counts(questline: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "DELIVERY_SECONDS_MAX", 1_000.0)  # its length alone ends it
    async with receiving() as receiver:
        receiver.never_ends = True
        app = await shop(questline, receiver)
        await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
        await asyncio.gather(*receiver.tasks)  # the connection is closed
        await questline.drain()
        assert await state(app, "ada") == ("FULFILLED", "DELIVERED", "200", 90)


async def test_an_answer_is_noted_although_the_database_was_away(questline: Instance, database: Any) -> None:
    async with receiving() as receiver, asyncpg.create_pool(database.owner_dsn, min_size=1) as cutting:

        async def cut(_: dict[str, Any]) -> Reply:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'questline'"
            assert await cutting.fetch(ended)  # while the test asks on the owner's connection
            return 200, {}

        receiver.reply = cut
        app = await shop(questline, receiver)
        [id_] = await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
        await questline.drain()
        await until(lambda: _answers(app))
        assert (receiver.ids, await state(app, "ada")) == ([id_], ("FULFILLED", "DELIVERED", "200", 90))


async def _answers(app: App) -> bool:
    return (await app.get("/v1/fulfilments")).status_code == 200


async def test_what_was_settled_by_hand_is_not_sent(questline: Instance) -> None:
    async with receiving() as receiver:
        app = await shop(questline, receiver)
        sent, failed = await redeem(app, "ada", "bob")
        for path in (f"{sent}/complete", f"{failed}/fail"):
            assert (await app.post(f"/v1/fulfilments/{path}", json={"note": "by hand"})).status_code == 200
        async with delivering(questline):
            await until_tried(app)
        await questline.drain()
        assert receiver.ids == []
        assert await state(app, "ada") == ("FULFILLED", "CANCELLED", None, 90)
        assert await state(app, "bob") == ("FAILED", "CANCELLED", None, 100)


async def test_a_hand_that_settles_while_it_is_sent_is_right(questline: Instance) -> None:
    async with receiving() as receiver:

        async def too_late(body: dict[str, Any]) -> Reply:
            answer = await app.post(f"/v1/fulfilments/{body['data']['fulfilment']}/complete", json={"note": "by hand"})
            assert answer.status_code == 200
            return 410, {}

        receiver.reply = too_late
        app = await shop(questline, receiver)
        await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
        await questline.drain()
        assert await state(app, "ada") == ("FULFILLED", "FAILED", "410", 90)


async def test_what_a_receiver_took_is_settled_later_over_the_api(questline: Instance) -> None:
    async with receiving() as receiver:

        async def taken(_: dict[str, Any]) -> Reply:
            return 202, {}

        receiver.reply = taken
        app = await shop(questline, receiver)
        [id_] = await redeem(app, "ada")
        async with delivering(questline):
            await until_tried(app)
        assert (await app.post(f"/v1/fulfilments/{id_}/fail", json={"note": "sold out"})).status_code == 200
        assert await state(app, "ada") == ("FAILED", "DELIVERED", "202", 100)


async def test_only_an_item_that_a_webhook_fulfils_is_sent(questline: Instance) -> None:
    async with receiving() as receiver:
        app = await shop(questline, receiver)
        await redeem(app, "ada", item="mug")
        [id_] = await redeem(app, "bob")
        async with delivering(questline):
            await until_tried(app)
        assert receiver.ids == [id_]
        assert [f["delivery"] is None for f in await fulfilments(app)] == [True, False]


async def test_two_deliverers_send_each_message_once(questline: Instance) -> None:
    async with receiving() as receiver:
        app = await shop(questline, receiver)
        made = await redeem(app, *(f"u{n}" for n in range(40)))
        async with delivering(questline), delivering(questline):
            await until_tried(app)
        await questline.drain()
        assert Counter(receiver.ids) == Counter(made)
        assert {f["status"] for f in await fulfilments(app)} == {"FULFILLED"}


async def test_a_receiver_that_hangs_holds_nobody_else_up(questline: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "DELIVERIES_AT_ONCE", 4)
    go_on = asyncio.Event()
    async with receiving() as slow, receiving() as quick:

        async def hang(_: dict[str, Any]) -> Reply:
            await go_on.wait()
            return 200, {}

        slow.reply = hang
        first, second = await shop(questline, slow), await shop(questline, quick)
        await redeem(first, *(f"u{n}" for n in range(10)))
        await redeem(second, *(f"u{n}" for n in range(10)))
        async with delivering(questline):
            await until_tried(second)
            assert (slow.under_way, len(quick.heard)) == (2, 10)
            go_on.set()
            await until_tried(first)
        assert slow.most <= 4
        assert len(slow.heard) == 10


async def test_receivers_that_hang_and_take_all_room_do_not_make_others_wait_for_all_they_have(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "DELIVERIES_AT_ONCE", 2)
    monkeypatch.setattr(receivers, "DELIVERY_SECONDS_MAX", 1.0)
    async with receiving() as slow, receiving() as quick:

        async def hang(_: dict[str, Any]) -> Reply:
            await asyncio.Event().wait()
            return 200, {}

        slow.reply = hang
        hanging = [await shop(questline, slow) for _ in range(2)]
        for app in hanging:
            await redeem(app, *(f"u{n}" for n in range(40)))
        late = await shop(questline, quick)
        await redeem(late, *(f"u{n}" for n in range(5)))
        async with delivering(questline):
            await until_tried(late)
        assert (len(quick.heard), len(slow.heard) < 40) == (5, True)
    for app in hanging:
        await set_aside(app)


async def test_a_private_address_is_refused_unless_the_operator_allows_it(questline: Instance) -> None:
    async with receiving() as receiver:
        app = await shop(questline, receiver)
        await redeem(app, "ada")
        async with delivering(questline, dev=False):
            await until_tried(app)
        assert await state(app, "ada") == ("PENDING", "PENDING", "the address is not a public one", 90)
        assert receiver.heard == []
        await due_now(app)
        async with delivering(questline, dev=False, outbound_private=True):
            await until_tried(app, 2)
        assert len(receiver.heard) == 1


async def test_what_keeps_a_receiver_from_being_asked_is_told_in_words(questline: Instance) -> None:
    async def no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 this is no TLS\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(no_tls, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        told = {
            f"https://127.0.0.1:{port}/": "the receiver's certificate or TLS is not accepted",
            "http://127.0.0.1:1/": "the receiver cannot be reached",
            "http://nowhere.invalid/": "the receiver cannot be reached",
        }
        apps = {url: await questline.app(PROGRAM) for url in told}
        for url, app in apps.items():
            await set_webhook(app, url)
            await redeem(app, "ada")
        async with delivering(questline):
            for app in apps.values():
                await until_tried(app)
    assert {url: (await state(app, "ada"))[2] for url, app in apps.items()} == told


async def test_a_message_that_we_cannot_make_is_tried_and_given_up_like_others(questline: Instance) -> None:
    async with receiving() as receiver:
        app = await shop(questline, receiver)
        [id_] = await redeem(app, "ada")
        await questline.owner.execute("UPDATE deliveries SET data = '[]' WHERE id = $1", id_)
        said = "Questline failed at it: the operator's log says how"
        async with delivering(questline):
            await until_tried(app)
            assert await state(app, "ada") == ("PENDING", "PENDING", said, 90)
            await questline.owner.execute("UPDATE deliveries SET tries = $2 WHERE id = $1", id_, DELIVERY_TRIES_MAX - 1)
            await due_now(app)
            await until_tried(app, DELIVERY_TRIES_MAX)
        await questline.drain()
        assert await state(app, "ada") == ("FAILED", "FAILED", said, 100)


async def test_a_secret_whose_key_is_gone_is_not_guessed(questline: Instance) -> None:
    async with receiving() as receiver:
        app = await shop(questline, receiver)
        await redeem(app, "ada")
        async with delivering(questline, secret_keys=""):
            await until_tried(app)
        assert await state(app, "ada") == ("PENDING", "PENDING", "the webhookSecret cannot be read: set it again", 90)
        assert receiver.heard == []


async def test_a_deliverer_that_is_told_to_stop_finishes_what_it_sends(questline: Instance) -> None:
    go_on = asyncio.Event()
    async with receiving() as receiver:

        async def wait(_: dict[str, Any]) -> Reply:
            await go_on.wait()
            return 200, {}

        receiver.reply = wait
        app = await shop(questline, receiver)
        await redeem(app, "ada")
        stopping = asyncio.Event()

        async def run() -> None:
            async with delivering(questline):
                await stopping.wait()

        task = asyncio.create_task(run())
        await until(_is_asked(receiver))
        stopping.set()
        asyncio.get_running_loop().call_soon(go_on.set)
        await task
        await questline.drain()
        assert await state(app, "ada") == ("FULFILLED", "DELIVERED", "200", 90)


def _is_asked(receiver: Receiver) -> Any:
    async def asked() -> bool:
        return bool(receiver.heard)

    return asked


async def test_one_trace_id_goes_from_the_redemption_to_the_receiver(database: Any) -> None:
    collector = Collector()
    try:
        async with running_instance(database, otlp_endpoint=collector.url, trace_percent=0) as traced:
            async with receiving() as receiver:
                app = await shop(traced, receiver)
                await redeem(app, "ada", headers={"traceparent": f"00-{GIVEN}-{PARENT}-01"})
                async with delivering(traced):
                    await until_tried(app)
                await traced.drain()
        [sent] = [headers["traceparent"] for headers in receiver.headers]
        spans = collector.of(GIVEN)
        delivery = spans["deliver store.redeemed"]
        assert sent == f"00-{GIVEN}-{delivery.id}-01"
        assert (delivery.service, delivery.parent) == ("questline-deliverer", spans["POST"].id)
        assert "apply" in spans  # of the event that completes the fulfilment
    finally:
        collector.close()


async def test_a_message_is_there_whenever_its_redemption_is(questline: Instance) -> None:
    app = await shop(questline, None)
    made = await redeem(app, "ada", "bob")
    rows = await questline.owner.fetch(
        """SELECT d.id, d.status, d.tries, d.data::text, d.at = f.at AS same_time FROM deliveries d
           JOIN fulfilments f ON f.project_id = d.project_id AND f.fulfilment_id = d.id
           JOIN projects p ON p.id = d.project_id WHERE p.app_id = $1 ORDER BY d.id""",
        app.app_id,
    )
    assert [(r["id"], r["status"], r["tries"], r["same_time"]) for r in rows] == [
        (id_, "PENDING", 0, True) for id_ in made
    ]
    assert all("ada" not in row["data"] and "bob" not in row["data"] for row in rows)  # who it is, `users` alone knows
    assert msgspec.json.decode(rows[0]["data"])["item"] == "ticket"


async def test_a_message_is_sent_again_at_once_when_somebody_asks(questline: Instance) -> None:
    replies = iter([(503, {}), (202, {}), (200, {})])
    async with receiving() as receiver:

        async def in_turn(_: dict[str, Any]) -> Reply:
            return next(replies)

        receiver.reply = in_turn
        app = await shop(questline, receiver)
        [id_] = await redeem(app, "ada")
        path = f"/v1/fulfilments/{id_}/deliver"
        async with delivering(questline):
            for status in ("PENDING", "DELIVERED"):
                await until_tried(app)
                assert (await state(app, "ada"))[:2] == ("PENDING", status)
                answer = await app.post(path)
                assert (answer.status_code, answer.json()["status"], answer.json()["tries"]) == (200, "PENDING", 0)
            await until_tried(app)
        await questline.drain()
        assert await state(app, "ada") == ("FULFILLED", "DELIVERED", "200", 90)
        assert (receiver.ids, (await app.post(path)).json()["code"]) == ([id_] * 3, "not-pending")
        acts = [a for a in (await app.get("/v1/audit")).json()["items"] if a["action"] == "fulfilment.deliver"]
        assert [a["target"] for a in acts] == [{"kind": "fulfilment", "id": id_}] * 2
    [by_hand] = await redeem(app, "bob", item="mug")
    for unknown in (by_hand, "none"):
        assert (await app.post(f"/v1/fulfilments/{unknown}/deliver")).status_code == 404


@pytest.mark.parametrize(("status", "tries"), [(410, 0), (200, 0), (503, DELIVERY_TRIES_MAX - 1)])
async def test_a_message_that_was_answered_for_good_is_not_sent_again_before_its_fulfilment_is_settled(
    questline: Instance, status: int, tries: int
) -> None:
    async with receiving() as receiver:
        replies = iter([(status, {}), (410 if status == 200 else 200, {})])

        async def in_turn(_: dict[str, Any]) -> Reply:
            return next(replies)

        receiver.reply = in_turn
        app = await shop(questline, receiver)
        [id_] = await redeem(app, "ada")
        await questline.owner.execute("UPDATE deliveries SET tries = $2 WHERE id = $1", id_, tries)
        async with delivering(questline):
            await until_tried(app, tries + 1)
            answer = await app.post(f"/v1/fulfilments/{id_}/deliver")  # no worker has run
            assert (answer.status_code, answer.json()["code"]) == (409, "not-pending")
        await questline.drain()
        ended = ("FULFILLED", "DELIVERED", "200", 90) if status == 200 else ("FAILED", "FAILED", str(status), 100)
        assert (receiver.ids, await state(app, "ada")) == ([id_], ended)


async def test_settled_messages_go_with_the_retention_of_notices_and_those_that_wait_stay(
    questline: Instance, database: Any
) -> None:
    app = await shop(questline, None)
    waits, settled = await redeem(app, "ada", "bob")
    await app.post(f"/v1/fulfilments/{settled}/complete", json={})
    async with delivering(questline):
        await until_tried(app)
    later = datetime.now(UTC) + timedelta(days=40)
    owner = await connect(database.owner_dsn)
    try:
        made = await plan(owner, Retention(notices=30), later)
        assert [step.what for step in made.steps if step.name == "deliveries"] == ["deliveries"]
        await prune(owner, made, Retention(notices=30), later, EventIds().new, None, lambda *_: None)
        left = await owner.fetch(
            "SELECT d.id FROM deliveries d JOIN projects p ON p.id = project_id WHERE app_id = $1", app.app_id
        )
    finally:
        await owner.close()
    assert [row["id"] for row in left] == [waits]
    assert [f["delivery"] is None for f in await fulfilments(app)] == [False, True]


async def test_the_doctor_says_that_nobody_delivers(questline: Instance) -> None:
    app = await shop(questline, None)
    await redeem(app, "ada")
    await questline.owner.execute(
        "UPDATE deliveries SET due_at = now() - interval '5 minutes' WHERE status = 'PENDING'"
    )
    found = [finding for finding in await examine(questline.settings) if "webhooks" in finding.text]
    assert [finding.state for finding in found] == ["doubtful"]
    assert "start questline deliver" in found[0].text


async def test_what_a_try_brings_to_light_is_in_no_log(questline: Instance, caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as logs:
        async with receiving() as receiver:
            app = await shop(questline, receiver)
            await set_webhook(
                app, f"{receiver.url.replace('://', '://user:pa55w0rd@')}?sig=51gnature", "whsec_the secret"
            )
            receiver.key = b"whsec_the secret"
            receiver.path = "/hook?sig=51gnature"
            receiver.says = b"b0dy"
            await redeem(app, "ada", "bob")
            async with delivering(questline, secret_keys=""):  # a fault that is told of
                await until_tried(app)
            await due_now(app)
            async with delivering(questline):
                await until_tried(app, 2)
        assert len(receiver.heard) == 2
    said = f"{logs} {[r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]}"
    assert "deliver.secret_lost" in said
    assert [word for word in ("pa55w0rd", "51gnature", "the secret", "b0dy", "ada") if word in said] == []
