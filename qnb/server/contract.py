"""The REST contract: what a request must look like, and how errors are answered.

Enters: bodies as bytes, errors. Leaves: checked JSON values, problems in words.
Never: quotes a value of a body that does not fit: it may be a passphrase or plaintext.
Spec: qnb/server/schema/rest.json, docs/reference/rest.md.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from tornado.web import HTTPError

from qnb.errors import (
    ConfigError,
    DeniedError,
    LabelError,
    NoIdentityMatchError,
    QnbError,
    SealError,
    TamperedError,
)

_STATUS = {
    "no-identity": 409,
    "locked": 423,
    "wrong-passphrase": 403,
    "not-recipient": 403,
    "tampered": 422,
    "moved": 422,
    "denied": 403,
    "forbidden": 403,
    "rate-limited": 429,
    "invalid": 400,
    "unavailable": 503,
}
_KINDS_BY_CODE = {
    "no-identity": "no-identity",
    "identity-locked": "locked",
    "wrong-passphrase": "wrong-passphrase",
    "not-an-opener": "forbidden",
    "rate-limited": "rate-limited",
    "no-log-key": "unavailable",
    "foreign-key": "unavailable",
    "vkey": "unavailable",
    "no-recipient": "unavailable",
}


class RefusedError(HTTPError):
    """An error answer with its problem in words.

    Args:
        problem: as `describe` gives it.
        status: HTTP status; None for the one of the problem's kind.
        retry_after: seconds, for `rate-limited`.
    """

    def __init__(self, problem: dict[str, Any], status: int | None = None, retry_after: int | None = None) -> None:
        # the server logs this message: the code, nothing else
        super().__init__(status or _STATUS[problem["kind"]], f"qnb: {problem['code']}")
        self.problem = problem
        self.retry_after = retry_after


def problem(kind: str, code: str, message: str, hint: str | None = None) -> dict[str, Any]:
    """A `Problem` of the contract."""
    return {"kind": kind, "code": code, "message": message, "hint": hint}


def describe(error: QnbError) -> dict[str, Any]:
    """An error of ours as a `Problem`."""
    return problem(_kind_of(error), error.code, error.message, error.hint)


def error_reply(found: dict[str, Any]) -> dict[str, Any]:
    """The body of every error answer."""
    return {"error": found, "message": found["message"]}


def refuse(error: QnbError) -> RefusedError:
    """The error answer for an error of ours."""
    return RefusedError(describe(error))


def parse_body(body: bytes, name: str, limit: int) -> Any:
    """Read and check the body of a request.

    Args:
        body: as received.
        name: of its type in the contract.
        limit: bytes.

    Raises:
        RefusedError: too large, no JSON, or not as the contract says.
    """
    if len(body) > limit:
        hint = "open the outputs one by one, or raise `QnbServer.max_body_bytes`"
        raise RefusedError(problem("invalid", "too-large", f"the request is larger than {limit} bytes", hint), 413)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(problem("invalid", "not-json", "the request is not JSON")) from None
    try:
        fault = next(_validator(name).iter_errors(value), None)
    except RecursionError:
        raise RefusedError(problem("invalid", "not-json", "the request is nested too deeply")) from None
    if fault is not None:
        where = fault.json_path[:200]
        raise RefusedError(
            problem(
                "invalid",
                "not-as-agreed",
                f"the request is not a {name}: `{where}` fails `{fault.validator}`",
                "the contract is in docs/reference/rest.md",
            )
        )
    return value


@cache
def schema() -> dict[str, Any]:
    """The contract."""
    text = resources.files("qnb.server").joinpath("schema", "rest.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schema()["$defs"]})


def _kind_of(error: QnbError) -> str:
    known = _KINDS_BY_CODE.get(error.code)
    if known is not None:
        return known
    if isinstance(error, DeniedError):
        return "denied"
    if isinstance(error, NoIdentityMatchError):
        return "not-recipient"
    if isinstance(error, TamperedError):
        return "moved" if error.code.startswith("moved-") else "tampered"
    if isinstance(error, SealError | LabelError | ConfigError):
        return "invalid"
    return "unavailable"
