from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from qnb.core.seal import generate_identity, seal
from qnb.core.seal.output import (
    MIME,
    OutputHeader,
    open_output,
    pack_output,
    padme,
    parse_bundle,
    sealed_bundle,
    unpack_output,
)
from qnb.core.statement import source_digest
from qnb.errors import NoIdentityMatchError, SealError, TamperedError
from qnb.model import Receipt

ALICE = generate_identity(lambda n: b"a" * n)
BOB = generate_identity(lambda n: b"b" * n)
HEADER = OutputHeader(
    version=1,
    session="s-1",
    sequence=3,
    state="ok",
    source_digest=source_digest("x").hex(),
    label="restricted//phi",
    notebook="nb",
    cell="c",
    purpose="screening",
)
OUTPUTS = [
    {"output_type": "stream", "name": "stdout", "text": "energy -1.137\n"},
    {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "é\ud800"}, "metadata": {}},
    {"output_type": "error", "ename": "ValueError", "evalue": "x", "traceback": []},
]
RECEIPT = Receipt("qnb.test/log", 41, b"l" * 32, (b"p" * 32, b"q" * 32), "note\n\n- sig\n")


def bundle(header: OutputHeader = HEADER, receipt: Receipt | None = RECEIPT) -> dict[str, Any]:
    ciphertext = seal(pack_output(header, OUTPUTS), [ALICE.recipient])
    value = sealed_bundle(header, ciphertext, [ALICE.recipient], receipt)
    return json.loads(json.dumps(value))


def test_outputs_sealed_open_to_themselves() -> None:
    """Header and outputs come back, lone surrogates included, and the receipt with them."""
    sealed = parse_bundle(bundle())
    assert sealed.receipt == RECEIPT
    assert sealed.recipients == (ALICE.recipient.fingerprint,)
    assert open_output(sealed, [ALICE]) == (HEADER, OUTPUTS)


def test_bundle_says_nothing_of_content_or_purpose() -> None:
    """What stands in clear is the label, the ids, the state, the recipients and the entry."""
    value = bundle()
    assert sorted(value) == [
        "age", "cell", "digest", "entry", "label", "notebook", "recipients", "sequence", "session", "state", "version",
    ]  # fmt: skip
    assert "screening" not in json.dumps(value)
    assert "screening" not in repr(HEADER)


def test_plaintext_is_padded_to_padme_lengths() -> None:
    """Outputs of nearly one length have one length sealed."""
    lengths = {len(pack_output(HEADER, [{"output_type": "stream", "name": "n", "text": "x" * n}])) for n in range(64)}
    assert len(lengths) < 6
    assert all(padme(length) == length for length in lengths)


@pytest.mark.parametrize(
    ("length", "padded"), [(0, 0), (1, 1), (8, 8), (9, 10), (100, 104), (1000, 1024), (1 << 20, 1 << 20)]
)
def test_padme_length_is_that_of_the_paper(length: int, padded: int) -> None:
    """Padmé's table."""
    assert padme(length) == padded


def test_running_output_has_no_entry() -> None:
    """A live update carries no receipt, and one that claims an entry is refused."""
    running = replace(HEADER, state="running")
    assert parse_bundle(bundle(running, None)).receipt is None
    with pytest.raises(SealError):
        bundle(running, RECEIPT)
    forged = bundle(running, None) | {"entry": bundle()["entry"]}
    with pytest.raises(SealError):
        parse_bundle(forged)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", "public"),
        ("notebook", "other"),
        ("cell", None),
        ("session", "s-2"),
        ("sequence", 4),
        ("state", "failed"),
    ],
)
def test_clear_field_changed_is_named_at_opening(field: str, value: object) -> None:
    """Each clear field is repeated inside; the one that differs is named."""
    with pytest.raises(TamperedError, match=field) as caught:
        open_output(parse_bundle(bundle() | {field: value}), [ALICE])
    assert caught.value.code == f"binding-{field}"


def test_ciphertext_of_another_output_is_found() -> None:
    """A ciphertext put into another output's place, digest and all, does not agree with the clear fields."""
    first, second = bundle(), bundle(replace(HEADER, cell="d"))
    with pytest.raises(TamperedError) as caught:
        open_output(parse_bundle(first | {"age": second["age"], "digest": second["digest"]}), [ALICE])
    assert caught.value.code == "binding-cell"


def test_ciphertext_without_its_digest_is_found_unopened() -> None:
    """Nobody needs a key to see that the ciphertext is not the recorded one."""
    with pytest.raises(TamperedError) as caught:
        parse_bundle(bundle() | {"age": bundle()["age"]})
    assert caught.value.code == "output-digest"


