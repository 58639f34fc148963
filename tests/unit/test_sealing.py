"""Secrets at rest open under the keys they were sealed with, where they belong, and nowhere else."""

import base64

import pytest

from questline.store.sealing import CannotOpen, CannotSeal, Sealer, is_sealed, keys_of

OLD, NEW = b"o" * 32, b"n" * 32


def test_a_sealed_secret_opens_and_shows_nothing_of_itself() -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal("the secret", "webhook todo")
    assert sealer.open(sealed, "webhook todo") == "the secret"
    assert "secret" not in sealed
    assert sealed != sealer.seal("the secret", "webhook todo")


def test_a_new_key_in_front_seals_while_the_old_one_still_opens() -> None:
    sealed = Sealer([OLD]).seal("s", "p")
    both = Sealer([NEW, OLD])
    assert (both.open(sealed, "p"), both.is_current(sealed), both.is_current(both.seal("s", "p"))) == ("s", False, True)
    with pytest.raises(CannotOpen, match="QUESTLINE_SECRET_KEYS"):
        Sealer([NEW]).open(sealed, "p")


@pytest.mark.parametrize("change", ["moved", "changed"])
def test_a_sealed_secret_that_was_moved_or_changed_does_not_open(change: str) -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal("s", "webhook one")
    head, box = sealed.rsplit(".", 1)
    raw = bytearray(base64.urlsafe_b64decode(box))
    raw[-1] ^= 1
    changed = f"{head}.{base64.urlsafe_b64encode(bytes(raw)).decode()}"
    with pytest.raises(CannotOpen):
        sealer.open(*((sealed, "webhook two") if change == "moved" else (changed, "webhook one")))


def test_without_a_key_nothing_is_stored_and_the_message_says_what_to_set() -> None:
    with pytest.raises(CannotSeal, match="QUESTLINE_SECRET_KEYS"):
        Sealer([]).seal("s", "p")


def test_a_secret_stored_in_the_clear_is_told_from_a_sealed_one() -> None:
    assert (is_sealed("whsec_plain"), is_sealed(Sealer([OLD]).seal("s", "p"))) == (False, True)


@pytest.mark.parametrize("text", ["short", "%%%%", base64.b64encode(b"x" * 31).decode()])
def test_a_key_that_is_none_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes in base64") as raised:
        keys_of(text)
    assert text not in str(raised.value)


def test_keys_come_in_either_alphabet_of_base64_with_or_without_padding() -> None:
    key = bytes(range(224, 256))
    texts = [base64.b64encode(key), base64.urlsafe_b64encode(key), base64.b64encode(key).rstrip(b"=")]
    assert keys_of(", ".join(text.decode() for text in texts)) == [key] * 3
