"""The Merkle tree of RFC 6962: hashes, roots, inclusion and consistency proofs, and the compact range that grows it.

Enters: leaf bytes or 32-byte hashes, and a way to ask for the hash of a perfect subtree (`Nodes`).
Leaves: 32-byte hashes and proofs (tuples of them, leaf side first).
Never: reads or writes storage; where the hashes are kept is the caller's affair.
Spec: RFC 6962 section 2.1; the verification algorithms are those of RFC 9162 sections 2.1.3.2 and 2.1.4.2.

A perfect subtree is named by (level, index): it spans the leaves `index << level` up to `(index + 1) << level`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from qnb.errors import ConsistencyError, InclusionError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

Nodes = Callable[[int, int], bytes]
"""Hash of the perfect subtree (level, index)."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256 of 0x00 and the entry. Source: RFC 6962 section 2.1."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and the two children. Source: RFC 6962 section 2.1."""
    return sha256(b"\x01" + left + right).digest()


def nodes_of(leaves: Sequence[bytes]) -> Nodes:
    """All perfect subtrees over a list of leaf hashes, in memory."""
    levels: list[list[bytes]] = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return lambda level, index: levels[level][index]


def root(leaves: Iterable[bytes]) -> bytes:
    """Root over leaf hashes (not entries) in order; the hash of nothing for an empty tree."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def range_root(start: int, stop: int, nodes: Nodes) -> bytes:
    """Root over the leaves start..stop, where start is a multiple of the next power of two of the range's length.

    That is the shape of every right edge that RFC 6962 hashes: perfect subtrees from large to small.
    """
    peaks: list[bytes] = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        peaks.append(nodes(level, start >> level))
        start += 1 << level
    return _fold(peaks)


