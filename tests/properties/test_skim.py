from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qnb.core.entry import KINDS, parse_statement
from qnb.core.skim import Skim, skim_statement
from qnb.errors import VerificationError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=True) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = (
    "time", "label", "session", "notebook", "cell", "sequence", "principal", "source", "decision", "action", "status",
    "state", "zone", "grant", "backend", "policy", "evaluations",
)  # fmt: skip


def valid(kind: str) -> dict[str, Any]:
    decided = {"action": "execute", "decision": "allow", "grant": 3, "policy": {"sha256": "ab"}}
    ended = {"decision": 1, "evaluations": {"first": 0, "count": 2, "root": "cd"}, "status": "ok"}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": f"urn:qnb:predicate:{kind}:v1",
        "subject": [{"name": "x", "digest": {"sha256": "ab"}}],
        "predicate": {
            "time": "2026-11-23T09:30:00.000Z",
            "label": "internal",
            "session": "s",
            "notebook": None,
            "cell": "c",
            "sequence": 1,
            "principal": {"name": "ada"},
            "source": {"sha256": "ef"},
            "backend": {"name": None},
            **(decided if kind == "decision" else ended),
        },
    }


def both(entry: bytes) -> tuple[Skim | None, Skim | None]:
    """What the full reading and the quick one make of an entry; None where it is refused."""
    try:
        view = parse_statement(entry)
        full = Skim(
            view.kind, view.time, view.session, view.action, view.allow, view.decision, view.grant, view.evaluations
        )
        full = full._replace(evaluations=None) if view.kind == "decision" else full
    except VerificationError:
        full = None
    try:
        quick = skim_statement(entry)
        quick = quick._replace(evaluations=None) if quick.kind == "decision" else quick
    except VerificationError:
        quick = None
    return full, quick


@settings(derandomize=True, max_examples=400)
@given(st.sampled_from(KINDS), st.sampled_from(FIELDS), JSON, st.booleans())
def test_quick_reading_agrees_with_the_full_one_on_any_field(kind: str, name: str, value: Any, gone: bool) -> None:
    """A field replaced by anything, or taken away: both refuse, or both say the same."""
    statement = valid(kind)
    if gone:
        statement["predicate"].pop(name, None)
    else:
        statement["predicate"][name] = value
    full, quick = both(json.dumps(statement).encode())
    assert full == quick


@settings(derandomize=True, max_examples=200)
@given(st.binary(max_size=60), st.integers(0, 400), st.sampled_from(KINDS))
def test_quick_reading_agrees_on_any_bytes(noise: bytes, place: int, kind: str) -> None:
    """Noise in the middle of a statement, lone surrogates, doubled keys."""
    entry = json.dumps(valid(kind)).encode()
    for changed in (entry[:place] + noise + entry[place:], entry[:place] + noise, noise):
        full, quick = both(changed)
        assert full == quick
    doubled = entry.replace(b'"session": "s"', b'"session": "a", "session": "\xed\xa0\x80"')
    assert len(set(both(doubled))) == 1
