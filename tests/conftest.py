"""What tests of more than one room use: accounts with homes of their own, and a real Jupyter server.

Hypothesis gives the same examples each time and looks at no clock: a busy machine is no counterexample.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings

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

settings.register_profile("qnb", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("qnb")


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


# --- a Jupyter server in a process of its own: token and XSRF checks on, its files in reach ---

ROOT = Path(__file__).parents[1]
_START_SECONDS = 60
# what these tests do not speak of, so that a server starts in a second
_OFF = dict.fromkeys(
    (
        "jupyterlab",
        "jupyter_lsp",
        "jupyter_server_fileid",
        "jupyter_server_terminals",
        "jupyter_server_ydoc",
        "notebook",
        "notebook_shim",
    ),
    False,
)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)

    @property
    def kind(self) -> str:
        """Kind of the error in it."""
        return self.json["error"]["kind"]


@dataclass
class Client:
    """A browser, or with `header` a script that brings the server's token along."""

    server: Server
    header: dict[str, str] = field(default_factory=dict)
    jar: CookieJar = field(default_factory=CookieJar)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        xsrf: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send a request; `xsrf` is the token to send, by default the one of the cookie, None for none."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.server.url + path, data, self.header | (headers or {}), method=method)
        token = next((cookie.value for cookie in self.jar if cookie.name == "_xsrf"), None)
        if xsrf is not None and (xsrf or token):
            request.add_header("X-XSRFToken", xsrf or str(token))
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        try:
            with opener.open(request, timeout=60) as answer:
                return Reply(answer.status, dict(answer.headers), answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, dict(error.headers), error.read().decode())

    def get(self, path: str, **options: Any) -> Reply:
        """GET."""
        return self.request("GET", path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> Reply:
        """POST."""
        return self.request("POST", path, {} if body is None else body, **options)

    def save(self, path: str, nb: object, **model: Any) -> Reply:
        """What a front end sends to save a notebook."""
        body = {"type": "notebook", "format": "json", "content": nb} | model
        return self.request("PUT", f"api/contents/{path}", body)

    def saved(self, path: str) -> Any:
        """The notebook in the file."""
        return json.loads((self.server.root / path).read_text())


@dataclass(frozen=True)
class Server:
    """A running server. `base` holds every file that it can write."""

    url: str
    token: str
    base: Path

    @property
    def root(self) -> Path:
        """Its file root."""
        return self.base / "root"

    @property
    def home(self) -> Path:
        """Its QNB_HOME."""
        return self.base / "home"

    @property
    def log(self) -> Path:
        """What it wrote to its outputs."""
        return self.base / "server.log"

    def browser(self) -> Client:
        """A browser of its own that is logged in: cookies, and no token from here on."""
        client = Client(self)
        client.get("login")  # gives the XSRF cookie
        assert client.get(f"api/status?token={self.token}").status == 200
        return client

    def stranger(self) -> Client:
        """A browser that is not logged in."""
        client = Client(self)
        client.get("login")
        return client

    def script(self) -> Client:
        """A program with the token."""
        return Client(self, {"Authorization": f"token {self.token}"})

    def leaks(self, canary: str) -> list[str]:
        """The files of the server, its log among them, that hold the canary in clear or in base64."""
        import base64

        needles = {canary.encode()} | {
            base64.b64encode(b" " * shift + canary.encode())[4 if shift else 0 : -4] for shift in range(3)
        }
        files = [path for path in self.base.rglob("*") if path.is_file()]
        return [str(path.relative_to(self.base)) for path in files if any(n in path.read_bytes() for n in needles)]


@contextmanager
def _start(base: Path, config: str, *options: str, **variables: str) -> Iterator[Server]:
    folders = {name: base / name for name in ("root", "config", "data", "runtime")}
    for folder in folders.values():
        folder.mkdir(mode=0o700, exist_ok=True)
    enabled = folders["config"] / "jupyter_server_config.d"
    enabled.mkdir(exist_ok=True)
    shutil.copy(ROOT / "qnb" / "server" / "qnb.json", enabled / "qnb.json")
    (enabled / "others.json").write_text(json.dumps({"ServerApp": {"jpserver_extensions": _OFF}}))
    (folders["config"] / "jupyter_server_config.py").write_text("c = get_config()  # noqa\n" + config)
    environment = {
        **os.environ,
        "HOME": str(base),
        "QNB_HOME": str(base / "home"),
        "IPYTHONDIR": str(base / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folders["config"]),
        "JUPYTER_CONFIG_PATH": str(folders["config"]),  # goes before that of a virtual environment
        "JUPYTER_DATA_DIR": str(folders["data"]),
        "JUPYTER_RUNTIME_DIR": str(folders["runtime"]),
        **variables,
    }
    command = [
        sys.executable,
        "-m",
        "jupyter_server",
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port=0",
    ]
    with (
        (base / "server.log").open("wb") as out,
        subprocess.Popen(
            [*command, f"--ServerApp.root_dir={folders['root']}", *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            info = _wait_for_info(process, folders["runtime"], base / "server.log")
            yield Server(info["url"], info["token"], base)
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _wait_for_info(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> dict[str, Any]:
    # The server writes its address and token there a moment before it listens; there is nothing to subscribe to.
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            if file.read_bytes().endswith(b"}"):
                info: dict[str, Any] = json.loads(file.read_bytes())
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", info["port"])):
                    return info
        time.sleep(0.05)
    pytest.fail(f"the server did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def start_server() -> Iterator[Callable[..., Server]]:
    """`start_server(folder, config="", *options, **environment)`: a server that lives as long as the module's tests."""
    with ExitStack() as running:
        yield lambda base, config="", *options, **variables: running.enter_context(
            _start(base, config, *options, **variables)
        )
