"""Targets: the age format and its keys."""

from __future__ import annotations

import io
import re

from checks import attempt, check_error
from choices import Choices, as_text, edit_bytes
from seeds import BOB, CHUNKS, CLASSIC, IDENTITIES, SMALL, WORDED

from qnb.core.seal import (
    armor,
    bech32,
    dearmor,
    find_opener,
    is_age,
    open_,
    open_stream,
    parse_identities,
    parse_identity,
    parse_recipient,
    rewrap,
    seal,
    seal_stream,
)
from qnb.core.seal.armor import looks_armored
from qnb.core.seal.header import Stanza, encode_header, parse_header
from qnb.core.seal.stream import CHUNK, decrypt, decrypt_into, encrypt
from qnb.errors import QnbError


def fuzz_header(data: bytes) -> None:
    """A header that parses has one spelling."""
    src = io.BytesIO(data)
    header = attempt(parse_header, src)
    if header is not None:
        again = encode_header(header.stanzas, bytes(16))
        assert again.rpartition(b" ")[0] == header.covered
        assert data.startswith(header.covered + b" ")
        assert src.tell() == len(again)


def fuzz_stanzas(data: bytes) -> None:
    """Stanzas of any form, under a code that holds: what stands behind the code is reached."""
    choices = Choices(data)
    stanzas = list(parse_header(io.BytesIO((SMALL, CHUNKS, WORDED)[choices.below(3)])).stanzas)
    at = choices.below(len(stanzas))
    arguments, body = list(stanzas[at].args), stanzas[at].body
    if choices.below(2):
        n = choices.below(len(arguments))
        word = edit_bytes(arguments[n].encode(), choices)
        arguments[n : n + 1] = [part.decode() for part in re.findall(rb"[!-~]+", word)][: choices.below(4) + 1]
    else:
        body = edit_bytes(body, choices)
    stanzas[at] = Stanza(tuple(arguments) or ("x",), body)
    if choices.below(4) == 1:
        stanzas.append(stanzas[at])
    for identity in (*IDENTITIES, BOB):
        attempt(identity.unwrap, stanzas[at])
    file = encode_header(stanzas, bytes(16)) + bytes(16 + 16)
    assert attempt(open_, file, IDENTITIES) is None


def fuzz_armor(data: bytes) -> None:
    """What dearmors has one spelling, apart from line ends and the space around; steps and whole agree."""
    binary = attempt(dearmor, data)
    if binary is not None:
        assert armor(binary).split() == data.split()
        opened = io.BytesIO()
        whole = attempt(open_, data, IDENTITIES)
        attempt(open_stream, io.BytesIO(data), opened, IDENTITIES)
        assert whole is None or opened.getvalue() == whole


def fuzz_bech32(data: bytes) -> None:
    """A key string has one spelling in each case of letters."""
    text = as_text(data)
    decoded = attempt(bech32.decode, text)
    if decoded is not None:
        assert bech32.encode(decoded[0].lower(), decoded[1]) == text.lower()


def fuzz_keys(data: bytes) -> None:
    """Recipients and identities, alone and in files; no error quotes a secret."""
    text = as_text(data)
    recipient = attempt(parse_recipient, text)
    if recipient is not None:
        assert recipient.text == text
    identity = attempt(parse_identity, text)
    if identity is not None:
        assert identity.reveal() == text
    try:
        parse_identities(text)
    except QnbError as error:
        check_error(error)
        said = str(error).upper()
        assert not any(len(line.strip()) > 24 and line.strip().upper() in said for line in text.splitlines())


def fuzz_file(data: bytes) -> None:
    """Whole files: memory and stream agree, and what a stream released before it failed is a beginning."""
    is_age(data[:256])
    opened, failed = io.BytesIO(), True
    try:
        open_stream(io.BytesIO(data), opened, IDENTITIES)
        failed = False
    except QnbError as error:
        check_error(error)
        code = error.code
    try:
        whole = open_(data, IDENTITIES)
        assert not failed
        assert whole == opened.getvalue()
    except QnbError as error:
        assert failed
        # of two faults either may be told: in memory armor is read to its end first
        assert error.code == code or looks_armored(data[:256])


