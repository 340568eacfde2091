"""What the log's key says of a circuit that is kept beside the log.

Enters: QPY that is to be sealed, or what came out of a sealed circuit that anybody may have put there. Leaves: the one
with a code of the log's key over it, or the QPY in it once that holds.
Never: interprets a byte of it: anybody can seal for public recipients, so who did is checked first.
Spec: docs/spec/entry.md, "Circuits beside the log".
"""

from __future__ import annotations

import json
from hashlib import sha256

from qnb.core.digester import Digester
from qnb.errors import SubjectMismatchError


def vouched(data: bytes, digester: Digester) -> bytes:
    """QPY with the log's word for it: a line of JSON before it."""
    header = {"version": 1, "drawing": digester.digest_set("drawing", sha256(data).digest())}
    return json.dumps(header).encode("ascii") + b"\n" + data


def verify_vouched(plaintext: bytes, digester: Digester) -> bytes:
    """The QPY in what `vouched` gave.

    Raises:
        SubjectMismatchError: the log's key does not vouch for it.
    """
    header, _, data = plaintext.partition(b"\n")
    try:
        claimed = json.loads(header)["drawing"]
    except (ValueError, KeyError, TypeError, RecursionError):
        claimed = None
    if not digester.keyed or claimed != digester.digest_set("drawing", sha256(data).digest()):
        raise SubjectMismatchError("circuit-foreign", "the kept circuit was not put there by this log")
    return data
