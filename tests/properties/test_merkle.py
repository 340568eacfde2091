from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from qnb.core.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    nodes_of,
    root,
    verify_consistency,
    verify_inclusion,
)
from qnb.errors import ConsistencyError, InclusionError

SIZES = st.integers(1, 2000)
LEAVES = [leaf_hash(number.to_bytes(2, "big")) for number in range(2000)]
NODES = nodes_of(LEAVES)


@settings(derandomize=True)
@given(SIZES, st.data())
def test_proofs_of_a_large_tree_verify_and_no_other_leaf_does(size: int, data: st.DataObject) -> None:
    """At any size and index; the same proof holds for no other leaf."""
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, len(LEAVES) - 1).filter(lambda n: n != index))
    expected, proof = root(LEAVES[:size]), inclusion_proof(index, size, NODES)
    verify_inclusion(LEAVES[index], index, size, proof, expected)
    try:
        verify_inclusion(LEAVES[other], index, size, proof, expected)
    except InclusionError:
        return
    raise AssertionError


@settings(derandomize=True)
@given(SIZES, st.data())
def test_consistency_holds_from_any_older_size_and_for_no_other_past(size: int, data: st.DataObject) -> None:
    """The proof of one past is not a proof of another."""
    old = data.draw(st.integers(1, size))
    proof = consistency_proof(old, size, NODES)
    verify_consistency(old, size, root(LEAVES[:old]), root(LEAVES[:size]), proof)
    try:
        verify_consistency(
            old, size, root(LEAVES[old - 1 :: -1]) if old > 1 else LEAVES[-1], root(LEAVES[:size]), proof
        )
    except ConsistencyError:
        return
    raise AssertionError


@settings(derandomize=True)
@given(st.lists(st.binary(max_size=8), max_size=70), st.integers(0, 70))
def test_frontier_taken_up_at_any_point_ends_in_the_same_root(entries: list[bytes], cut: int) -> None:
    """Stored peaks are enough to go on."""
    leaves = [leaf_hash(entry) for entry in entries]
    first = Frontier()
    for leaf in leaves[:cut]:
        first.append(leaf)
    second = Frontier(first.size, first.peaks)
    for leaf in leaves[cut:]:
        second.append(leaf)
    assert second.root() == root(leaves)


@settings(derandomize=True)
@given(st.integers(0, 300), st.lists(st.integers(0, 200), max_size=5))
def test_leaves_added_many_at_once_give_the_same_nodes_as_one_by_one(start: int, steps: list[int]) -> None:
    """Whatever was there before, in stretches of any length."""
    one, many = Frontier(), Frontier()
    at = 0
    for step in (start, *steps):
        chunk = LEAVES[at : at + step]
        assert many.extend(chunk) == [one.append(leaf) for leaf in chunk]
        assert (many.size, many.peaks, many.root()) == (one.size, one.peaks, one.root())
        at += step
