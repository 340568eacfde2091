from __future__ import annotations

from dataclasses import replace

import pytest

from qnb.core.checkpoint import Checkpoint, Signer, generate_signer, sign_checkpoint, verify_checkpoint
from qnb.core.digester import Digester
from qnb.core.merkle import inclusion_proof, leaf_hash, nodes_of, root
from qnb.core.rotation import key_ring, parse_rotation, rotation_statement
from qnb.core.statement import Context, encode, key_statement
from qnb.errors import SignatureError, VerificationError
from qnb.model import Assurance, Label, Principal, Receipt

ORIGIN = "example.org/log"
ONE, TWO, THREE = (generate_signer(ORIGIN) for _ in range(3))
CONTEXT = Context(
    Principal("ada", 1, Assurance.OS), "s", None, None, None, None, Label("internal"), "2026-11-23T09:30:00.000Z", {}
)


def rotation(old: Signer, new: Signer) -> bytes:
    return encode(rotation_statement(CONTEXT, old.vkeys, new.vkeys, Digester(None)))


ENTRIES = [b"a", rotation(ONE, TWO), b"b", b"c", rotation(TWO, THREE), b"d"]


def note(size: int, signer: Signer) -> str:
    return sign_checkpoint(Checkpoint(ORIGIN, size, root(map(leaf_hash, ENTRIES[:size]))), signer, 1)


def receipt(index: int, size: int, signer: Signer) -> Receipt:
    leaves = list(map(leaf_hash, ENTRIES))
    proof = inclusion_proof(index, size, nodes_of(leaves[:size]))
    return Receipt(ORIGIN, index, leaves[index], proof, note(size, signer), ENTRIES[index].decode())


FORWARD = [receipt(1, 2, ONE), receipt(4, 5, TWO)]
BACKWARD = [receipt(1, 4, TWO), receipt(4, 6, THREE)]


@pytest.mark.parametrize("pinned", [ONE, TWO, THREE])
def test_ring_follows_the_rotations_from_any_pinned_key(pinned: Signer) -> None:
    """Forward on the head that hands over, backward on a head of the new keys."""
    ring = key_ring(pinned.vkeys, [*BACKWARD, *FORWARD])
    assert [(first, keys) for first, keys in ring.spans] == [(0, ONE.vkeys), (3, TWO.vkeys), (6, THREE.vkeys)]
    for size, signer in ((1, ONE), (2, ONE), (3, TWO), (5, TWO), (6, THREE)):
        assert ring.at(size) == signer.vkeys
        assert verify_checkpoint(note(size, signer), ring).size == size


def test_keys_that_were_replaced_sign_no_later_head() -> None:
    """Nor the new ones an earlier one."""
    ring = key_ring(ONE.vkeys, FORWARD)
    for size, signer in ((3, ONE), (2, TWO), (6, TWO)):
        with pytest.raises(SignatureError):
            verify_checkpoint(note(size, signer), ring)


def test_rotation_that_no_trusted_key_vouches_for_changes_nothing() -> None:
    """Signed by the new keys alone, by a stranger, without its statement, or with another one."""
    forged = sign_checkpoint(Checkpoint(ORIGIN, 2, root(map(leaf_hash, ENTRIES[:2]))), generate_signer(ORIGIN), 1)
    for bad in (
        receipt(1, 2, TWO),
        replace(FORWARD[0], checkpoint=forged),
        replace(FORWARD[0], statement=None),
        replace(FORWARD[0], statement=rotation(ONE, THREE).decode()),
        replace(FORWARD[0], proof=()),
        receipt(1, 3, ONE),  # not the head that ends with the entry
    ):
        assert key_ring(ONE.vkeys, [bad]).spans == ((0, ONE.vkeys),)


def test_keys_that_were_replaced_name_no_others_in_place_of_their_successor() -> None:
    """Whoever stole the old keys, which is why they were rotated, gains nothing against who pinned later ones."""
    thief = generate_signer(ORIGIN)
    entries = [b"a", b"x", b"y", b"z", b"w", b"v", rotation(ONE, thief)]
    leaves = list(map(leaf_hash, entries))
    stolen = sign_checkpoint(Checkpoint(ORIGIN, 7, root(leaves)), ONE, 1)
    proof = inclusion_proof(6, 7, nodes_of(leaves))
    forged = Receipt(ORIGIN, 6, leaves[6], proof, stolen, entries[6].decode())
    for pinned in (TWO, THREE):
        ring = key_ring(pinned.vkeys, [forged, *FORWARD, *BACKWARD])
        assert thief.vkeys not in [keys for _, keys in ring.spans]
        assert ring.at(8) == THREE.vkeys
    assert thief.vkeys not in [keys for _, keys in key_ring(ONE.vkeys, [forged, *FORWARD]).spans]


def test_entry_that_is_no_rotation_names_no_keys() -> None:
    """Other entries, other key events."""
    assert parse_rotation(b"nonsense") is None
    assert parse_rotation(encode(key_statement(CONTEXT, "created", "age1pq", Digester(None)))) is None
    assert parse_rotation(ENTRIES[1]) == (ONE.vkeys, TWO.vkeys)


def test_rotation_to_another_log_or_under_another_fingerprint_is_malformed() -> None:
    """It names one log, and the keys that its subject says."""
    other = generate_signer("example.org/other")
    with pytest.raises(VerificationError):
        parse_rotation(rotation(ONE, other))
    statement = rotation_statement(CONTEXT, ONE.vkeys, TWO.vkeys, Digester(None))
    predicate = statement["predicate"]
    assert isinstance(predicate, dict)
    for change in ({"vkeys": THREE.vkeys.format()}, {"vkeys": 1}, {"previousVkeys": "x"}):
        with pytest.raises(VerificationError):
            parse_rotation(encode({**statement, "predicate": {**predicate, **change}}))