def test_stranger_cannot_open() -> None:
    """Another identity opens nothing."""
    with pytest.raises(NoIdentityMatchError):
        open_output(parse_bundle(bundle()), [BOB])


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0}, {"version": True}, {"version": "1"}, {"version": 2}, {"sequence": -1}, {"sequence": True},
        {"sequence": 1.0}, {"state": "done"}, {"state": []}, {"label": ""}, {"label": "a\x1b[2J"},
        {"label": "x" * 2000},
        {"session": None}, {"notebook": 3}, {"cell": ""}, {"recipients": None}, {"recipients": ["<b>"]},
        {"digest": "x"},
        {"digest": "sha256:" + "0" * 63}, {"age": "***"}, {"age": None}, {"age": "é"}, {"entry": []},
        {"sequence": 1 << 53},
        {"entry": {"origin": "o", "index": 1 << 53, "leaf": "0" * 64, "proof": [], "checkpoint": ""}},
        {"entry": {"origin": "", "index": 0, "leaf": "0" * 64, "proof": [], "checkpoint": ""}},
        {"entry": {"origin": "x" * 256, "index": 0, "leaf": "0" * 64, "proof": [], "checkpoint": ""}},
        {"entry": {"origin": "o\x1b[2J", "index": 0, "leaf": "0" * 64, "proof": [], "checkpoint": ""}},
        {"entry": {"origin": "o", "index": -1, "leaf": "0" * 64, "proof": [], "checkpoint": ""}},
        {"entry": {"origin": "o", "index": 0, "leaf": "0" * 64, "proof": ["AA=="], "checkpoint": ""}},
        {"entry": {"origin": "o", "index": 0, "leaf": "0" * 64, "proof": ["AA=="] * 65, "checkpoint": ""}},
    ],
)  # fmt: skip
def test_bundle_malformed_is_refused(change: dict[str, Any]) -> None:
    """Each field has one form."""
    with pytest.raises(SealError):
        parse_bundle(bundle() | change)


@pytest.mark.parametrize("value", [None, [], "x", {}, 3])
def test_value_that_is_no_bundle_is_refused(value: object) -> None:
    """A notebook may hold anything under the MIME type."""
    with pytest.raises(SealError):
        parse_bundle(value)


@pytest.mark.parametrize(
    "plaintext",
    [
        b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"header": {}, "outputs": []}',
        json.dumps({"header": {"version": 1}, "outputs": []}).encode(),
        pack_output(HEADER, [OUTPUTS[2]]).replace(b"[]", b"[NaN]"),
    ],
)  # fmt: skip
def test_content_that_is_no_output_is_refused(plaintext: bytes) -> None:
    """Whoever knows a recipient can seal anything: it must have the form of outputs."""
    with pytest.raises(SealError):
        unpack_output(plaintext)


@pytest.mark.parametrize(
    "output",
    [None, {}, {"output_type": "stream"}, {"output_type": "html"}, {"output_type": "display_data", "data": []}],
)
def test_output_of_unknown_form_is_refused(output: object) -> None:
    """Only the four outputs of nbformat come out."""
    raw = json.loads(pack_output(HEADER, []))
    with pytest.raises(SealError):
        unpack_output(json.dumps(raw | {"outputs": [output]}).encode())


def test_output_that_json_cannot_say_is_refused() -> None:
    """Bytes in an output are an error with a name, not a traceback that quotes them."""
    with pytest.raises(SealError) as caught:
        pack_output(HEADER, [{"output_type": "stream", "name": "stdout", "text": b"secret"}])
    assert "secret" not in str(caught.value)


def test_numbers_that_json_has_no_word_for_are_sealed_as_jupyter_sends_them() -> None:
    """Infinite values of a plot become texts: what is inside is JSON that any reader of a notebook can read."""
    data = {"application/json": {"y": [1.5, float("nan"), (float("inf"), -float("inf"))]}}
    packed = pack_output(HEADER, [{"output_type": "display_data", "data": data, "metadata": {}}])
    _, (output,) = unpack_output(packed)
    assert output["data"] == {"application/json": {"y": [1.5, "nan", ["inf", "-inf"]]}}


def test_values_that_the_caller_spells_are_sealed_as_spelled() -> None:
    """What JSON has no word for is the caller's to spell, whatever else stands beside it."""
    for numbers in ([Fraction(1, 2)], [Fraction(1, 2), float("nan")]):
        data = {"application/json": numbers}
        packed = pack_output(HEADER, [{"output_type": "display_data", "data": data, "metadata": {}}], default=str)
        assert unpack_output(packed)[1][0]["data"]["application/json"] == ["1/2", "nan"][: len(numbers)]


def test_value_whose_own_code_fails_is_refused_without_its_words() -> None:
    """Spelling a value may run code of the cell, whose error may quote what it computed."""

    def fail(value: object) -> str:
        raise RuntimeError("secret")

    with pytest.raises(SealError) as caught:
        pack_output(HEADER, [{"output_type": "display_data", "data": {"x/y": object()}, "metadata": {}}], fail)
    assert caught.value.code == "output-not-json"
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_output_that_holds_itself_is_refused() -> None:
    """A circle has no end to write, with such a number in it or without."""
    circle: dict[str, Any] = {"application/json": float("nan")}
    circle["text/plain"] = circle
    with pytest.raises(SealError) as caught:
        pack_output(HEADER, [{"output_type": "display_data", "data": circle, "metadata": {}}])
    assert caught.value.code == "output-not-json"


def test_mime_type_is_the_documented_one() -> None:
    """Notebooks already written depend on it."""
    assert MIME == "application/vnd.qnb.sealed+json"
