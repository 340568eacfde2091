"""Rewrapping touches the header and nothing else, whatever is inside and whoever it is for."""

from __future__ import annotations

import io
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from qnb.core.seal import generate_identity, open_, rewrap, seal
from qnb.core.seal.header import parse_header
from qnb.errors import NoIdentityMatchError, QnbError

PEOPLE = [generate_identity(lambda n, i=i: bytes([i]) * n) for i in range(1, 6)]
SOME = st.sets(st.integers(0, 4), min_size=1).map(sorted)


def payload(file: bytes) -> bytes:
    src = io.BytesIO(file)
    parse_header(src)
    return src.read()


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    plain=st.binary(max_size=200), size=st.sampled_from([0, 1, 65535, 65536, 65537]), steps=st.lists(SOME, min_size=2)
)
def test_payload_never_changes_and_only_those_named_open(plain: bytes, size: int, steps: list[list[int]]) -> None:
    """Over any sequence of groups: the payload is the first file's, and the last group alone opens the last one."""
    content = plain + bytes(size)
    first = file = seal(content, [PEOPLE[i].recipient for i in steps[0]])
    for before, after in itertools.pairwise(steps):
        file = rewrap(file, [PEOPLE[before[-1]]], [PEOPLE[i].recipient for i in after])
        assert payload(file) == payload(first)
    for index, identity in enumerate(PEOPLE):
        try:
            opened = open_(file, [identity]) == content
        except NoIdentityMatchError:
            opened = False
        assert opened is (index in steps[-1])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(at=st.integers(0, 3000), flip=st.integers(1, 255))
def test_header_with_a_changed_byte_is_never_rewrapped(at: int, flip: int) -> None:
    """What comes of a file whose header is not the sealer's is an error of ours, or the payload that was there."""
    file = bytearray(seal(b"content", [PEOPLE[0].recipient]))
    header = len(file) - len(payload(bytes(file)))
    file[at % header] ^= flip
    try:
        rewrap(bytes(file), PEOPLE, [PEOPLE[1].recipient])
    except QnbError:
        return
    raise AssertionError("an altered header was rewrapped")
