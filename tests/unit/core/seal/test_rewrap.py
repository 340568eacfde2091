"""Another header around the same payload."""

from __future__ import annotations

import io

import pytest

from qnb.core.seal import (
    PassphraseRecipient,
    armor,
    find_opener,
    generate_identity,
    open_,
    rewrap,
    rewrap_stream,
    seal,
)
from qnb.core.seal.header import parse_header
from qnb.core.seal.x25519 import X25519Identity
from qnb.errors import NoIdentityMatchError, RecipientError, SealError, TamperedError

ADA = generate_identity(lambda n: b"a" * n)
BOB = generate_identity(lambda n: b"b" * n)
EVE = generate_identity(lambda n: b"e" * n)
CLASSIC = X25519Identity(b"c" * 32)
PLAIN = b"content" * 20_000  # several chunks


def payload(file: bytes) -> bytes:
    src = io.BytesIO(file)
    parse_header(src)
    return src.read()


def test_rewrapped_file_opens_for_the_new_and_not_for_the_old() -> None:
    """The header names the new recipients alone, and the payload is the same to the byte."""
    before = seal(PLAIN, [ADA.recipient, BOB.recipient])
    after = rewrap(before, [ADA], [ADA.recipient, EVE.recipient])
    assert payload(after) == payload(before)
    assert open_(after, [EVE]) == open_(after, [ADA]) == PLAIN
    with pytest.raises(NoIdentityMatchError):
        open_(after, [BOB])
    assert open_(before, [BOB]) == PLAIN  # what was kept stays open


def test_armored_file_becomes_a_binary_one() -> None:
    """Armor is recognised on reading; whoever wants it again puts it on."""
    before = seal(PLAIN, [ADA.recipient])
    assert payload(rewrap(armor(before), [ADA], [BOB.recipient])) == payload(before)


def test_identity_that_does_not_open_cannot_rewrap() -> None:
    """Nothing is written for somebody who is no recipient."""
    out = io.BytesIO()
    with pytest.raises(NoIdentityMatchError):
        rewrap_stream(io.BytesIO(seal(PLAIN, [ADA.recipient])), out, [BOB], [BOB.recipient])
    assert out.getvalue() == b""


@pytest.mark.parametrize(
    ("recipients", "code"),
    [
        ([], "no-recipients"),
        ([ADA.recipient, CLASSIC.recipient], "mixed-recipients"),
        ([ADA.recipient, PassphraseRecipient("p", work_factor=2)], "mixed-recipients"),
    ],
)
def test_recipients_that_do_not_mix_are_refused(recipients: list[object], code: str) -> None:
    """A rewrap is held to what sealing is, before anything is read or written."""
    out = io.BytesIO()
    with pytest.raises(RecipientError) as caught:
        rewrap_stream(io.BytesIO(seal(PLAIN, [ADA.recipient])), out, [ADA], recipients)  # type: ignore[arg-type]
    assert (caught.value.code, out.getvalue()) == (code, b"")


def test_header_that_was_altered_is_not_rewrapped() -> None:
    """The MAC is checked before a new one is made: a stanza that was slipped in does not go through."""
    before = seal(b"x", [ADA.recipient])
    mac = before.index(b"\n--- ")
    altered = before[:mac] + b"\n-> grease\n" + before[mac:]
    for act in (lambda: rewrap(altered, [ADA], [ADA.recipient]), lambda: find_opener(io.BytesIO(altered), [ADA])):
        with pytest.raises(TamperedError) as caught:
            act()
        assert caught.value.code == "header-mac"


def test_opener_is_the_first_identity_that_fits() -> None:
    """It says through which key a file opens, and leaves the stream at its payload."""
    src = io.BytesIO(seal(PLAIN, [BOB.recipient, ADA.recipient]))
    assert find_opener(src, [EVE, ADA, BOB]) is ADA
    assert src.read() == payload(src.getvalue())
    with pytest.raises(NoIdentityMatchError):
        find_opener(io.BytesIO(src.getvalue()), [EVE])


def test_progress_counts_the_payload() -> None:
    """For the bar of a large file."""
    seen: list[int] = []
    before = seal(bytes(3 << 20), [ADA.recipient])
    rewrap_stream(io.BytesIO(before), io.BytesIO(), [ADA], [BOB.recipient], seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(payload(before))


def test_something_else_is_not_rewrapped() -> None:
    """No age file, no rewrap."""
    with pytest.raises(SealError):
        rewrap(b"not an age file\n", [ADA], [ADA.recipient])
