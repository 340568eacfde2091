"""What the guard makes of notebooks as guarded kernels leave them."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nbformat import v4

from qnb.core.seal import parse_identities
from qnb.core.seal.output import MIME, open_output, parse_bundle
from qnb.errors import ConsistencyError, DeniedError, QnbError
from qnb.store.config import init_home
from qnb.store.guarding import NotebookGuard
from qnb.store.service import Service

RELEASED = "energy released: -1.137"
PICTURE = r"""%%qsecure confidential
from IPython.display import Image
picture = Image(data=b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(64)), format="png")
_ = qnb.declassify(picture, "internal", reason="paper")"""
CELLS = [
    "%load_ext qnb",
    (
        "%%qsecure confidential\nimport qnb\nkept = 'carried'\n"
        f"_ = qnb.declassify({RELEASED!r}, 'internal', reason='paper')\nprint(1)"
    ),
    PICTURE,
    "%%qsecure confidential\n%qnb status",
    "%%qsecure confidential --to age1stranger\nprint('inside')",
    "%%qsecure confidental\nprint('never')",
    "print(kept)",
]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A home, and a notebook that a guarded kernel ran: what stands in clear in it was put there by a recorded act."""
    base = tmp_path_factory.mktemp("executed")
    init_home(base / "home")
    nb = v4.new_notebook(cells=[v4.new_code_cell(source) for source in CELLS])
    (base / "in.ipynb").write_text(json.dumps(nb))
    environment = {**os.environ, "QNB_HOME": str(base / "home"), "IPYTHONDIR": str(base / "ipython")}
    command = [str(Path(sys.executable).with_name("qnb")), "execute", "in.ipynb", "-o", "out.ipynb", "--allow-errors"]
    done = subprocess.run(command, cwd=base, env=environment, capture_output=True, text=True)
    assert (base / "out.ipynb").exists(), done.stderr
    return base / "home", json.loads((base / "out.ipynb").read_text())


@pytest.fixture
def service(executed: tuple[Path, dict[str, Any]]) -> Iterator[Service]:
    """The account's service."""
    running = Service(executed[0])
    yield running
    running.close()


@pytest.fixture
def guard(service: Service) -> NotebookGuard:
    """A guard of its own."""
    return NotebookGuard(service)


