from __future__ import annotations

import base64
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from qnb.core.checkpoint import (
    Checkpoint,
    Signer,
    format_signer,
    generate_signer,
    parse_checkpoint,
    parse_signer,
    parse_vkeys,
    sign_checkpoint,
    verify_checkpoint,
)
from qnb.errors import CheckpointError, ConfigError, QnbError, SignatureError

ORIGIN = "example.org/log"
SIGNER = Signer(ORIGIN, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
HEAD = Checkpoint(ORIGIN, 5, b"\x07" * 32)
NOTE = sign_checkpoint(HEAD, SIGNER, 1_700_000_000)


def lines(note: str) -> list[str]:
    return note.splitlines(keepends=True)


def test_signed_head_comes_back_with_its_time() -> None:
    """Both lines hold; the time is what the ML-DSA line signed."""
    assert verify_checkpoint(NOTE, SIGNER.vkeys) == Checkpoint(ORIGIN, 5, HEAD.root, 1_700_000_000)


def test_note_has_the_form_of_the_specification() -> None:
    """Three lines, an empty one, two signature lines: signed-note and tlog-checkpoint."""
    text = lines(NOTE)
    assert text[:4] == [f"{ORIGIN}\n", "5\n", base64.b64encode(HEAD.root).decode() + "\n", "\n"]
    assert [line.rpartition(" ")[0] for line in text[4:]] == [f"— {ORIGIN}"] * 2


def test_signed_bytes_are_those_of_the_specification() -> None:
    """Rebuilt from the text of tlog-cosignature, field by field, and verified with bare keys."""
    classic, quantum = (base64.b64decode(line.rpartition(" ")[2]) for line in lines(NOTE)[4:])
    keys = [base64.b64decode(line.split("+", 2)[2])[1:] for line in SIGNER.vkeys.format().splitlines()]
    Ed25519PublicKey.from_public_bytes(keys[0]).verify(classic[4:], NOTE.partition("\n\n")[0].encode() + b"\n")
    time = (1_700_000_000).to_bytes(8, "big")
    assert quantum[4:12] == time
    name = bytes([len(ORIGIN)]) + ORIGIN.encode()
    message = b"subtree/v1\n\0" + name + time + name + bytes(8) + (5).to_bytes(8, "big") + HEAD.root
    MLDSA44PublicKey.from_public_bytes(keys[1]).verify(quantum[12:], message)


@pytest.mark.parametrize(("line", "name"), [(4, "Ed25519"), (5, "ML-DSA-44")])
def test_note_without_one_of_the_signatures_is_refused(line: int, name: str) -> None:
    """The other alone does not do; the error says which is missing."""
    text = lines(NOTE)
    del text[line]
    with pytest.raises(SignatureError, match=name):
        verify_checkpoint("".join(text), SIGNER.vkeys)


@pytest.mark.parametrize("line", [4, 5])
def test_note_with_one_wrong_signature_is_refused(line: int) -> None:
    """Taken from another head, of the same key."""
    text, other = lines(NOTE), lines(sign_checkpoint(Checkpoint(ORIGIN, 6, HEAD.root), SIGNER, 1_700_000_000))
    text[line] = other[line]
    with pytest.raises(SignatureError):
        verify_checkpoint("".join(text), SIGNER.vkeys)


def test_known_key_that_signed_wrongly_once_spoils_the_note() -> None:
    """A second line of a known key must hold, too."""
    other = lines(sign_checkpoint(Checkpoint(ORIGIN, 6, HEAD.root), SIGNER, 1))
    with pytest.raises(SignatureError):
        verify_checkpoint(NOTE + other[4], SIGNER.vkeys)


def test_time_of_the_cosignature_is_signed() -> None:
    """Changing it breaks the line."""
    text = lines(NOTE)
    name, _, encoded = text[5].rpartition(" ")
    raw = bytearray(base64.b64decode(encoded))
    raw[11] ^= 1
    text[5] = f"{name} {base64.b64encode(bytes(raw)).decode()}\n"
    with pytest.raises(SignatureError):
        verify_checkpoint("".join(text), SIGNER.vkeys)


def test_witness_lines_are_passed_over() -> None:
    """Signatures of unknown keys change nothing."""
    witness = lines(sign_checkpoint(Checkpoint("w.example", 5, HEAD.root), generate_signer("w.example"), 1))[5]
    assert verify_checkpoint(NOTE + witness, SIGNER.vkeys).size == 5


def test_note_of_another_key_or_origin_is_refused() -> None:
    """The same name with other keys; another name."""
    with pytest.raises(SignatureError):
        verify_checkpoint(NOTE, generate_signer(ORIGIN).vkeys)
    with pytest.raises(CheckpointError):
        verify_checkpoint(NOTE, generate_signer("example.org/other").vkeys)
    with pytest.raises(CheckpointError):
        sign_checkpoint(Checkpoint("example.org/other", 1, HEAD.root), SIGNER, 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace("\n5\n", "\n6\n"),
        lambda note: note.replace("\n5\n", "\n05\n"),
        lambda note: note.replace("\n5\n", "\n-5\n"),
        lambda note: note.replace("\n5\n", "\n\N{ARABIC-INDIC DIGIT FIVE}\n"),
        lambda note: note.replace("\n\n", "\nextension\n\n", 1),
        lambda note: note.replace("\n\n", "\n", 1),
        lambda note: note[:-1],
        lambda note: note + "\n",
        lambda note: "\n" + note,
        lambda note: note.replace("—", "-", 1),
        lambda note: note.replace("\n", "\r\n"),
        lambda note: note.replace("/log ", "/log  ", 1),
        lambda note: note + "— x y\n",
        lambda note: note.partition("\n\n")[0] + "\n\n",
        lambda note: "",
        lambda note: note + "— x " + "A" * 200_000 + "\n",
    ],
)
def test_malformed_or_changed_note_is_refused(change) -> None:
    """One spelling only; never anything but our own errors."""
    with pytest.raises((CheckpointError, SignatureError)):
        verify_checkpoint(change(NOTE), SIGNER.vkeys)


