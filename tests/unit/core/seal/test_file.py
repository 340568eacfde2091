from __future__ import annotations

import io
import pickle
import tracemalloc
from collections.abc import Iterator

import pytest

from qnb.core.seal import (
    Identity,
    PassphraseIdentity,
    PassphraseRecipient,
    armor,
    dearmor,
    generate_identity,
    is_age,
    open_,
    open_stream,
    parse_identities,
    parse_identity,
    parse_recipient,
    seal,
    seal_stream,
)
from qnb.core.seal.header import MAX_HEADER, parse_header
from qnb.core.seal.stream import CHUNK, sealed_size
from qnb.core.seal.x25519 import X25519Identity
from qnb.errors import ConfigError, NoIdentityMatchError, RecipientError, SealError, TamperedError

ALICE = generate_identity(lambda n: b"a" * n)
BOB = generate_identity(lambda n: b"b" * n)
CLASSIC = X25519Identity(b"c" * 32)
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK - 1, 4 * CHUNK, 4 * CHUNK + 1, 8 * CHUNK]


class _Trickle(io.RawIOBase):
    """A source that gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, step: int) -> None:
        self._src, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        data = self._src.read(min(len(buffer), self._step))
        buffer[: len(data)] = data
        return len(data)


@pytest.fixture(params=[ALICE, CLASSIC, PassphraseIdentity("open sesame")], ids=lambda i: i.kind)
def pair(request: pytest.FixtureRequest) -> tuple[Identity, object]:
    identity: Identity = request.param
    if isinstance(identity, PassphraseIdentity):
        return identity, PassphraseRecipient("open sesame", work_factor=4)
    return identity, identity.recipient


@pytest.mark.parametrize("size", SIZES)
def test_sealed_bytes_open_to_themselves(size: int) -> None:
    """Around every chunk boundary the content comes back: in memory, streamed and armored, in each mixture."""
    plain = bytes(range(256)) * (size // 256 + 1)
    plain = plain[:size]
    whole = seal(plain, [ALICE.recipient])
    streamed = io.BytesIO()
    seal_stream(io.BytesIO(plain), streamed, [ALICE.recipient])
    assert len(whole) == len(streamed.getvalue())
    for sealed in (whole, streamed.getvalue(), armor(whole)):
        assert open_(sealed, [ALICE]) == plain
        opened = io.BytesIO()
        open_stream(io.BytesIO(sealed), opened, [ALICE])
        assert opened.getvalue() == plain


def test_source_trickling_is_read_to_its_end() -> None:
    """Short reads are no end of file: a chunk is complete before it is sealed or opened."""
    plain = b"q" * (CHUNK + 10)
    sealed, opened = io.BytesIO(), io.BytesIO()
    seal_stream(_Trickle(plain, 1000), sealed, [ALICE.recipient])
    assert len(sealed.getvalue()) == len(seal(plain, [ALICE.recipient]))
    open_stream(io.BufferedReader(_Trickle(sealed.getvalue(), 777), 16), opened, [ALICE])
    assert opened.getvalue() == plain


def test_source_without_readinto_is_read() -> None:
    """A source needs no more than `read`."""

    class Plain:
        def __init__(self, data: bytes) -> None:
            self._src = io.BytesIO(data)

        def read(self, size: int) -> bytes:
            return self._src.read(min(size, 5000))

    sealed = io.BytesIO()
    seal_stream(Plain(b"z" * 70000), sealed, [ALICE.recipient])
    assert open_(sealed.getvalue(), [ALICE]) == b"z" * 70000


def test_source_that_has_nothing_yet_is_no_end_of_file() -> None:
    """A non-blocking source without data is refused: taking it for the end would seal a part as the whole."""

    class Empty:
        def readinto(self, buffer: memoryview) -> None:
            return None

    with pytest.raises(SealError) as caught:
        seal_stream(Empty(), io.BytesIO(), [ALICE.recipient])
    assert caught.value.code == "source-not-ready"


def test_each_kind_of_recipient_opens(pair: tuple[Identity, PassphraseRecipient]) -> None:
    """Hybrid, X25519 and passphrase each seal and open."""
    identity, recipient = pair
    assert open_(seal(b"content", [recipient]), [identity]) == b"content"


def test_several_recipients_each_open() -> None:
    """Whoever the file is sealed for opens it, and other identities in the list do no harm."""
    sealed = seal(b"content", [ALICE.recipient, BOB.recipient])
    for identities in ([ALICE], [BOB], [CLASSIC, PassphraseIdentity("x"), BOB]):
        assert open_(sealed, identities) == b"content"


def test_stranger_is_refused_with_a_hint() -> None:
    """Somebody who is no recipient is told so, and for how many it is sealed."""
    with pytest.raises(NoIdentityMatchError, match="sealed for 1 recipient\n") as caught:
        open_(seal(b"content", [ALICE.recipient]), [BOB])
    assert caught.value.hint is not None


def test_wrong_passphrase_is_named() -> None:
    """A wrong passphrase is told as one."""
    sealed = seal(b"content", [PassphraseRecipient("right", work_factor=4)])
    with pytest.raises(NoIdentityMatchError, match="passphrase"):
        open_(sealed, [PassphraseIdentity("wrong")])


@pytest.mark.parametrize(
    ("recipients", "code"),
    [
        ([], "no-recipients"),
        ([ALICE.recipient, CLASSIC.recipient], "mixed-recipients"),
        ([PassphraseRecipient("x"), ALICE.recipient], "mixed-recipients"),
        ([PassphraseRecipient("x"), PassphraseRecipient("x")], "mixed-recipients"),
    ],
)
def test_recipients_that_do_not_mix_are_refused(recipients: list[object], code: str) -> None:
    """Post-quantum with classic would be as weak as the classic one; a passphrase stands alone."""
    with pytest.raises(RecipientError) as caught:
        seal(b"content", recipients)
    assert caught.value.code == code


def test_more_recipients_than_a_header_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What we would not read we do not write."""
    monkeypatch.setattr("qnb.core.seal.file.MAX_HEADER", 4000)
    with pytest.raises(RecipientError) as caught:
        seal(b"", [ALICE.recipient] * 3)
    assert caught.value.code == "too-many-recipients"


