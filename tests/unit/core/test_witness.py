from __future__ import annotations

import base64
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from qnb.core.checkpoint import Checkpoint, Signer, generate_signer, sign_checkpoint, verify_checkpoint
from qnb.core.merkle import consistency_proof, leaf_hash, nodes_of, root
from qnb.core.note import add_lines
from qnb.core.witness import (
    Submission,
    advance,
    format_submission,
    generate_witness,
    parse_submission,
    parse_witness_key,
    parse_witness_vkeys,
    verify_cosignature,
)
from qnb.errors import CheckpointError, ConfigError, ConsistencyError, SignatureError, VerificationError

ORIGIN = "example.org/log"
SIGNER = Signer(ORIGIN, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)
LEAVES = [leaf_hash(b"%d" % number) for number in range(20)]
NODES = nodes_of(LEAVES)
WITNESS = generate_witness("witness.example/w1", lambda size: b"\x07" * size)


def head(size: int, leaves: list[bytes] = LEAVES) -> Checkpoint:
    return Checkpoint(ORIGIN, size, root(leaves[:size]))


def note(size: int, leaves: list[bytes] = LEAVES) -> str:
    return sign_checkpoint(head(size, leaves), SIGNER, 1_700_000_000)


def submission(old: int, new: int) -> Submission:
    return Submission(old, consistency_proof(old, new, NODES), note(new))


def cosigned(size: int) -> str:
    return note(size) + WITNESS.cosign(head(size), 1_700_000_100)


def test_head_that_contains_the_kept_one_is_taken() -> None:
    """From nothing, onwards, and the same again."""
    for old, new in ((0, 5), (5, 13), (13, 13)):
        known = None if old == 0 else head(old)
        assert advance(known, submission(old, new), SIGNER.vkeys).size == new


def test_log_that_went_back_or_was_rewritten_is_named() -> None:
    """A smaller head; another one of the same size; a larger one with another past; a gap."""
    other = [leaf_hash(b"x"), *LEAVES[1:]]
    rewritten = Submission(5, consistency_proof(5, 13, nodes_of(other)), note(13, other))
    for known, given, code in (
        (head(5), submission(0, 3), "log-went-back"),
        (head(5), Submission(0, (), note(5, other)), "log-rewritten"),
        (head(5), rewritten, "log-rewritten"),
        (head(5), submission(7, 13), "gap"),
        (head(5), Submission(5, (), note(13)), "log-rewritten"),
    ):
        with pytest.raises(ConsistencyError) as caught:
            advance(known, given, SIGNER.vkeys)
        assert caught.value.code == code


def test_head_of_another_log_or_key_is_not_taken() -> None:
    """The witness knows the log by its keys."""
    with pytest.raises(SignatureError):
        advance(None, submission(0, 5), generate_signer(ORIGIN).vkeys)
    with pytest.raises(CheckpointError):
        advance(None, submission(0, 5), generate_signer("example.org/other").vkeys)


def test_cosignature_is_found_beside_the_logs_own() -> None:
    """The log's verifier passes over it; the witness's gives its time."""
    text = cosigned(5)
    assert verify_checkpoint(text, SIGNER.vkeys).size == 5
    assert verify_cosignature(text, WITNESS.vkeys) == 1_700_000_100
    assert verify_cosignature(note(5), WITNESS.vkeys) is None
    assert verify_cosignature(text, generate_witness("witness.example/w1").vkeys) is None


def test_cosigned_bytes_are_those_of_the_specification() -> None:
    """Rebuilt from the text of tlog-cosignature and verified with a bare key."""
    line = cosigned(5).splitlines()[6]
    raw = base64.b64decode(line.rpartition(" ")[2])
    message = b"cosignature/v1\ntime 1700000100\n" + head(5).text().encode()
    key = base64.b64decode(WITNESS.vkeys.format().splitlines()[0].split("+", 2)[2])
    assert (key[0], raw[4:12]) == (4, (1_700_000_100).to_bytes(8, "big"))
    Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[12:], message)


@pytest.mark.parametrize("line", [6, 7])
def test_cosignature_with_one_line_missing_or_of_another_head_is_refused(line: int) -> None:
    """Both algorithms are required of a witness, too."""
    lines = cosigned(5).splitlines(keepends=True)
    with pytest.raises(SignatureError, match="no"):
        verify_cosignature("".join(lines[:line] + lines[line + 1 :]), WITNESS.vkeys)
    lines[line] = cosigned(6).splitlines(keepends=True)[line]
    with pytest.raises(SignatureError, match="does not hold"):
        verify_cosignature("".join(lines), WITNESS.vkeys)


def test_lines_of_a_witness_are_added_once_and_to_their_own_head() -> None:
    """What is there stays; another head is refused."""
    bare, witnessed = note(5), cosigned(5)
    joined = add_lines(bare, witnessed)
    assert verify_cosignature(joined, WITNESS.vkeys) is not None
    assert joined.startswith(bare)
    assert add_lines(joined, witnessed) == joined
    with pytest.raises(CheckpointError):
        add_lines(note(6), cosigned(5))


def test_submission_has_the_form_of_an_add_checkpoint_request() -> None:
    """tlog-witness: old size, proof lines, an empty line, the note; one spelling only."""
    given = submission(5, 13)
    text = format_submission(given)
    assert text.startswith("old 5\n")
    assert parse_submission(text) == given
    for bad in (
        "",
        text.replace("old 5", "old 05"),
        text.replace("old 5", "new 5"),
        text.replace("\n\n", "\n", 1),
        text.replace("old 5\n", "old 5\nAAAA\n"),
        "old 5\n" + "A" * 43 + "=\n" * 64 + "\n" + note(13),
    ):
        with pytest.raises(VerificationError):
            parse_submission(bad)


def test_keys_of_a_witness_come_back_from_their_file_and_show_nothing() -> None:
    """A damaged file, a log's key and a pickle are refused."""
    assert parse_witness_key(WITNESS.format()).vkeys == WITNESS.vkeys
    assert parse_witness_vkeys(WITNESS.vkeys.format()) == WITNESS.vkeys
    assert repr(WITNESS) == "WitnessKey(name='witness.example/w1')"
    for bad in ("", WITNESS.format()[:-9], WITNESS.format() * 2, SIGNER.format()):
        with pytest.raises(ConfigError):
            parse_witness_key(bad)
    for bad in ("", SIGNER.vkeys.format(), WITNESS.vkeys.format().splitlines()[0]):
        with pytest.raises(ConfigError):
            parse_witness_vkeys(bad)
    with pytest.raises(TypeError):
        pickle.dumps(WITNESS)
