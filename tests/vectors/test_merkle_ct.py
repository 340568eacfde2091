"""The Merkle tree against the vectors of the Certificate Transparency implementations, and the note of signed-note."""

from __future__ import annotations

import base64

import pytest

from qnb.core.merkle import EMPTY_ROOT, inclusion_proof, leaf_hash, nodes_of, root
from qnb.core.note import ED25519, key_id

LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_root_of_the_ct_leaves_is_the_published_one(size: int) -> None:
    """Sizes 0 to 8. Source: google/certificate-transparency, merkle tree tests."""
    assert root(map(leaf_hash, LEAVES[:size])).hex() == ROOTS[size]


def test_path_of_the_sixth_ct_leaf_is_the_published_one() -> None:
    """Leaf 5 of 8 (there counted from 1: 6, 8)."""
    nodes = nodes_of([leaf_hash(leaf) for leaf in LEAVES])
    assert [node.hex() for node in inclusion_proof(5, 8, nodes)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_empty_tree_is_the_hash_of_nothing() -> None:
    """RFC 6962 section 2.1."""
    assert EMPTY_ROOT.hex() == ROOTS[0]


def test_key_id_of_the_example_of_signed_note_is_reproduced() -> None:
    """C2SP signed-note, Verifier keys, Example."""
    name, expected, encoded = ["example.com/foo", "530d903a", "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"]
    raw = base64.b64decode(encoded)
    assert raw[0] == ED25519
    assert key_id(name, raw[0], raw[1:]).hex() == expected
