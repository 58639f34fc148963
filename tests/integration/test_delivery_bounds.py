"""What a deliverer bears and keeps to: TLS that breaks, a defect of ours beside it, and room for everybody."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest_api import Instance, until
from conftest_deliveries import (
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
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from questline.outward import deliveries
from questline.store import deliveries as stored

TLS_TOLD = "the receiver's certificate or TLS is not accepted"
# What a receiver does once its certificate is accepted; then how the redemption is.
BREAKING = {
    "demands a certificate": ("PENDING", "PENDING", TLS_TOLD, 90),
    "sends no records": ("PENDING", "PENDING", TLS_TOLD, 90),
    "sends none after its answer's head": ("FULFILLED", "DELIVERED", "200", 90),
}


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1, signed by itself, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a receiver")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = (tmp_path_factory.mktemp("tls") / name for name in ("certificate.pem", "key.pem"))
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, secret


@asynccontextmanager
async def breaking(does: str, certified: tuple[Path, Path]) -> AsyncIterator[str]:
    """A receiver over TLS 1.3 that breaks after the handshake, and reads on until the other side ends; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(*certified)
    if does == "demands a certificate":
        context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing, ended = ssl.MemoryBIO(), ssl.MemoryBIO(), False
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while heard := await reader.read(65_536):
            incoming.write(heard)
            try:
                if not ended:
                    tls.do_handshake()
                    tls.read(65_536)
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                continue
            except ssl.SSLError:
                pass  # its alert is in what goes out
            else:
                if does == "sends none after its answer's head":
                    tls.write(b"HTTP/1.1 200 x\r\ncontent-length: 9\r\n\r\n")
            if not ended:
                writer.write(outgoing.read() + (b"" if does == "demands a certificate" else b"this is no record"))
                ended = True
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"


@pytest.mark.parametrize(("does", "becomes"), BREAKING.items())
async def test_tls_that_breaks_after_the_handshake_is_the_receivers_and_no_defect_of_ours(
    questline: Instance,
    monkeypatch: pytest.MonkeyPatch,
    certified: tuple[Path, Path],
    does: str,
    becomes: tuple[str, str, str, int],
) -> None:
    monkeypatch.setattr("certifi.where", lambda: str(certified[0]))  # whom we trust
    app = await shop(questline, None)
    with capture_logs() as logs:
        async with breaking(does, certified) as url:
            await set_webhook(app, url)
            await redeem(app, "ada")
            async with delivering(questline):
                await until_tried(app)
    await questline.drain()
    assert await state(app, "ada") == becomes
    await set_aside(app)
    assert [line for line in logs if line["log_level"] == "error"] == []


async def test_a_defect_while_measuring_ends_no_try_that_is_under_way(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()
    async with receiving() as receiver:

        async def fail(_: Any) -> stored.Waiting:
            await until(_asked(receiver, 1))
            failed.set()
            raise ValueError("of ours")

        async def answer(_: dict[str, Any]) -> Reply:
            await failed.wait()
            return 200, {}

        receiver.reply = answer
        monkeypatch.setattr(stored, "measure", fail)
        app = await shop(questline, receiver)
        made = await redeem(app, "ada", "bob", "cid")
        with capture_logs() as logs:
            async with delivering(questline):
                await until_tried(app)
        assert Counter(receiver.ids) == Counter(made)
    assert {line["event"] for line in logs if line["log_level"] == "error"} == {"deliver.not_measured"}


async def test_between_two_looks_for_messages_is_a_pause_however_much_ends_meanwhile(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause, looks, claim = 0.2, [], stored.claim
    monkeypatch.setattr(deliveries, "DELIVERY_CLAIM_SECONDS", pause)

    async def timed(*args: Any) -> list[stored.Message]:
        now = asyncio.get_running_loop().time
        began = now()
        found = await claim(*args)
        looks.append((began, now()))
        return found

    monkeypatch.setattr(stored, "claim", timed)
    async with receiving() as receiver:
        app = await shop(questline, receiver)
        made = await redeem(app, *(f"u{n}" for n in range(20)))
        async with delivering(questline):
            await until_tried(app)
        assert Counter(receiver.ids) == Counter(made)
    gaps = [began - ended for (_, ended), (began, _) in pairwise(looks)]
    assert len(gaps) >= 2
    assert min(gaps) > 0.9 * pause  # a timer may be early by its resolution


async def test_who_did_not_answer_is_tried_again_while_others_fill_all_the_room(
    questline: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "DELIVERIES_AT_ONCE", 2)
    begin, tried_again = asyncio.Event(), asyncio.Event()
    async with receiving() as busy:

        async def answer(_: dict[str, Any]) -> Reply:
            await (begin if len(busy.heard) <= 2 else tried_again).wait()
            return 200, {}

        busy.reply = answer
        gone, app = await shop(questline, None), await shop(questline, busy)
        await redeem(gone, "ada")
        async with delivering(questline):
            await until_tried(gone)
            await redeem(app, *(f"u{n}" for n in range(8)))
            await until(_asked(busy, 2))
            await due_now(gone)
            begin.set()
            await until_tried(gone, 2)
            tried_again.set()
            await until_tried(app)
        # None of theirs had to run out of time to make room for it.
        assert [f["delivery"]["lastAnswer"] for f in await fulfilments(app)] == ["200"] * 8


def _asked(receiver: Receiver, times: int) -> Any:
    async def asked() -> bool:
        return len(receiver.heard) >= times

    return asked
