"""A session with a real seal and no policy or log, for the kernel of these tests."""

from __future__ import annotations

import os
from typing import Any

from qnb.core.card import render_html, render_text
from qnb.core.seal import parse_recipient, seal
from qnb.core.seal.output import MIME, OutputHeader, pack_output, sealed_bundle
from qnb.errors import DeniedError, LabelError
from qnb.kernel import magic
from qnb.kernel.cell import Cell
from qnb.model import Action, Decision, Label, Reason, Receipt


class Labels:
    """Nothing is labelled here."""

    def shows(self, value):
        """Anything may be shown."""

    def reads(self, expression):
        """Nothing is read."""


class Session:
    """The surface of `qnb.kernel.session.Session` that the magic and the outputs call."""

    def __init__(self, high_water=False):
        self.recipient = parse_recipient(os.environ["QNB_TEST_RECIPIENT"])
        self.any_sealed = False
        self.labels = Labels()
        self.sequence = 0
        self.finals = []
        self.broken = None
        self.ended = []
        self.high_water = high_water

    def follow(self, namespace, on_rise):
        """Nothing is labelled here."""

    def end_cell(self, cell):
        """Nothing is labelled here."""

    def open_cell(self, raw, directive, *, msg_id=None, cell_id=None, notebook_id=None, **_):
        """Classify what has a directive; `nonsense` is no level."""
        self.sequence += 1
        classified = directive is not None or (self.high_water and self.any_sealed)
        cell = Cell(self.sequence, Label("confidential" if classified else "internal"), classified)
        cell.msg_id, cell.cell_id, cell.notebook_id, cell.directive = msg_id, cell_id, notebook_id, directive
        if directive is not None and directive.label == "nonsense":
            cell.refused = LabelError("unknown-level", "the policy knows no level `nonsense`", "levels: a, b")
        self.any_sealed |= classified and cell.refused is None
        self.cell = cell
        return cell

    def end_executions(self, cell):
        """Note the end."""
        self.ended.append(cell.sequence)
        cell.state = "ended"

    def seal_output(self, cell, outputs, state):
        """Seal to the test's recipient; `broken` is raised instead of a final version."""
        if self.broken is not None and state != "running":
            raise self.broken
        header = OutputHeader(
            1, "s" * 8, cell.sequence, state, None, str(cell.label), cell.notebook_id, cell.cell_id, None
        )
        ciphertext = seal(pack_output(header, outputs), [self.recipient])
        receipt = None
        if state != "running":
            self.finals.append(cell.sequence)
            receipt = Receipt("o", len(self.finals) - 1, b"\0" * 32, (), "checkpoint\n")
        bundle = sealed_bundle(header, ciphertext, [self.recipient], receipt)
        return {MIME: bundle, "text/html": render_html(bundle), "text/plain": render_text(bundle)}

    def deny(self):
        """Raise a denial as the session does."""
        decision = Decision(False, Action.EXECUTE, Label("confidential"), (Reason("p", "because"),), "00")
        error = DeniedError("denied", "the policy says no", "ask the data owner", decision=decision)
        self.cell.denials.append(error)
        raise error

    def vouch(self, shown):
        """There is no key to vouch with."""
        return {"hmac-sha256": "0" * 64}

    def status(self):
        """Facts for `%qnb status`."""
        return {"label": "confidential", "guard_missing": [], "sealed": self.any_sealed}


session: Any = None


def load(shell, **options):
    """Guard the shell with this session."""
    global session  # noqa: PLW0603 - the cells of the tests reach it by this name
    session = Session(**options)
    magic.load(shell, lambda: session)


def load_real(shell):
    """Guard the shell with a real session on a fresh home, sealed to the test's recipient too."""
    global session  # noqa: PLW0603 - the cells of the tests reach it by this name
    from pathlib import Path

    from qnb.kernel.session import Session as Real
    from qnb.store.authority import Authority
    from qnb.store.config import init_home

    home = Path(os.environ["QNB_HOME"])
    init_home(home, passphrase=None)
    policy = home / "policy" / "qnb.toml"
    policy.write_text(policy.read_text().replace("recovery = []", f'recovery = ["{os.environ["QNB_TEST_RECIPIENT"]}"]'))
    session = Real(Authority.open(home), check_guard=list, settle=lambda: None)
    magic.load(shell, lambda: session)
