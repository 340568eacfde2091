from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from qnb.core.card import render_html, render_text
from qnb.core.notebook import open_notebook
from qnb.core.seal import (
    PassphraseIdentity,
    armor,
    bech32,
    dearmor,
    generate_identity,
    open_,
    open_stream,
    parse_identities,
    parse_recipient,
    seal,
)
from qnb.core.seal.header import Stanza, encode_header, parse_header
from qnb.core.seal.output import MIME, OutputHeader, pack_output, parse_bundle, sealed_bundle, unpack_output
from qnb.core.seal.stream import CHUNK
from qnb.errors import QnbError, SealError

ALICE = generate_identity(lambda n: b"a" * n)
IDENTITIES = [ALICE, PassphraseIdentity("x", max_work_factor=8)]
SMALL = seal(b"the content", [ALICE.recipient])
TWO_CHUNKS = seal(b"q" * (CHUNK + 100), [ALICE.recipient])
ARMORED = armor(SMALL)
HEADER = OutputHeader(1, "s", 1, "running", None, "restricted", "nb", "c", None)
BUNDLE = sealed_bundle(HEADER, seal(pack_output(HEADER, []), [ALICE.recipient]), [ALICE.recipient])

vchar = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=90)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
lines = st.sampled_from([
    b"age-encryption.org/v1\n", b"-> X25519 abc\n", b"-> scrypt AAAAAAAAAAAAAAAAAAAAAA 4\n", b"-> mlkem768x25519 A\n",
    b"--- " + b"A" * 43 + b"\n", b"A" * 64 + b"\n", b"A" * 43 + b"\n", b"\n", b"-----BEGIN AGE ENCRYPTED FILE-----\n",
    b"-----END AGE ENCRYPTED FILE-----\n", b"\r\n",
])  # fmt: skip


@given(st.binary(max_size=3 * CHUNK), st.sampled_from([1, 7, CHUNK, CHUNK + 16]))
@settings(max_examples=30)
def test_any_content_sealed_opens_to_itself(plain: bytes, step: int) -> None:
    """Content of any length comes back, however the source hands it out."""

    class Steps(io.RawIOBase):
        src = io.BytesIO(seal(plain, [ALICE.recipient]))

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            data = self.src.read(min(len(buffer), max(step, 500)))
            buffer[: len(data)] = data
            return len(data)

    opened = io.BytesIO()
    open_stream(io.BufferedReader(Steps(), 64), opened, [ALICE])
    assert opened.getvalue() == plain


@given(st.lists(st.binary(max_size=30) | lines, max_size=12).map(b"".join))
@example(b"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 4\n" + b"A" * 43 + b"\n--- " + b"A" * 43 + b"\n")
def test_any_bytes_opened_fail_with_our_error(data: bytes) -> None:
    """Nothing but our own errors comes out of bytes that somebody made up."""
    with pytest.raises(SealError):
        open_(data, IDENTITIES)
    with pytest.raises(SealError):
        open_stream(io.BytesIO(data), io.BytesIO(), IDENTITIES)


@given(st.data())
@settings(max_examples=150)
def test_file_mutated_anywhere_never_opens(data: st.DataObject) -> None:
    """One changed, lost or added byte anywhere, and the file does not open."""
    whole = data.draw(st.sampled_from([SMALL, TWO_CHUNKS]))
    at = data.draw(st.integers(0, len(whole) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "drop", "insert", "append"]))
    mutated = {
        "flip": whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :],
        "cut": whole[:at],
        "drop": whole[:at] + whole[at + 1 :],
        "insert": whole[:at] + b"x" + whole[at:],
        "append": whole + data.draw(st.binary(min_size=1, max_size=40)),
    }[how]
    if mutated != whole:
        with pytest.raises(SealError):
            open_(mutated, [ALICE])
        with pytest.raises(SealError):
            open_stream(io.BytesIO(mutated), io.BytesIO(), [ALICE])


