"""What the handlers do, without HTTP: open, seal, verify and list for a user of the server.

Enters: who asks, checked bodies. Leaves: answers as the contract has them.
Never: opens before it was decided, or answers before it was recorded; keeps anything it opened.
Spec: docs/reference/rest.md.

Everything here blocks (scrypt, fsync, decryption): it is called in a thread, never in the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from qnb.core.digester import canonical
from qnb.core.entry import EntryView, parse_statement, worst_status
from qnb.core.listing import list_entry
from qnb.core.notebook import Opened
from qnb.core.seal import Identity
from qnb.core.seal.output import MIME
from qnb.core.verify import Report, audit_notebook
from qnb.errors import ConfigError, QnbError, StorageError, VerificationError
from qnb.server.contract import describe, error_reply
from qnb.server.identity import IdentityKeeper
from qnb.store.config import principal
from qnb.store.keychain import Keychain
from qnb.store.outputs import seal_standing_outputs
from qnb.store.sealing import OpenedNotebook, unseal_notebook
from qnb.store.service import Service
from qnb.store.verifying import load_signers, load_vkeys, log_at_hand

_SCANNED = 20_000  # entries looked at for one page


class Desk:
    """Serves one account.

    Args:
        service: its policy, log and authority.
        keeper: its identity.
        openers: the users who may open; empty for everybody whom the server lets in.
        signers: public keys of other logs: files or keys.
    """

    def __init__(
        self, service: Service, keeper: IdentityKeeper, openers: Sequence[str] = (), signers: Sequence[str] = ()
    ) -> None:
        self._service = service
        self._keeper = keeper
        self._openers = frozenset(openers)
        self._signers = tuple(signers)
        self._sequence = 0

    # --- identity ----------------------------------------------------------------------------------------------------

    def status(self, user: str) -> dict[str, Any]:
        """`Status`. What cannot be used is null, with the first problem in words."""
        who = principal()
        answer: dict[str, Any] = {
            "version": 1,
            "identity": {"state": "missing", "protection": None, "fingerprints": [], "idle": None},
            "principal": {"name": who.name, "assurance": str(who.assurance)},
            "policy": None,
            "log": None,
            "problem": None,
        }
        problems: list[QnbError] = []
        with self._service.lock:
            for name, find in (
                ("identity", lambda: self._keeper.describe(user)),
                ("policy", self._policy),
                ("log", self._log),
            ):
                try:
                    answer[name] = find()
                except QnbError as error:
                    problems.append(error)
        if problems:
            answer["problem"] = describe(problems[0])
        return answer

    def unlock(self, user: str, passphrase: str) -> dict[str, Any]:
        """`Identity`, once the passphrase opened it.

        Raises:
            QnbError: it did not.
        """
        self._check_opener(user)
        self._keeper.unlock(user, passphrase)
        return self._keeper.describe(user)

    def lock(self, user: str) -> dict[str, Any]:
        """`Identity`, forgotten for the user."""
        self._keeper.forget(user)
        return self._keeper.describe(user)

    # --- sealed outputs ----------------------------------------------------------------------------------------------

    def unseal(self, user: str, item: dict[str, Any]) -> dict[str, Any]:
        """`Unsealed`.

        Raises:
            QnbError: it did not open.
        """
        (answer,) = self._unseal(user, [item])
        if isinstance(answer, QnbError):
            raise answer
        return answer

    def unseal_all(self, user: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        """`UnsealAllReply`: one decision for each label, one entry for each output.

        Raises:
            QnbError: none can be tried, or something that opened could not be recorded.
        """
        answers = self._unseal(user, items)
        return {"results": [error_reply(describe(a)) if isinstance(a, QnbError) else a for a in answers]}

    def seal(self, request: dict[str, Any]) -> dict[str, Any]:
        """`Sealed`.

        Raises:
            QnbError: it could not be sealed or recorded.
        """
        with self._service.lock:
            authority = self._service.authority(create=True)
            label = authority.policy.scheme.parse(request["label"])
            if not authority.policy.handling(label).seal:
                raise ConfigError("not-sealed", f"outputs at `{label}` are not sealed", "name a higher level")
            self._sequence += 1
            data = seal_standing_outputs(
                authority,
                request["outputs"],
                label,
                notebook=request["notebook"],
                cell=request["cell"],
                source=request["source"],
                sequence=self._sequence,
            )
        return {"data": data, "label": str(label), "entry": data[MIME]["entry"]["index"]}

    def verify(self, nb: dict[str, Any]) -> dict[str, Any]:
        """`VerifyReply`.

        Raises:
            ConfigError: not a notebook.
            QnbError: the log cannot be used.
        """
        reports = self._audit(nb)
        checked = []
        for report in reports:
            cell_index, output_index = report.place or (0, 0)
            own = nb["cells"][cell_index].get("id")
            checked.append(
                {
                    "subject": report.subject,
                    "cell": own if isinstance(own, str) else None,
                    "cell_index": cell_index,
                    "output_index": output_index,
                    "verification": _verification(report),
                }
            )
        return {
            "held": all(report.held for report in reports),
            "authenticated": bool(reports) and all(report.authenticated for report in reports),
            "checked": checked,
        }

    # --- entries -----------------------------------------------------------------------------------------------------

    def entries(self, notebook: str, after: int, limit: int) -> dict[str, Any]:
        """`EntriesReply`. A decision whose answer is further on than was looked at has no status.

        Raises:
            QnbError: the log cannot be read.
        """
        with self._service.lock:
            record = self._service.record()
            if record is None:
                return {"entries": [], "next": after, "more": False}
            size = record.log.size
            stop = min(size, after + 1 + _SCANNED)
            needle = b'"notebook":' + canonical(notebook)
            found: list[tuple[int, EntryView]] = []
            answers: dict[int, str | None] = {}
            for index, _, body in record.log.rows(after + 1, stop):
                if needle not in body:
                    continue
                try:
                    view = parse_statement(body)
                except VerificationError:
                    continue
                if view.notebook != notebook:
                    continue
                if view.decision is not None:
                    answers[view.decision] = worst_status(answers.get(view.decision), view.status or "ok")
                if len(found) < limit:
                    found.append((index, view))
        rows = [list_entry(index, view, answers.get(index)) for index, view in found]
        if stop < size:
            rows = [{**row, "status": None} if row["status"] == "open" else row for row in rows]
        last = found[-1][0] if len(found) == limit else stop - 1
        return {"entries": rows, "next": last, "more": last < size - 1}

    # --- inside ------------------------------------------------------------------------------------------------------

    def _check_opener(self, user: str) -> None:
        if self._openers and user not in self._openers:
            raise ConfigError(
                "not-an-opener",
                "this server opens sealed outputs for its owner alone",
                "open it on a server of your own",
            )

    def _policy(self) -> dict[str, Any]:
        policy = self._service.policy()
        scheme = policy.scheme
        return {
            "digest": policy.digest,
            "levels": [{"name": n, "seals": policy.handling(scheme.parse(n)).seal} for n in scheme.levels],
            "categories": [{"name": name, "description": text} for name, text in scheme.categories.items()],
            "session": str(scheme.session),
            "cell": str(scheme.cell),
        }

    def _log(self) -> dict[str, Any] | None:
        record = self._service.record()
        if record is None:
            return None
        vkeys = load_vkeys(self._service.home)
        return {"origin": record.log.origin or (vkeys.origin if vkeys else ""), "size": record.log.size}

    def _unseal(self, user: str, items: list[dict[str, Any]]) -> list[dict[str, Any] | QnbError]:
        self._check_opener(user)
        self._keeper.check(user)
        places: dict[str | None, list[int]] = {}
        for number, item in enumerate(items):
            places.setdefault(item["notebook"], []).append(number)
        answers: dict[int, dict[str, Any] | QnbError] = {}
        with self._service.lock:
            for notebook, numbers in places.items():
                nb = _notebook_of(notebook, [items[number] for number in numbers])
                opened = self._open(user, nb)
                if isinstance(opened, QnbError):
                    answers |= dict.fromkeys(numbers, opened)
                    continue
                reports = {report.place[0]: report for report in self._audit(nb) if report.place is not None}
                for outcome, entry in opened.outputs:
                    outputs = opened.notebook["cells"][outcome.cell_index]["outputs"]
                    answer = _answer(outcome, entry, outputs, reports[outcome.cell_index])
                    answers[numbers[outcome.cell_index]] = answer
        return [answers[number] for number in range(len(items))]

    def _open(self, user: str, nb: dict[str, Any]) -> OpenedNotebook | QnbError:
        authority, home = self._service.authority(), self._service.home

        def keys() -> Iterable[Identity]:
            return Keychain(home, None, unlocked=self._keeper.take(user))()

        try:
            return unseal_notebook(authority, nb, keys, None, explain=Keychain(home, None).explain)
        except StorageError:  # what was opened could not be recorded: nothing is shown
            raise
        except QnbError as error:
            return error

    def _audit(self, nb: dict[str, Any]) -> list[Report]:
        with self._service.lock:
            record = self._service.record()
            log = None if record is None else log_at_hand(record, load_vkeys(self._service.home, record.log))
            signers = load_signers(self._signers)
            return list(audit_notebook(nb, log=log, vkeys=signers, digester=self._service.digester()))


def _notebook_of(notebook: str | None, items: list[dict[str, Any]]) -> dict[str, Any]:
    """A notebook of one cell for each item: the place that each says it stands in."""
    cells = [
        {
            "cell_type": "code",
            "id": item["cell"],
            "source": item["source"],
            "outputs": [{"output_type": "display_data", "data": {MIME: item["bundle"]}, "metadata": {}}],
        }
        for item in items
    ]
    metadata = {} if notebook is None else {"qnb": {"id": notebook}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}


def _answer(
    outcome: Opened, entry: int | None, outputs: list[dict[str, Any]], report: Report
) -> dict[str, Any] | QnbError:
    if outcome.error is not None:
        return outcome.error
    header = outcome.header
    if header is None or entry is None:
        return VerificationError("not-recorded", "the output was not opened", None)
    return {
        "outputs": outputs,
        "label": header.label,
        "state": header.state,
        "purpose": header.purpose,
        "findings": list(outcome.findings),
        "verification": _verification(report),
        "entry": entry,
    }


def _verification(report: Report) -> dict[str, Any]:
    steps = [
        {"name": s.name, "held": s.held, "detail": s.detail, "code": s.code, "entry": s.entry} for s in report.steps
    ]
    return {
        "held": report.held,
        "authenticated": report.authenticated,
        "vouched": report.vouched,
        "steps": steps,
    }