def fuzz_edited_file(data: bytes) -> None:
    """Files that opened, with changes: they open to what they held or not at all."""
    choices = Choices(data)
    source, plain = ((SMALL, b"the content"), (WORDED, b"words"))[choices.below(2)]
    whole = edit_bytes(armor(source) if choices.below(2) else source, choices)
    opened = attempt(open_, whole, IDENTITIES)
    assert opened is None or opened == plain
    fuzz_file(whole)


def fuzz_rewrap(data: bytes) -> None:
    """Files with changes: what is rewrapped has the payload that it had, and opens for the new one as it would."""
    choices = Choices(data)
    whole = edit_bytes((SMALL, CHUNKS, armor(SMALL))[choices.below(3)], choices)
    again = attempt(rewrap, whole, IDENTITIES, [BOB.recipient])
    opener = attempt(find_opener, io.BytesIO(whole), IDENTITIES)
    assert (again is None) == (opener is None) or looks_armored(whole[:256])
    if again is None:
        return
    parts = []
    for file in (dearmor(whole) if looks_armored(whole[:256]) else whole, again):
        src = io.BytesIO(file)
        parse_header(src)
        parts.append(src.read())
    assert parts[0] == parts[1]
    assert attempt(open_, again, [BOB]) == attempt(open_, whole, IDENTITIES)


_STREAM_KEY = b"k" * 32
_STREAM_PLAIN = bytes(range(256)) * (CHUNK // 256) * 2 + b"rest"
_STREAM_SEALED = io.BytesIO()
encrypt(_STREAM_KEY, io.BytesIO(_STREAM_PLAIN), _STREAM_SEALED)


def fuzz_stream(data: bytes) -> None:
    """The payload, cut, joined and changed by chunks: it opens whole or gives a beginning and an error."""
    choices = Choices(data)
    sealed = _STREAM_SEALED.getvalue()
    step = CHUNK + 16
    parts = [sealed[i : i + step] for i in range(0, len(sealed), step)]
    for _ in range(choices.below(4)):
        at, how = choices.below(len(parts) + 1), choices.below(6)
        if how == 0:
            parts[at : at + 1] = []
        elif how == 1:
            parts.insert(at, choices.rest()[:40])
        elif how == 2:
            parts += parts[at : at + 1]
        elif how == 3 and at < len(parts):
            parts[at] = parts[at][: choices.below(0x10000) % (len(parts[at]) + 1)]
        elif how == 4 and at < len(parts) and parts[at]:
            place = choices.below(0x10000) % len(parts[at])
            parts[at] = parts[at][:place] + bytes([parts[at][place] ^ (1 << choices.below(8))]) + parts[at][place + 1 :]
        else:
            parts.reverse()
    changed = b"".join(parts)
    opened = io.BytesIO()
    try:
        decrypt(_STREAM_KEY, io.BytesIO(changed), opened)
        assert changed == sealed
        assert opened.getvalue() == _STREAM_PLAIN
    except QnbError as error:
        check_error(error)
        assert changed != sealed
        assert _STREAM_PLAIN.startswith(opened.getvalue())
    room = memoryview(bytearray(len(changed)))
    size = attempt(decrypt_into, _STREAM_KEY, memoryview(changed), room)
    assert (size is None) == (changed != sealed)


def fuzz_roundtrip(data: bytes) -> None:
    """Anything sealed opens to itself, whichever way."""
    sealed, opened = io.BytesIO(), io.BytesIO()
    seal_stream(io.BytesIO(data), sealed, [CLASSIC.recipient])
    assert open_(armor(sealed.getvalue()), [CLASSIC]) == data
    open_stream(io.BytesIO(seal(data, [CLASSIC.recipient])), opened, [CLASSIC])
    assert opened.getvalue() == data
