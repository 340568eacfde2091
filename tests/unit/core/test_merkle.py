from __future__ import annotations

import pytest

from qnb.core.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    nodes_of,
    range_root,
    root,
    verify_consistency,
    verify_inclusion,
)
from qnb.errors import ConsistencyError, InclusionError

LEAVES = [leaf_hash(b"entry %d" % number) for number in range(256)]


def reference_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(reference_root(leaves[:split]), reference_root(leaves[split:]))


def check_every_proof(size: int) -> None:
    leaves = LEAVES[:size]
    nodes, expected = nodes_of(leaves), reference_root(leaves)
    assert range_root(0, size, nodes) == expected
    for index in range(size):
        proof = inclusion_proof(index, size, nodes)
        assert verify_inclusion(leaves[index], index, size, proof, expected) == expected
    for old in range(size + 1):
        verify_consistency(old, size, reference_root(leaves[:old]), expected, consistency_proof(old, size, nodes))


@pytest.mark.parametrize("size", range(1, 65))
def test_every_proof_of_a_tree_up_to_64_leaves_verifies(size: int) -> None:
    """Each leaf, each older size."""
    check_every_proof(size)


@pytest.mark.slow
def test_every_proof_of_a_tree_up_to_256_leaves_verifies() -> None:
    """As above, to 256."""
    for size in range(65, 257):
        check_every_proof(size)


def test_frontier_gives_root_nodes_and_last_proof_at_every_size() -> None:
    """The compact range agrees with the whole tree at each of 256 sizes."""
    frontier, stored = Frontier(), []
    for size, leaf in enumerate(LEAVES, 1):
        stored.append(frontier.append(leaf))
        nodes = nodes_of(LEAVES[:size])
        assert frontier.size == size
        assert frontier.root() == reference_root(LEAVES[:size]) == root(LEAVES[:size])
        assert frontier.proof_of_last() == inclusion_proof(size - 1, size, nodes)

        def from_rows(level: int, index: int) -> bytes:
            return stored[((index + 1) << level) - 1][32 * level : 32 * level + 32]

        assert range_root(0, size, from_rows) == frontier.root()
        assert Frontier(size, frontier.peaks).root() == frontier.root()


def test_copied_frontier_grows_on_its_own() -> None:
    """Appending to the copy leaves the original as it was."""
    frontier = Frontier()
    frontier.append(LEAVES[0])
    twin = frontier.copy()
    twin.append(LEAVES[1])
    assert (frontier.size, frontier.root()) == (1, LEAVES[0])
    assert twin.proof_of_last() == (LEAVES[0],)


def test_frontier_without_an_append_has_no_last_proof() -> None:
    """A frontier made from peaks does not know the merged siblings."""
    with pytest.raises(InclusionError):
        Frontier(1, [LEAVES[0]]).proof_of_last()


def test_frontier_with_a_wrong_number_of_peaks_is_refused() -> None:
    """Three leaves have two peaks."""
    with pytest.raises(ConsistencyError):
        Frontier(3, LEAVES[:1])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_changed_inclusion_proof_is_refused(size: int) -> None:
    """Another leaf, index, root, a longer, shorter or altered path."""
    nodes, expected = nodes_of(LEAVES[:size]), root(LEAVES[:size])
    for index in range(size):
        proof = inclusion_proof(index, size, nodes)
        attempts = [
            (LEAVES[100], index, size, proof, expected),
            (LEAVES[index], index, size, proof, LEAVES[100]),
            (LEAVES[index], index, size, (*proof, LEAVES[0]), expected),
            (LEAVES[index], size, size, proof, expected),
            (LEAVES[index], -1, size, proof, expected),
        ]
        if proof:
            attempts += [
                (LEAVES[index], index, size, proof[:-1], expected),
                (LEAVES[index], index, size, (LEAVES[100], *proof[1:]), expected),
                (LEAVES[index], index ^ 1, size, proof, expected),
            ]
        for attempt in attempts:
            with pytest.raises(InclusionError):
                verify_inclusion(*attempt)


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 8), (6, 13), (8, 13)])
def test_changed_consistency_proof_is_refused(old: int, new: int) -> None:
    """Another root on either side, a longer, shorter or altered path."""
    proof = consistency_proof(old, new, nodes_of(LEAVES[:new]))
    before, after = root(LEAVES[:old]), root(LEAVES[:new])
    for attempt in (
        (old, new, LEAVES[100], after, proof),
        (old, new, before, LEAVES[100], proof),
        (old, new, before, after, (*proof, LEAVES[0])),
        (old, new, before, after, proof[:-1]),
        (old, new, before, after, (LEAVES[100], *proof[1:])),
        (new, old, after, before, proof),
    ):
        with pytest.raises(ConsistencyError):
            verify_consistency(*attempt)


def test_consistency_of_equal_and_empty_trees_needs_no_proof() -> None:
    """And takes none."""
    one = root(LEAVES[:5])
    verify_consistency(5, 5, one, one, ())
    verify_consistency(0, 5, EMPTY_ROOT, one, ())
    for attempt in ((5, 5, one, one, (one,)), (5, 5, one, LEAVES[0], ()), (0, 5, one, one, ())):
        with pytest.raises(ConsistencyError):
            verify_consistency(*attempt)


def test_proof_of_what_is_not_there_is_refused() -> None:
    """Indices and sizes outside the tree."""
    nodes = nodes_of(LEAVES[:4])
    for index in (-1, 4):
        with pytest.raises(InclusionError):
            inclusion_proof(index, 4, nodes)
    with pytest.raises(ConsistencyError):
        consistency_proof(5, 4, nodes)