@given(st.data())
def test_armor_mutated_never_opens_as_something_else(data: st.DataObject) -> None:
    """Armor has one spelling: a changed character is an error, except the white space around the block."""
    at = data.draw(st.integers(0, len(ARMORED) - 1))
    mutated = ARMORED[:at] + bytes([data.draw(st.integers(0, 255))]) + ARMORED[at + 1 :]
    try:
        opened = open_(mutated, [ALICE])
    except SealError:
        return
    assert opened == b"the content"
    assert dearmor(mutated) == SMALL


@given(st.binary(max_size=5000))
def test_armor_of_any_bytes_is_their_only_spelling(data: bytes) -> None:
    """What armor writes, dearmor reads, and nothing else gives those bytes."""
    assert dearmor(armor(data)) == data
    assert armor(dearmor(armor(data))) == armor(data)


@given(
    st.lists(st.builds(Stanza, st.lists(vchar, min_size=1, max_size=4).map(tuple), st.binary(max_size=200)), min_size=1,
             max_size=5),
    st.binary(min_size=16, max_size=16),
)  # fmt: skip
def test_header_encoded_parses_to_itself(stanzas: list[Stanza], file_key: bytes) -> None:
    """Every header that we write is read back, and its code holds for its key only."""
    encoded = encode_header(stanzas, file_key)
    src = io.BytesIO(encoded + b"rest")
    header = parse_header(src)
    assert header.stanzas == tuple(stanzas)
    assert src.read() == b"rest"
    header.verify(file_key)


@given(st.text() | st.text("age1pqz023456789ACDEFGHJKLMN", max_size=80))
def test_any_text_parsed_as_key_fails_with_our_error(text: str) -> None:
    """No text that somebody pastes crashes a parser."""
    for parse in (parse_recipient, parse_identities, bech32.decode):
        with pytest.raises(QnbError):
            parse(text)


@given(st.binary(max_size=100), st.sampled_from(["age", "age1pq", "x"]))
def test_bech32_of_any_bytes_round_trips(data: bytes, hrp: str) -> None:
    """Encoding is injective and decoding its inverse, in both cases of letters."""
    text = bech32.encode(hrp, data)
    assert bech32.decode(text) == (hrp, data)
    assert bech32.decode(text.upper()) == (hrp.upper(), data)


@given(st.data())
def test_bech32_mistyped_is_found(data: st.DataObject) -> None:
    """Up to four wrong characters in a key of ordinary length are always found."""
    text = bech32.encode("age", bytes(range(32)))
    places = data.draw(st.lists(st.integers(4, len(text) - 1), min_size=1, max_size=4, unique=True))
    typed = list(text)
    for at in places:
        typed[at] = data.draw(st.sampled_from([c for c in bech32._CHARSET if c != text[at]]))
    with pytest.raises(QnbError):
        bech32.decode("".join(typed))


@given(st.dictionaries(st.sampled_from([*BUNDLE, "entry"]), json_values, max_size=3))
def test_bundle_with_any_field_parses_or_fails_with_our_error(change: dict[str, Any]) -> None:
    """A notebook may hold any JSON where a sealed output should be; the cards come out all the same."""
    value = BUNDLE | change
    assert "<script" not in render_html(value)
    assert render_text(value)
    try:
        parse_bundle(value)
    except SealError:
        return


@given(json_values, json_values)
def test_any_json_as_notebook_gives_our_error_or_itself(value: Any, output: Any) -> None:
    """Notebooks of any shape are refused or come back, never a crash."""
    for nb in (
        value,
        {"nbformat": 4, "cells": [{"outputs": [{"data": {MIME: value}}, output], "source": value, "metadata": value}]},
    ):
        try:
            opened, report = open_notebook(nb, [ALICE])
        except QnbError:
            continue
        assert opened == nb
        assert all(found.error is not None for found in report)


@given(json_values | st.binary())
def test_any_sealed_content_unpacks_or_fails_with_our_error(value: Any) -> None:
    """Whoever knows the recipient may have sealed anything."""
    with pytest.raises(SealError):
        unpack_output(value if isinstance(value, bytes) else json.dumps(value).encode())
