"""What front ends are told without having asked, over the server's event bus.

Enters: what the guard did or refused. Leaves: events.
Never: content; an error, since a notice that cannot be sent changes nothing about what was done.
Spec: events/notice.yaml.
"""

from __future__ import annotations

from collections.abc import Callable
from logging import Logger
from pathlib import Path
from typing import Any

from qnb.core.notebook import notebook_id
from qnb.errors import DeniedError, QnbError
from qnb.store.config import HomeReport
from qnb.store.guarding import Guarded

SCHEMA_ID = "urn:qnb:event:notice:v1"
SCHEMA_PATH = Path(__file__).parent / "events" / "notice.yaml"


class Notices:
    """Sends notices.

    Args:
        emit: called with each one; from any thread.
        log: the server's.
    """

    def __init__(self, emit: Callable[[dict[str, Any]], object], log: Logger) -> None:
        self._emit = emit
        self._log = log

    def sealed(self, path: str, guarded: Guarded) -> None:
        """Outputs were sealed in place, or the state of widgets was left out."""
        cells = len(guarded.sealed)
        if cells:
            message = f"sealed the outputs of {cells} classified cell{'s' if cells != 1 else ''} while saving"
        else:
            message = "left the state of widgets out while saving: it may show what classified cells computed"
        self._log.info("qnb: %s, notebook %s", message.partition(":")[0], guarded.id)
        hint = "reload the notebook from disk to see what was saved"
        self._send("sealed", path, guarded.id, list(guarded.sealed), "sealed-in-place", message, hint)

    def refused(self, path: str, nb: dict[str, Any] | None, error: QnbError) -> None:
        """Nothing was saved."""
        self._log.warning("qnb: did not save (%s)", error.code)
        kind = "denied" if isinstance(error, DeniedError) else "refused"
        named = None if nb is None else notebook_id(nb)
        self._send(kind, path, named, [], error.code, error.message, error.hint)

    def first_use(self, report: HomeReport) -> None:
        """Keys were made."""
        made = ", ".join(report.created)
        hint = f"back it up: {report.backup}" if report.recipient is not None else None
        self._log.info("qnb: first use, made %s", made)
        self._send("first-use", None, None, [], "keys-made", f"made {made} in `{report.home}`", hint)

    def _send(
        self,
        kind: str,
        path: str | None,
        notebook: str | None,
        cells: list[str],
        code: str,
        message: str,
        hint: str | None,
    ) -> None:
        try:
            self._emit(
                {
                    "kind": kind,
                    "path": path,
                    "notebook": notebook,
                    "cells": cells,
                    "code": code,
                    "message": message,
                    "hint": hint,
                }
            )
        except Exception as error:  # noqa: BLE001 - see above
            self._log.warning("qnb: a notice could not be sent (%s)", type(error).__name__)