def test_parsed_checkpoint_carries_no_time() -> None:
    """Nobody vouched for it."""
    assert parse_checkpoint(NOTE) == HEAD


def test_key_files_come_back_as_they_were() -> None:
    """log.key and log.vkey, in any order of lines."""
    text = format_signer(SIGNER)
    again = parse_signer("\n".join(reversed(text.splitlines())))
    assert format_signer(again) == text
    assert again.digest_key == b"\x03" * 32
    assert parse_vkeys(SIGNER.vkeys.format()) == SIGNER.vkeys == again.vkeys


def test_keys_made_twice_differ() -> None:
    """From the randomness given."""
    assert format_signer(generate_signer(ORIGIN)) != format_signer(generate_signer(ORIGIN))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "\n".join(text.splitlines()[:2]),
        lambda text: text + text.splitlines()[0],
        lambda text: text.replace("PRIVATE", "PUBLIC", 1),
        lambda text: text.replace(ORIGIN, "example.org/else", 1),
        lambda text: text.replace("+0", "+1").replace("+a", "+b").replace("+9", "+8")[:-9],
        lambda text: text.replace("DIGEST+KEY", "PRIVATE+KEY"),
        lambda text: "\x00\xff nonsense",
    ],
)
def test_key_file_that_was_damaged_is_refused_without_quoting_it(spoil) -> None:
    """No part of a key may be in the error."""
    with pytest.raises(ConfigError) as caught:
        parse_signer(spoil(format_signer(SIGNER)))
    assert "AQEB" not in str(caught.value)


def test_vkeys_that_are_not_one_of_each_are_refused() -> None:
    """One only, one twice, of two logs, with a wrong id."""
    one, two = SIGNER.vkeys.format().splitlines()
    other = generate_signer("example.org/b").vkeys.format().splitlines()[1]
    for text in (
        one,
        two,
        f"{one}\n{one}\n{two}",
        f"{one}\n{other}",
        one.replace("+", "+0", 1),
        f"\udcff{one}",
        "nonsense",
        "",
    ):
        with pytest.raises(ConfigError):
            parse_vkeys(text)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "x" * 256, "\udcff"])
def test_origin_that_cannot_name_a_key_is_refused(origin: str) -> None:
    """Signed-note allows neither spaces nor plus."""
    with pytest.raises(ConfigError):
        generate_signer(origin)


def test_signer_neither_shows_nor_pickles_its_keys() -> None:
    """Its repr is the origin."""
    assert repr(SIGNER) == f"Signer(origin='{ORIGIN}')"
    with pytest.raises((TypeError, QnbError)):
        pickle.dumps(SIGNER)
