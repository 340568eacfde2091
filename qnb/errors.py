"""Every error qnb raises, one tree.

Enters: a stable `code`, a one-line `message`, and where there is a way on, a `hint`.
Leaves: an exception whose text holds policy facts and positions only.
Never: plaintext, keys, passphrases or labelled names in a message, hint or repr. Foreign exceptions are wrapped where
they arise, with `raise … from None` when their text could quote content.

Message style (Cedar's guide): lower case, one line, user input in backticks, no class names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qnb.model import Decision


_LONGEST = 1000  # characters of a message: a policy of many groups still lists them all


class QnbError(Exception):
    """Root of the tree.

    Args:
        code: stable, kebab-case, for programs (`unknown-level`).
        message: one line for people: what did not hold. What no terminal should be given is replaced.
        hint: what to do next, one line, or None.
    """

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        self.code = code
        self.message = _one_line(message)
        self.hint = None if hint is None else _one_line(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        """A denial in a worker process is to arrive as what it is: one that does not unpickle breaks its pool."""
        return _restored, (type(self), self.code, self.message, self.hint), dict(self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """IPython shows these lines instead of a traceback, which could quote the cell's source and values."""
        return [f"{type(self).__name__}: {line}" if i == 0 else line for i, line in enumerate(str(self).splitlines())]


def _one_line(text: str) -> str:
    """`text` as a terminal may show it: a message quotes what somebody wrote, control characters included."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _restored(cls: type[QnbError], code: str, message: str, hint: str | None) -> QnbError:
    error = cls.__new__(cls, message)
    QnbError.__init__(error, code, message, hint)
    return error


class ConfigError(QnbError):
    """A setting, a home folder or a command line that cannot be used."""


class LabelError(QnbError):
    """A label that does not parse, or a level or category that the policy does not know."""


class PolicyError(QnbError):
    """No decision could be made; always a denial for whoever asked."""


class DeniedError(QnbError):
    """The policy answered no. Carries the decision, which holds policy facts only, and tells it in a few lines."""

    def __init__(self, code: str, message: str, hint: str | None = None, *, decision: Decision) -> None:
        super().__init__(code, message, hint)
        self.message = "\n".join(map(_one_line, message.split("\n")))
        self.args = (self.message,)
        self.decision = decision


class SealedError(QnbError):
    """What a sealed cell's own error becomes in clear: that it failed, not how."""


class ExecutionError(QnbError):
    """An execution that could not be guarded, followed or recorded."""


class SealError(QnbError):
    """Sealing or opening did not work."""


class RecipientError(SealError):
    """A recipient or identity that does not parse, or a mixture that the format refuses."""


class NoIdentityMatchError(SealError):
    """None of the identities given is a recipient of the file."""


class TamperedError(SealError):
    """The ciphertext, its header or a binding inside was altered."""


class VerificationError(QnbError):
    """A verification step did not hold."""


class SignatureError(VerificationError):
    """A signature that is required is missing or wrong."""


class SubjectMismatchError(VerificationError):
    """An entry speaks of other bytes than the ones at hand."""


class CheckpointError(VerificationError):
    """A checkpoint does not parse, or disagrees with the log."""


class InclusionError(VerificationError):
    """An inclusion proof does not lead to the root."""


class ConsistencyError(VerificationError):
    """A newer tree does not contain an older one."""


class StorageError(QnbError):
    """A file or database that cannot be opened, read or written."""
