"""What tests of more than one room use: accounts with homes of their own."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qnb.cli.main import cli
from qnb.core.card import render_html, render_text
from qnb.core.entry import EntryView, parse_statement
from qnb.core.seal import Identity, parse_recipient, seal
from qnb.core.seal.header import parse_header
from qnb.core.seal.output import MIME, OutputHeader, SealedOutput, pack_output, parse_bundle, sealed_bundle
from qnb.core.statement import source_digest
from qnb.store.authority import Authority
from qnb.store.config import init_home, load_policy
from qnb.store.keys import load_identities
from qnb.store.log import Log


@dataclass
class Account:
    """A home, and what its owner does at a shell and in a kernel."""

    home: Path
    patch: pytest.MonkeyPatch

    def run(self, *args: object, rc: int = 0, **options: Any) -> Result:
        """A command, which is to end with `rc`; an error counts as the exit code that `main` gives it."""
        self.patch.setenv("QNB_HOME", str(self.home))
        result = CliRunner().invoke(cli, [str(arg) for arg in args], **options)
        code = result.exit_code
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            from qnb.cli.main import report_error
            from qnb.errors import QnbError

            if not isinstance(result.exception, QnbError):
                raise result.exception
            code = report_error(result.exception, as_json=False)
        assert code == rc, (args, result.output, result.exception)
        return result

    def json(self, *args: object, rc: int = 0) -> Any:
        """The object that a command prints with `--json`."""
        return json.loads(self.run(*args, "--json", rc=rc).stdout)

    @property
    def identity(self) -> Identity:
        """Its identity, which lies in clear."""
        return load_identities([self.home / "identity"], None)[0]

    @property
    def pub(self) -> Path:
        """A file with its recipient."""
        path = self.home.with_suffix(".pub")
        path.write_text(f"# {self.home.name}\n{self.identity.recipient.text}\n")
        return path

    def entries(self, *kinds: str) -> list[EntryView]:
        """What its log says, of these kinds or all."""
        with Log.open(self.home / "log.db", readonly=True) as log:
            found = [parse_statement(data) for data in log.entries()]
        return [entry for entry in found if not kinds or entry.kind in kinds]

    def seal_cell(self, path: Path, content: str, label: str = "confidential", *, run: int = 1, **cell: Any) -> None:
        """A notebook with one cell whose sealed output is recorded, as a kernel makes it.

        `cell` may say `to`, `id`, and with `forged` what the output's recipients claim.
        """
        source, to, cell_id = "%%qsecure\nx", tuple(cell.get("to", ())), cell.get("id", "c0")
        with Authority.open(self.home) as authority:
            parsed = authority.policy.scheme.parse(label)
            names = authority.policy.sealed_to(parsed, to)
            recipients = [parse_recipient(text) for text in authority.policy.recipients(names)]
            header = OutputHeader(1, "s", run, "ok", source_digest(source).hex(), label, "nb", cell_id, None)
            outputs = [{"output_type": "stream", "name": "stdout", "text": content}]
            ciphertext = seal(pack_output(header, outputs), recipients)
            context = authority.context(
                parsed, session="s", notebook="nb", cell=cell_id, sequence=run, source=source_digest(source)
            )
            fingerprints = [recipient.fingerprint for recipient in recipients]
            receipt = authority.record_seal(context, hashlib.sha256(ciphertext).digest(), "ok", fingerprints)
        bundle = sealed_bundle(header, ciphertext, recipients, receipt)
        data = {MIME: bundle, "text/html": render_html(bundle), "text/plain": render_text(bundle)}
        output = {"output_type": "display_data", "data": data, "metadata": {}}
        row = {"cell_type": "code", "id": cell_id, "metadata": {}, "source": source, "outputs": [output]}
        nb = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"qnb": {"id": "nb"}}, "cells": [row]}
        path.write_text(json.dumps(nb, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def opens(self, path: Path) -> bool:
        """Whether it can open all of a notebook or an age file."""
        target = path.with_suffix(".opened")
        self.patch.setenv("QNB_HOME", str(self.home))
        done = CliRunner().invoke(cli, ["unseal", str(path), "-o", str(target), "--force"])
        return done.exit_code == 0

    def names(self) -> dict[str, str]:
        """Recipients of its policy."""
        return dict(load_policy(self.home).data.recipients)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Account]:
    """Makes accounts by name; the working folder is an empty one."""
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")

    def make(name: str) -> Account:
        init_home(tmp_path / name)
        return Account(tmp_path / name, monkeypatch)

    return make


@pytest.fixture
def ada(account: Callable[[str], Account]) -> Account:
    """A data owner."""
    return account("ada")


@pytest.fixture
def bob(account: Callable[[str], Account]) -> Account:
    """A colleague, with a home and a policy of his own."""
    return account("bob")


@pytest.fixture
def payload() -> Callable[[bytes], bytes]:
    """What of an age file is not its header."""

    def of(file: bytes) -> bytes:
        src = io.BytesIO(file)
        parse_header(src)
        return src.read()

    return of


@pytest.fixture
def sealed() -> Callable[[Path], SealedOutput]:
    """The sealed output of a notebook's first cell."""
    return lambda path: parse_bundle(json.loads(path.read_bytes())["cells"][0]["outputs"][0]["data"][MIME])
