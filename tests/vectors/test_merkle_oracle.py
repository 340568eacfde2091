"""The Merkle tree against pymerkle, which somebody else wrote: an oracle in tests, never a dependency."""

from __future__ import annotations

import pytest
from pymerkle import InmemoryTree, InvalidProof, verify_inclusion
from pymerkle import verify_consistency as oracle_verify

from qnb.core.merkle import consistency_proof, inclusion_proof, leaf_hash, nodes_of, root, verify_consistency

SIZE = 256
ENTRIES = [b"entry %d" % number for number in range(SIZE)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


@pytest.fixture(scope="module")
def tree() -> InmemoryTree:
    oracle = InmemoryTree(algorithm="sha256")
    for entry in ENTRIES:
        oracle.append_entry(entry)
    return oracle


def test_root_at_every_size_is_that_of_the_oracle(tree: InmemoryTree) -> None:
    """Sizes 1 to 256."""
    for size in range(1, SIZE + 1):
        assert root(LEAVES[:size]) == tree.get_root(size)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13, 100, 128, 255, 256])
def test_inclusion_paths_have_the_hashes_of_the_oracle(tree: InmemoryTree, size: int) -> None:
    """Its paths are written in another order and with the leaf, so the hashes are compared as a set; its verifier
    accepts its own proof of our leaf under our root.
    """
    nodes = nodes_of(LEAVES[:size])
    for index in range(size):
        proof = tree.prove_inclusion(index + 1, size)
        theirs = {bytes.fromhex(node) for node in proof.serialize()["path"]}
        assert {LEAVES[index], *inclusion_proof(index, size, nodes)} == theirs
        verify_inclusion(LEAVES[index], root(LEAVES[:size]), proof)


@pytest.mark.parametrize("new", [2, 7, 8, 13, 100, 256])
def test_consistency_of_any_two_of_our_roots_is_accepted_by_the_oracle(tree: InmemoryTree, new: int) -> None:
    """Its own proof leads from our old root to our new one, and from no other; ours does so for our verifier."""
    nodes = nodes_of(LEAVES[:new])
    for old in range(1, new):
        before, after = root(LEAVES[:old]), root(LEAVES[:new])
        proof = tree.prove_consistency(old, new)
        oracle_verify(before, after, proof)
        with pytest.raises(InvalidProof):
            oracle_verify(LEAVES[-1], after, proof)
        verify_consistency(old, new, before, after, consistency_proof(old, new, nodes))
