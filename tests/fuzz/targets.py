"""What is fuzzed: every parser that reads bytes somebody else may have written.

Enters: any bytes. Leaves: nothing; an exception that is no QnbError, or a property that does not hold, is a finding.
A target also holds what is more than not crashing: memory and stream agree, one value has one spelling, an error is a
line that a terminal can show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from age_targets import (
    fuzz_armor,
    fuzz_bech32,
    fuzz_edited_file,
    fuzz_file,
    fuzz_header,
    fuzz_keys,
    fuzz_rewrap,
    fuzz_roundtrip,
    fuzz_stanzas,
    fuzz_stream,
)
from document_targets import (
    fuzz_bundle,
    fuzz_checkpoint,
    fuzz_content,
    fuzz_directive,
    fuzz_handed,
    fuzz_label,
    fuzz_loaders,
    fuzz_log,
    fuzz_log_key,
    fuzz_notebook,
    fuzz_policy,
    fuzz_policy_file,
    fuzz_statement,
    fuzz_vkeys,
)
from seeds import (
    AGE_FILES,
    ALICE,
    BUNDLE,
    CHUNKS,
    CLASSIC,
    ENTRIES,
    HEADER,
    NOTE,
    NOTEBOOK,
    OUTPUTS,
    POLICY,
    SIGNER,
    SMALL,
    WORDED,
    encode_json,
)

from qnb.core.seal import (
    armor,
)
from qnb.core.seal.output import (
    pack_output,
)


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        name: as it is named on the command line.
        run: takes any bytes.
        seeds: where to begin.
        largest: bytes of the longest input worth trying.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...] = field(repr=False)
    largest: int = 4096


def _texts(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


_EDITS = tuple(bytes((n * 37 + i * 11) % 256 for i in range(24)) for n in range(24))
_KEYS = _texts(ALICE.recipient.text, ALICE.reveal(), CLASSIC.recipient.text, CLASSIC.reveal())

TARGETS = (
    Target("header", fuzz_header, (SMALL[:3400], CHUNKS[:400], WORDED, *(f[:4096] for f in AGE_FILES))),
    Target("stanzas", fuzz_stanzas, _EDITS, 256),
    Target("armor", fuzz_armor, (armor(SMALL), armor(WORDED), *(f for f in AGE_FILES if b"-----BEGIN" in f)), 8192),
    Target("bech32", fuzz_bech32, (*_KEYS, b"a12uel5l", b"A12UEL5L")),
    Target("keys", fuzz_keys, (*_KEYS, b"# comment\n\n" + _KEYS[1] + b"\n" + _KEYS[3], b"age1yubikey1q")),
    Target("file", fuzz_file, (SMALL, WORDED, CHUNKS, *AGE_FILES), 1 << 17),
    Target("edited-file", fuzz_edited_file, _EDITS, 256),
    Target("rewrap", fuzz_rewrap, _EDITS, 256),
    Target("stream", fuzz_stream, _EDITS, 256),
    Target("roundtrip", fuzz_roundtrip, (b"", b"x", b"q" * 300), 8192),
    Target("bundle", fuzz_bundle, (encode_json(BUNDLE), *_EDITS), 8192),
    Target("content", fuzz_content, (pack_output(HEADER, OUTPUTS), *_EDITS), 8192),
    Target("notebook", fuzz_notebook, (encode_json(NOTEBOOK), *_EDITS), 16384),
    Target("statement", fuzz_statement, (*ENTRIES, *_EDITS)),
    Target("checkpoint", fuzz_checkpoint, (NOTE.encode(), *_EDITS), 8192),
    Target("handed", fuzz_handed, _EDITS, 8192),
    Target("vkeys", fuzz_vkeys, (SIGNER.vkeys.format().encode(), *_EDITS)),
    Target("log-key", fuzz_log_key, (SIGNER.format().encode(), *_EDITS)),
    Target("log", fuzz_log, _EDITS, 256),
    Target("label", fuzz_label, _texts("restricted//phi,ip", " internal ", "public//", "Secret//x", "restricted//,")),
    Target(
        "directive",
        fuzz_directive,
        _texts(
            '%%qsecure restricted//phi --purpose "assay 12" --to a --to=b\nx = 1', "%%time\n%%qsecure", "2026-11-23"
        ),
    ),
    Target("policy-file", fuzz_policy_file, (POLICY[0], *_EDITS), 16384),
    Target("policy", fuzz_policy, _EDITS, 4096),
    Target("loaders", fuzz_loaders, (encode_json(NOTEBOOK), SMALL, armor(WORDED), *_EDITS), 16384),
)