def test_work_factor_over_the_cap_is_refused_before_it_is_computed() -> None:
    """A hostile file cannot ask for gigabytes."""
    sealed = seal(b"", [PassphraseRecipient("x", work_factor=6)])
    with pytest.raises(SealError, match="work factor 6, at most 5"):
        open_(sealed, [PassphraseIdentity("x", max_work_factor=5)])
    hostile = sealed.replace(b" 6\n", b" 30\n")
    with pytest.raises(SealError, match="work factor 30"):
        open_(hostile, [PassphraseIdentity("x")])


def test_header_without_end_is_refused_in_bounded_memory() -> None:
    """A header that never ends is given up after MAX_HEADER bytes."""

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def __init__(self) -> None:
            self._lines = self._make()
            self._rest = b""

        def _make(self) -> Iterator[bytes]:
            yield b"age-encryption.org/v1\n-> x\n"
            while True:
                yield (b"A" * 64 + b"\n") * 1000

        def readinto(self, buffer: memoryview) -> int:
            self._rest = self._rest or next(self._lines)
            size = min(len(buffer), len(self._rest))
            buffer[:size], self._rest = self._rest[:size], self._rest[size:]
            return size

    with pytest.raises(SealError) as caught:
        parse_header(io.BufferedReader(Endless()))
    assert caught.value.code == "header-malformed"
    assert MAX_HEADER == 4 << 20


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda s: s[:-1], "was altered"),
        (lambda s: s[: -(5 + 16)], "was cut off"),
        (lambda s: s + b"x", "was altered"),
    ],
)
def test_payload_altered_is_told_how(change: object, what: str) -> None:
    """A truncation at a chunk boundary is a truncation, not noise."""
    sealed = seal(b"q" * (CHUNK + 5), [ALICE.recipient])
    with pytest.raises(TamperedError, match=what):
        open_(change(sealed), [ALICE])
    with pytest.raises(TamperedError, match=what):
        open_stream(io.BytesIO(change(sealed)), io.BytesIO(), [ALICE])


def test_chunk_appended_is_told() -> None:
    """Content after the final chunk is found and named."""
    sealed = seal(b"q" * CHUNK, [ALICE.recipient])
    with pytest.raises(TamperedError, match="appended"):
        open_(sealed + b"x" * 100, [ALICE])


def test_header_altered_is_found() -> None:
    """A stanza that somebody added or took away breaks the header's code."""
    sealed = seal(b"content", [ALICE.recipient, BOB.recipient])
    end = sealed.index(b"-> ", 30)
    with pytest.raises(TamperedError) as caught:
        open_(sealed[:22] + sealed[end:], [BOB])
    assert caught.value.code == "header-mac"


def test_progress_counts_plaintext_to_the_end() -> None:
    """Both directions report bytes of plaintext, rising to the whole."""
    plain, sealed = b"q" * (5 * CHUNK + 3), io.BytesIO()
    for_seal: list[int] = []
    seal_stream(io.BytesIO(plain), sealed, [ALICE.recipient], for_seal.append)
    sealed.seek(0)
    for_open: list[int] = []
    open_stream(sealed, io.BytesIO(), [ALICE], for_open.append)
    assert for_seal == sorted(for_seal)
    assert for_seal[-1] == for_open[-1] == len(plain)


@pytest.mark.slow
def test_gigabyte_streamed_stays_small() -> None:
    """Memory for 1 GiB is that of a few chunks: 64 MiB is the promise, 4 MiB what is asked here."""
    size = 1 << 30

    class Zeros(io.RawIOBase):
        left = size

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            got = min(len(buffer), self.left)
            self.left -= got
            return got

    class Count:
        total = 0

        def write(self, data: memoryview) -> int:
            self.total += len(data)
            return len(data)

    sink = Count()
    tracemalloc.start()
    try:
        seal_stream(Zeros(), sink, [ALICE.recipient])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sink.total > sealed_size(size)
    assert peak < 4 << 20