def _fold(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    result = peaks[-1]
    for peak in peaks[-2::-1]:
        result = node_hash(peak, result)
    return result


def inclusion_proof(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Audit path of a leaf in the tree of the first `size` leaves, leaf side first.

    Raises:
        InclusionError: no such leaf in a tree of that size.

    Source: RFC 6962 section 2.1.1.
    """
    if not 0 <= index < size:
        raise InclusionError("no-such-entry", f"the log of {size} entries has no entry {index}")
    path: list[bytes] = []
    level, last = 0, size - 1
    while last:
        sibling = index ^ 1
        if sibling < last or (sibling == last and size == (last + 1) << level):
            path.append(nodes(level, sibling))
        elif sibling == last:  # the ragged right edge
            path.append(range_root(sibling << level, size, nodes))
        level, index, last = level + 1, index >> 1, last >> 1
    return tuple(path)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bytes:
    """Check that a leaf hash sits at `index` of the tree of `size` leaves whose root is `expected`.

    Returns:
        The root.

    Raises:
        InclusionError: the proof has the wrong length or leads to another root.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise InclusionError("no-such-entry", f"a tree of {size} entries has no entry {index}")
    position, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InclusionError("inclusion-proof", f"the inclusion proof of entry {index} is too long")
        if position & 1 or position == last:
            result = node_hash(sibling, result)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        position, last = position >> 1, last >> 1
    if last:
        raise InclusionError("inclusion-proof", f"the inclusion proof of entry {index} is too short")
    if result != expected:
        raise InclusionError("inclusion-proof", f"the inclusion proof of entry {index} leads to another root")
    return result


def consistency_proof(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Proof that the tree of `old` leaves is the beginning of the tree of `new` leaves; empty for equal or zero sizes.

    Raises:
        ConsistencyError: old is larger than new.

    Source: RFC 6962 section 2.1.2.
    """
    if not 0 <= old <= new:
        raise ConsistencyError("sizes", f"a log of {new} entries cannot contain one of {old}")
    if old in (0, new):
        return ()
    return tuple(_subproof(old, 0, new, nodes, complete=True))


def _subproof(old: int, start: int, stop: int, nodes: Nodes, *, complete: bool) -> list[bytes]:
    size = stop - start
    if old == size:
        return [] if complete else [range_root(start, stop, nodes)]
    split = 1 << ((size - 1).bit_length() - 1)
    middle = start + split
    if old <= split:
        return [*_subproof(old, start, middle, nodes, complete=complete), range_root(middle, stop, nodes)]
    return [*_subproof(old - split, middle, stop, nodes, complete=False), range_root(start, middle, nodes)]


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `old` leaves is the beginning of the tree of `new` leaves.

    Raises:
        ConsistencyError: it is not, or the proof has the wrong length.

    Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 <= old <= new:
        raise ConsistencyError("sizes", f"a log of {new} entries cannot contain one of {old}")
    wrong = ConsistencyError("consistency-proof", f"the log of {new} entries does not contain the log of {old}")
    if old in (0, new):
        if proof or (old == 0 and old_root != EMPTY_ROOT) or (old == new and old_root != new_root):
            raise wrong
        return
    path = list(proof)
    if old & (old - 1) == 0:  # the old root is itself a perfect subtree, which the prover leaves out
        path.insert(0, old_root)
    if not path or _replay(path, old - 1, new - 1) != (old_root, new_root):
        raise wrong


def _replay(path: Sequence[bytes], position: int, last: int) -> tuple[bytes, bytes] | None:
    """Old and new root that a consistency path leads to, None if it has the wrong length."""
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if position & 1 or position == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        position, last = position >> 1, last >> 1
    return None if last else (first, second)


class Frontier:
    """The compact range of a growing tree: the roots of its perfect subtrees, largest first.

    Attributes:
        size: leaves so far.
        peaks: one hash per set bit of `size`, highest bit first.
    """

    __slots__ = ("_merged", "peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count():
            raise ConsistencyError("frontier", f"a tree of {size} entries has {size.bit_count()} peaks")
        self.size = size
        self.peaks = list(peaks)
        self._merged: list[bytes] | None = None

    def __repr__(self) -> str:
        return f"Frontier(size={self.size})"

    def copy(self) -> Frontier:
        """An independent frontier of the same tree."""
        twin = Frontier.__new__(Frontier)
        twin.size, twin.peaks, twin._merged = self.size, self.peaks.copy(), self._merged  # noqa: SLF001 its own class
        return twin

    def append(self, leaf: bytes) -> bytes:
        """Add a leaf hash.

        Returns:
            The hashes of the perfect subtrees that end with this leaf, level 0 (the leaf itself) first, concatenated:
            node (level, index) is at offset 32 * level of what leaf `((index + 1) << level) - 1` returned.
        """
        peaks, size = self.peaks, self.size
        merged: list[bytes] = []
        completed = result = leaf
        while size & 1:
            left = peaks.pop()
            merged.append(left)
            result = sha256(b"\x01" + left + result).digest()
            completed += result
            size >>= 1
        peaks.append(result)
        self.size += 1
        self._merged = merged
        return completed

    def extend(self, leaves: Sequence[bytes]) -> list[bytes]:
        """Add leaf hashes in order, level by level: for many at once, in half the time of as many `append`.

        Returns:
            What `append` would have returned for each. The last leaf has no `proof_of_last` afterwards.
        """
        start = self.size
        completed = list(leaves)
        peaks = iter(self.peaks)
        known = {level: next(peaks) for level in reversed(range(start.bit_length())) if start >> level & 1}
        level, first, nodes = 0, start, list(leaves)
        while nodes:
            if first & 1:  # the left sibling of the first one is a peak of the tree so far
                nodes.insert(0, known.pop(level))
                first -= 1
            parents = [sha256(b"\x01" + a + b).digest() for a, b in zip(nodes[0::2], nodes[1::2], strict=False)]
            if len(nodes) & 1:
                known[level] = nodes[-1]
            level, first, nodes = level + 1, first >> 1, parents
            for index, parent in enumerate(parents, first + 1):
                completed[(index << level) - 1 - start] += parent
        self.size += len(leaves)
        self.peaks = [known[level] for level in sorted(known, reverse=True)]
        self._merged = None
        return completed

    def root(self) -> bytes:
        """Root of the tree so far."""
        return _fold(self.peaks)

    def proof_of_last(self) -> tuple[bytes, ...]:
        """Audit path of the leaf that `append` was last called with, from memory.

        Raises:
            InclusionError: nothing was appended since the frontier was made.
        """
        if self._merged is None:
            raise InclusionError("no-last-leaf", "nothing was appended to this frontier")
        return (*self._merged, *self.peaks[-2::-1])