@pytest.fixture
def nb(executed: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """The notebook as it was executed."""
    return copy.deepcopy(executed[1])


def opened(home: Path, bundle: object) -> str:
    identities = parse_identities((home / "identity").read_text())
    return json.dumps(open_output(parse_bundle(bundle), identities)[1])


def in_clear(nb: dict[str, Any]) -> list[dict[str, Any]]:
    return [output for cell in nb["cells"] for output in cell["outputs"] if MIME not in output.get("data", {})]


def test_notebook_as_a_guarded_kernel_left_it_passes_unchanged(guard: NotebookGuard, nb: dict[str, Any]) -> None:
    """Releases, the answer of `%qnb`, a denial and an unreadable label stay in clear, and nothing else is there."""
    guarded = guard.guard(nb)
    assert guarded.notebook is nb
    assert guarded.sealed == ()
    shown = json.dumps(in_clear(nb))
    assert RELEASED in shown
    assert "image/png" in shown
    assert "raised by cell" in shown
    assert "denied: share" in shown
    assert "unknown level" in shown
    assert "carried" not in shown


@pytest.mark.parametrize("form", ["as lines", "joined"])
def test_release_is_known_again_as_front_ends_save_it(guard: NotebookGuard, nb: dict[str, Any], form: str) -> None:
    """Texts as a list of lines or as one, pictures in base64."""
    for output in in_clear(nb):
        for kind, value in output.get("data", {}).items():
            text = "".join(value)
            output["data"][kind] = text.splitlines(keepends=True) if form == "as lines" else text
    assert guard.guard(nb).sealed == ()


def changed(output: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The output, altered in each of its places."""
    for place in ("data", "metadata"):
        if isinstance(output.get(place), dict):
            yield output | {place: output[place] | {"text/markdown": "canary"}}
            for kind in output[place]:
                yield output | {place: output[place] | {kind: "canary"}}
    if "evalue" in output:
        yield output | {"evalue": output["evalue"] + "\ncanary"}
        yield output | {"traceback": ["canary"]}
        yield output | {"ename": "canary"}
    yield output | {"note": "canary"}


def test_what_only_resembles_a_recorded_act_is_sealed(guard: NotebookGuard, nb: dict[str, Any]) -> None:
    """Every part of a release, an answer or a denial is looked at: one byte more, and it is the cell's own output."""
    tried = 0
    for index, cell in enumerate(nb["cells"]):
        for number, output in enumerate(cell["outputs"]):
            if MIME in output.get("data", {}):
                continue
            for other in changed(output):
                tried += 1
                altered = copy.deepcopy(nb)
                altered["cells"][index]["outputs"][number] = other
                guarded = guard.guard(altered)
                assert guarded.sealed == (cell["id"],), other
                assert "canary" not in json.dumps(guarded.notebook)
    assert tried > 20


def test_recorded_act_of_one_cell_is_none_of_another(guard: NotebookGuard, nb: dict[str, Any]) -> None:
    """A release or a denial that is moved below another classified cell is sealed there."""
    target = nb["cells"][-1]
    for output in in_clear(nb):
        if output.get("ename") == "LabelError":
            continue
        altered = copy.deepcopy(nb)
        altered["cells"][-1]["outputs"] = [output]
        assert guard.guard(altered).sealed == (target["id"],), output


def test_cell_below_a_classified_one_is_classified_by_its_own_entry(
    executed: tuple[Path, dict[str, Any]], guard: NotebookGuard, nb: dict[str, Any]
) -> None:
    """A label that was carried is in the log as well as one that was declared."""
    carried = nb["cells"][-1]
    carried["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "carried"}]
    sealed = guard.guard(nb).notebook["cells"][-1]["outputs"][0]["data"][MIME]
    assert sealed["label"] == "confidential"
    assert "carried" in opened(executed[0], sealed)


def test_notebook_given_is_never_changed(guard: NotebookGuard, nb: dict[str, Any]) -> None:
    """What does not change is shared, what does is new."""
    nb["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "carried"}]
    before = copy.deepcopy(nb)
    guarded = guard.guard(nb)
    assert nb == before
    assert guarded.notebook["cells"][0] is nb["cells"][0]


def test_notebook_without_an_id_gets_the_one_that_it_had(guard: NotebookGuard, nb: dict[str, Any]) -> None:
    """From its file where that is known, else from the sealed outputs in it, else a new one."""
    own = nb["metadata"]["qnb"].pop("id")
    assert guard.wants_id(nb)
    assert guard.guard(nb).id == own
    assert guard.guard(nb, "known").notebook["metadata"]["qnb"]["id"] == "known"
    bare = v4.new_notebook(cells=[v4.new_code_cell("%%qsecure\nprint(1)")])
    minted = guard.guard(bare)
    assert minted.id not in (None, own)
    assert minted.notebook["metadata"]["qnb"]["id"] == minted.id


def test_notebook_that_declares_nothing_is_left_alone(tmp_path: Path) -> None:
    """Without a label, a record or a home it is written as it is, and nothing is made."""
    guard = NotebookGuard(Service(tmp_path / "home"))
    nb = v4.new_notebook(
        cells=[v4.new_code_cell("print(1)", outputs=[v4.new_output("stream", name="stdout", text="1")])],
        metadata={"widgets": {"state": {}}},
    )
    assert guard.guard(nb).notebook is nb
    assert not (tmp_path / "home").exists()


def test_first_seal_in_a_new_account_makes_its_keys_and_says_so(tmp_path: Path) -> None:
    """As `%load_ext qnb` does; a save is not refused for want of keys."""
    made: list[str] = []
    service = Service(tmp_path / "home", lambda report: made.extend(report.created))
    cell = v4.new_code_cell("%%qsecure\nprint(1)", outputs=[v4.new_output("stream", name="stdout", text="1")])
    guarded = NotebookGuard(service).guard(v4.new_notebook(cells=[cell]))
    service.close()
    assert guarded.sealed == (cell["id"],)
    assert {"identity", "log.key"} <= set(made)


def test_label_of_an_earlier_policy_counts_as_the_highest(service: Service, nb: dict[str, Any]) -> None:
    """A level that is gone from the policy is no reason to show what carried it."""
    policy = service.home / "policy" / "qnb.toml"
    good = policy.read_text()
    policy.write_text(good.replace('"confidential"', '"secret"').replace("levels.confidential", "levels.secret"))
    try:
        nb["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "carried"}]
        guarded = NotebookGuard(service).guard({**nb, "cells": nb["cells"][-1:]})
        assert guarded.notebook["cells"][0]["outputs"][0]["data"][MIME]["label"] == "restricted"
    finally:
        policy.write_text(good)


def test_policy_that_denies_sealing_raises_and_seals_nothing(service: Service, nb: dict[str, Any]) -> None:
    """The decision is asked for and recorded; a no is not gone around."""
    policy = service.home / "policy" / "qnb.toml"
    good = policy.read_text()
    policy.write_text(good.replace('["@os-user"]', "[]"))
    nb["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "carried"}]
    try:
        with pytest.raises(DeniedError):
            NotebookGuard(service).guard(nb)
    finally:
        policy.write_text(good)


def test_log_that_was_exchanged_is_not_gone_by(service: Service, nb: dict[str, Any]) -> None:
    """Another file in its place could say that nothing is classified."""
    guard = NotebookGuard(service)
    guard.guard(nb)
    log = service.home / "log.db"
    log.rename(log.with_name("away.db"))
    nb["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    try:
        with pytest.raises(ConsistencyError):
            guard.guard(nb)
    finally:
        log.with_name("away.db").rename(log)
    assert guard.guard(nb).sealed == ()


@pytest.mark.parametrize("value", [None, [], {}, {"nbformat": 3}, {"nbformat": 4, "cells": [1]}])
def test_value_that_is_no_notebook_is_an_error_of_ours(guard: NotebookGuard, value: object) -> None:
    """Whoever calls can tell it from a failure."""
    with pytest.raises(QnbError):
        guard.guard(value)


def test_reason_on_a_card_is_no_place_for_an_output(guard: NotebookGuard, nb: dict[str, Any]) -> None:
    """Why a cell carries a label is one short line; anything else beside a bundle is its output in clear."""
    for reason in ({"text/plain": "canary"}, "canary" * 200):
        altered = copy.deepcopy(nb)
        altered["cells"][-1]["outputs"][0]["data"][MIME]["because"] = reason
        guarded = guard.guard(altered)
        assert guarded.sealed == (nb["cells"][-1]["id"],)
        assert "canary" not in json.dumps(guarded.notebook)