def test_armor_round_trips_and_is_recognised() -> None:
    """Armored and binary files are told from other files by their beginning."""
    sealed = seal(b"content", [ALICE.recipient])
    text = armor(sealed)
    assert dearmor(text) == sealed
    assert dearmor(b"\n  " + text.replace(b"\n", b"\r\n") + b"\n \n") == sealed
    assert max(map(len, text.splitlines())) == 64
    assert is_age(sealed[:64])
    assert is_age(text[:64])
    assert is_age(b"\n\n" + text[:64])
    assert not is_age(b"{\n")
    assert not is_age(b"")


def test_passphrase_file_with_another_recipient_is_refused() -> None:
    """Somebody who adds a stanza to a passphrase file would break what the passphrase says of its author."""
    one = seal(b"", [PassphraseRecipient("x", work_factor=4)])
    two = seal(b"", [ALICE.recipient])
    forged = two[:22] + one[22 : one.index(b"---")] + two[22:]
    with pytest.raises(SealError, match="only recipient"):
        open_(forged, [ALICE])


# --- strings and files -----------------------------------------------------------------------------------------------


def test_strings_parse_back_to_the_same_keys() -> None:
    """Recipient and identity strings have the lengths and prefixes of the specification."""
    text = ALICE.recipient.text
    assert text.startswith("age1pq1")
    assert len(text) == 1959
    assert parse_recipient(text) is parse_recipient(text)
    assert parse_recipient(text) == ALICE.recipient
    assert ALICE.reveal().startswith("AGE-SECRET-KEY-PQ-1")
    assert len(ALICE.reveal()) == 77
    assert parse_identity(ALICE.reveal()).recipient == ALICE.recipient
    assert parse_identity(CLASSIC.reveal()).recipient == parse_recipient(CLASSIC.recipient.text)


def test_fingerprint_is_that_of_the_string() -> None:
    """Anybody can compute a fingerprint from the string."""
    import hashlib

    expected = hashlib.sha256(ALICE.recipient.text.encode()).hexdigest()[:16]
    assert ALICE.recipient.fingerprint == expected


@pytest.mark.parametrize(
    "text",
    ["", "age1", "bob", "ssh-ed25519 AAAA", ALICE.recipient.text.upper(), ALICE.recipient.text[:-1], "age1" * 2000,
     "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t", ALICE.reveal()],
)  # fmt: skip
def test_text_that_is_no_recipient_is_refused(text: str) -> None:
    """Anything else is refused, and a long one is not quoted in full."""
    with pytest.raises(RecipientError) as caught:
        parse_recipient(text)
    assert len(caught.value.message) < 200
    assert ALICE.reveal()[20:] not in caught.value.message


def test_identity_file_with_an_error_names_the_line_only() -> None:
    """The line is named, the secret is not."""
    good = f"# created: now\n\n{ALICE.reveal()}\n  {BOB.reveal()}\n"
    assert [i.recipient for i in parse_identities(good)] == [ALICE.recipient, BOB.recipient]
    bad = good + CLASSIC.reveal()[:-1] + "\n"
    with pytest.raises(RecipientError, match="line 5") as caught:
        parse_identities(bad)
    assert "SECRET" not in str(caught.value)
    with pytest.raises(RecipientError, match="no identity"):
        parse_identities("# nothing\n")


def test_secrets_show_in_no_repr(pair: tuple[Identity, object]) -> None:
    """An identity prints its public side, a passphrase nothing, and neither goes into a pickle."""
    identity, recipient = pair
    for thing in (identity, recipient):
        assert "SECRET" not in repr(thing)
        assert "sesame" not in repr(thing)
        assert "sesame" not in str(thing)
    with pytest.raises(TypeError):
        pickle.dumps(identity)


def test_weak_public_key_is_refused() -> None:
    """A key of low order would make the secret a constant."""
    from qnb.core.seal.hybrid import HybridRecipient
    from qnb.core.seal.x25519 import X25519Recipient

    hybrid = ALICE.recipient._public[:1184] + bytes(32)
    for recipient in (HybridRecipient(hybrid), X25519Recipient(bytes(32))):
        with pytest.raises(RecipientError) as caught:
            seal(b"", [recipient])
        assert caught.value.code == "recipient-weak"


def test_build_without_the_algorithms_says_which_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of cryptography without ML-KEM or ML-DSA is told by name, with the version that has them."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

    from qnb.core.seal.build import MINIMUM_CRYPTOGRAPHY, check_build

    def refuse(seed: bytes) -> None:
        raise UnsupportedAlgorithm("ML-DSA is not supported")

    class Stand:
        from_seed_bytes = staticmethod(refuse)

    monkeypatch.setattr(MLDSA44PrivateKey.__module__ + ".MLDSA44PrivateKey", Stand)
    with pytest.raises(ConfigError) as caught:
        check_build()
    assert MINIMUM_CRYPTOGRAPHY in str(caught.value)
