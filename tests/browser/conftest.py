"""The real JupyterLab in a real Chromium: token and XSRF checks on, a home of its own, no trace in the caller's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

_FLAGS = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_START_SECONDS = 60


@dataclass(frozen=True)
class Lab:
    """A running server. `root` is its file root, `home` the QNB_HOME of its kernels and of the server."""

    url: str
    token: str
    root: Path
    home: Path
    settings: Path
    log: Path

    def set_theme(self, theme: str) -> None:
        """Choose the theme for pages that are opened from now on: `JupyterLab Light` or `JupyterLab Dark`."""
        self._save_settings("themes", {"theme": theme, "adaptive-theme": False})

    def silence_news(self) -> None:
        """No request leaves the machine, and no question about news covers a screenshot."""
        self._save_settings("notification", {"fetchNews": "false", "checkForUpdates": False})

    def _save_settings(self, plugin: str, value: dict[str, object]) -> None:
        folder = self.settings / "@jupyterlab" / "apputils-extension"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{plugin}.jupyterlab-settings").write_text(json.dumps(value))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab as `jupyter lab` starts it, on a free port, with a random token."""
    base = tmp_path_factory.mktemp("lab")
    folders = {name: base / name for name in ("root", "home", "config", "data", "runtime", "settings", "workspaces")}
    for folder in folders.values():
        folder.mkdir(mode=0o700)
    environment = {
        **os.environ,
        "HOME": str(base),
        "QNB_HOME": str(folders["home"]),
        "IPYTHONDIR": str(base / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folders["config"]),
        "JUPYTER_DATA_DIR": str(folders["data"]),
        "JUPYTER_RUNTIME_DIR": str(folders["runtime"]),
        "JUPYTERLAB_SETTINGS_DIR": str(folders["settings"]),
        "JUPYTERLAB_WORKSPACES_DIR": str(folders["workspaces"]),
    }
    log = base / "server.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0"]
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [*command, f"--ServerApp.root_dir={folders['root']}"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            info = _wait_for_info(server, folders["runtime"], log)
            running = Lab(info["url"], info["token"], folders["root"], folders["home"], folders["settings"], log)
            running.silence_news()
            yield running
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for_info(server: subprocess.Popen[bytes], runtime: Path, log: Path) -> dict[str, str]:
    # The server writes its address and token there once it listens; there is nothing to subscribe to before that.
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            if file.read_bytes().endswith(b"}"):
                info: dict[str, str] = json.loads(file.read_bytes())
                return info
        time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")  # playwright's event loop runs as long as this does, and is in the way of others
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless. Where there is none the test is skipped, in CI it fails."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium on PATH")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, headless=True, args=_FLAGS)
        yield running
        running.close()


@pytest.fixture
def open_notebook(lab: Lab, browser: Browser) -> Iterator[Callable[..., Page]]:
    """`open_notebook("a.ipynb", theme="JupyterLab Dark")`: a page of its own with that notebook of `lab.root` open."""
    contexts = []

    def open_(path: str, theme: str = "JupyterLab Light") -> Page:
        lab.set_theme(theme)
        context = browser.new_context(viewport={"width": 1280, "height": 800}, device_scale_factor=1.5)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{lab.url}lab/tree/{path}?token={lab.token}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Notebook", timeout=60_000)
        # The toolbar's indicator claims to be idle before there is a kernel; the status bar does not.
        expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=60_000)
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture
def screenshot(tmp_path: Path) -> Callable[[Page, str], Path]:
    """`screenshot(page, "name")` keeps a picture in QNB_SCREENSHOTS, or in the test's own folder."""
    folder = Path(os.environ.get("QNB_SCREENSHOTS") or tmp_path)

    def take(page: Page, name: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        page.screenshot(path=path)
        return path

    return take
