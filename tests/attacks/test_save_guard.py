"""Plaintext of a classified cell on its way into a file, by every way that a Jupyter server writes one."""

from __future__ import annotations

import base64
import copy
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qnb.core.seal.output import MIME
from qnb.store.config import init_home

CANARY = "canary-7d40c2"
LABELLED = "%%qsecure restricted//ip\nprint(energies)"


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server whose account has keys, shared by a module."""
    base = tmp_path_factory.mktemp("guarded")
    init_home(base / "home")
    return start_server(base)


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    """A browser; when its test is over, no file of the server holds what the cells printed."""
    yield server.browser()
    assert server.leaks(CANARY) == []


def stream(text: str = CANARY) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": text}


_IDS = itertools.count()


def cell(source: str, *outputs: dict[str, Any], id_: str | None = None) -> dict[str, Any]:
    """A cell with an id of its own: cells are known by their ids, as in life."""
    return {
        "cell_type": "code",
        "id": id_ or f"cell-{next(_IDS)}",
        "metadata": {},
        "execution_count": 1,
        "source": source,
        "outputs": list(outputs),
    }


def notebook(*cells: dict[str, Any], id_: str | None = None, **metadata: Any) -> dict[str, Any]:
    own = {} if id_ is None else {"qnb": {"id": id_}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": own | metadata, "cells": list(cells)}


def bundle_of(nb: Any, index: int = 0) -> Any:
    (output,) = nb["cells"][index]["outputs"]
    return output["data"][MIME]


def label_on_record(client: Any, id_: str, cell_id: str = "c1", label: str = "restricted//ip") -> None:
    """What the kernel's run of a labelled cell leaves in the log."""
    request = {"outputs": [stream("earlier")], "label": label, "notebook": id_, "cell": cell_id, "source": None}
    assert client.post("qnb/seal", request).status == 200


def opened(client: Any, nb: Any) -> str:
    found = cell_of(nb)
    request = {
        "bundle": bundle_of(nb),
        "notebook": nb["metadata"]["qnb"]["id"],
        "cell": found["id"],
        "source": found["source"] if isinstance(found["source"], str) else "".join(found["source"]),
    }
    reply = client.post("qnb/unseal", request)
    assert reply.status == 200, reply.text
    return json.dumps(reply.json["outputs"])


def cell_of(nb: Any) -> Any:
    return nb["cells"][0]


def plant(server: Any, path: str, nb: object) -> None:
    """Put a file where no save of the server put it; a test that plants takes it away again."""
    (server.root / path).write_text(json.dumps(nb))


# --- save ------------------------------------------------------------------------------------------------------------


def test_plaintext_below_a_label_is_sealed_by_saving(client: Any) -> None:
    """Create and save: the file holds one sealed output in its place, which its owner opens."""
    for _ in range(2):  # the first creates the file, the second is an autosave
        assert client.save("save.ipynb", notebook(cell(LABELLED, stream()))).status in (200, 201)
        saved = client.saved("save.ipynb")
        assert bundle_of(saved)["label"] == "restricted//ip"
        assert CANARY in opened(client, saved)


def test_autosave_of_what_was_sealed_before_seals_it_once(client: Any) -> None:
    """A front end that keeps the plaintext sends it with each save: same id, same ciphertext, no further entry."""
    nb = notebook(cell(LABELLED, stream()))
    client.save("autosave.ipynb", nb)
    first = client.saved("autosave.ipynb")
    client.save("autosave.ipynb", nb)
    assert client.saved("autosave.ipynb") == first


def test_label_that_was_removed_from_the_source_still_counts(client: Any) -> None:
    """The label of record is in the log; so is one that the source says too low."""
    for number, source in enumerate(("print(energies)", "%%qsecure internal\nprint(energies)")):
        label_on_record(client, f"removed-{number}")
        client.save(f"removed-{number}.ipynb", notebook(cell(source, stream(), id_="c1"), id_=f"removed-{number}"))
        assert bundle_of(client.saved(f"removed-{number}.ipynb"))["label"] == "restricted//ip"


@pytest.mark.parametrize("id_", [None, "made-up"])
def test_notebook_under_another_id_keeps_the_labels_of_its_cells(client: Any, id_: str | None) -> None:
    """Without an id, or with one that no entry names, a cell is looked for by its own id."""
    label_on_record(client, "whose-id-is-dropped", "known-cell")
    client.save("id.ipynb", notebook(cell("print(energies)", stream(), id_="known-cell"), id_=id_))
    assert bundle_of(client.saved("id.ipynb"))["label"] == "restricted//ip"


def test_higher_of_source_and_record_counts(client: Any) -> None:
    """A label that was raised in the source is not held down by what was recorded before."""
    label_on_record(client, "raised", label="confidential//phi")
    client.save("raised.ipynb", notebook(cell(LABELLED, stream(), id_="c1"), id_="raised"))
    assert bundle_of(client.saved("raised.ipynb"))["label"] == "restricted//ip,phi"


def test_label_that_does_not_parse_is_the_highest(client: Any) -> None:
    """Nothing is said to be harmless because nobody could read what it is."""
    client.save("typo.ipynb", notebook(cell("%%qsecure confidental\nprint(energies)", stream())))
    assert bundle_of(client.saved("typo.ipynb"))["label"] == "restricted"


def test_every_form_of_output_is_sealed(client: Any) -> None:
    """Streams, displays, results, errors, what is no output at all, and what only says that it is sealed."""
    png = {"image/png": base64.b64encode(CANARY.encode()).decode()}
    forms = [
        stream(),
        {"output_type": "stream", "name": "stderr", "text": [CANARY, "\n"]},
        {"output_type": "display_data", "data": png, "metadata": {}},
        {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": CANARY}, "metadata": {}},
        {"output_type": "error", "ename": "E", "evalue": CANARY, "traceback": [CANARY]},
        {"output_type": "error", "ename": "DeniedError", "evalue": f"{CANARY}\n  recorded as entry 0", "traceback": []},
        {"output_type": "display_data", "data": {MIME: {"version": 1, "note": CANARY}}, "metadata": {}},
        {"output_type": "display_data", "data": {"text/plain": CANARY}, "metadata": {"qnb": {"answer": CANARY}}},
        {"output_type": "invented", "text": CANARY},
    ]
    for number, form in enumerate(forms):
        client.save(f"form-{number}.ipynb", notebook(cell(LABELLED, form)))
        assert CANARY in opened(client, client.saved(f"form-{number}.ipynb")) or form.get("data") == png


def test_plaintext_beside_a_bundle_is_no_card(client: Any) -> None:
    """What stands in a card's place, in the metadata or as another type beside a bundle does not reach the file."""
    client.save("beside.ipynb", notebook(cell(LABELLED, stream("harmless"))))
    nb = client.saved("beside.ipynb")
    good = copy.deepcopy(nb["cells"][0]["outputs"][0])
    for change in (
        {"data": good["data"] | {"text/html": CANARY}},
        {"data": good["data"] | {"text/plain": [CANARY]}},
        {"metadata": {"note": CANARY}},
        {"data": good["data"] | {"text/markdown": CANARY}},
        {"data": good["data"] | {MIME: good["data"][MIME] | {"note": CANARY}}},
    ):
        nb["cells"][0]["outputs"] = [good | change]
        assert client.save("beside.ipynb", nb).status == 200


def test_widget_state_of_a_notebook_with_classified_cells_is_left_out(client: Any) -> None:
    """It holds what widgets showed, and does not say which cell's they were."""
    state = {"application/vnd.jupyter.widget-state+json": {"state": {"a": {"state": {"value": CANARY}}}}}
    client.save("widgets.ipynb", notebook(cell(LABELLED), widgets=state))
    assert "widgets" not in client.saved("widgets.ipynb")["metadata"]


def test_attachments_of_a_classified_cell_are_sealed_or_refused(client: Any) -> None:
    """A code cell's become sealed outputs; a cell that is no longer code has no place for one, so nothing is saved."""
    attachments = {"plot.png": {"image/png": base64.b64encode(CANARY.encode()).decode()}}
    client.save("attached.ipynb", notebook(cell(LABELLED) | {"attachments": attachments}))
    assert "attachments" not in cell_of(client.saved("attached.ipynb"))
    label_on_record(client, "turned")
    turned = {"cell_type": "markdown", "id": "c1", "metadata": {}, "source": "", "attachments": attachments}
    reply = client.save("turned.ipynb", notebook(turned, id_="turned"))
    assert reply.status == 422
    assert "attachment" in reply.json["message"]


# --- other ways ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "base64"])
@pytest.mark.parametrize("path", ["upload.ipynb", "upload.txt"])
def test_notebook_that_is_saved_as_a_file_is_sealed(client: Any, kind: str, path: str) -> None:
    """Uploads and the text editor save text: what counts is what it is, not what it is called."""
    text = json.dumps(notebook(cell(LABELLED, stream())))
    content = text if kind == "text" else base64.b64encode(text.encode()).decode()
    assert client.save(path, content, type="file", format=kind).status in (200, 201)
    assert bundle_of(client.saved(path))["label"] == "restricted//ip"


def test_text_that_says_a_key_twice_is_written_anew(client: Any) -> None:
    """A reader sees the last value, the file would hold both."""
    text = json.dumps(notebook(cell(LABELLED)))
    hidden = text.replace('"outputs": []', f'"outputs": {json.dumps([stream()])}, "outputs": []')
    assert client.save("twice.ipynb", hidden, type="file", format="text").status in (200, 201)
    assert cell_of(client.saved("twice.ipynb"))["outputs"] == []


@pytest.mark.parametrize("kind", ["text", "base64"])
def test_upload_in_pieces_is_held_back_until_it_is_whole(client: Any, kind: str) -> None:
    """No piece is written unseen: after each of them the server's files hold nothing in clear."""
    text = json.dumps(notebook(cell(LABELLED, stream())))
    middle = text.index(CANARY) + len(CANARY)
    pieces = [text[:middle], text[middle : middle + 20], text[middle + 20 :]]
    for number, piece in zip((1, 2, -1), pieces, strict=True):
        content = piece if kind == "text" else base64.b64encode(piece.encode()).decode()
        assert client.save(f"pieces-{kind}.ipynb", content, type="file", format=kind, chunk=number).status in (200, 201)
        assert client.server.leaks(CANARY) == []
    assert CANARY in opened(client, client.saved(f"pieces-{kind}.ipynb"))


def test_upload_that_is_broken_off_leaves_nothing_in_clear(client: Any) -> None:
    """And a piece that follows nothing is refused, also on a file that is there."""
    text = json.dumps(notebook(cell(LABELLED, stream())))
    client.save("broken-off.ipynb", text[:-10], type="file", format="text", chunk=1)
    assert (client.server.root / "broken-off.ipynb").read_text() == ""
    client.save("there.ipynb", notebook())
    for number in (2, -1):
        reply = client.save("there.ipynb", CANARY, type="file", format="text", chunk=number)
        assert reply.status == 422


def test_large_file_that_is_no_notebook_passes_in_pieces(client: Any) -> None:
    """The guard holds nothing back that it does not have to look at."""
    for number, piece in ((1, "a,b\n"), (2, "1,2\n"), (-1, "3,4\n")):
        assert client.save("table.csv", piece, type="file", format="text", chunk=number).status in (200, 201)
    assert (client.server.root / "table.csv").read_text() == "a,b\n1,2\n3,4\n"


def test_file_that_becomes_a_notebook_by_renaming_is_sealed_first(client: Any) -> None:
    """Whoever wrote it, when it is called a notebook it holds nothing in clear."""
    plant(client.server, "export.txt", notebook(cell(LABELLED, stream())))
    assert client.request("PATCH", "api/contents/export.txt", {"path": "renamed.ipynb"}).status == 200
    assert CANARY in opened(client, client.saved("renamed.ipynb"))


def test_copy_is_sealed(client: Any) -> None:
    """Of a file that something else put there in clear; the one it was made of is not touched."""
    plant(client.server, "planted.ipynb", notebook(cell(LABELLED, stream())))
    reply = client.post("api/contents/", {"copy_from": "planted.ipynb"})
    assert reply.status == 201
    assert bundle_of(client.saved(reply.json["path"]))["label"] == "restricted//ip"
    (client.server.root / "planted.ipynb").unlink()


def test_checkpoint_of_what_lies_there_in_clear_is_sealed(client: Any) -> None:
    """Making a checkpoint is a write: the file is looked at first."""
    plant(client.server, "kept.ipynb", notebook(cell(LABELLED, stream())))
    assert client.post("api/contents/kept.ipynb/checkpoints").status == 201


def test_file_with_nothing_in_clear_is_not_touched_by_a_checkpoint(client: Any) -> None:
    """Front ends make one when they open a file; to rewrite it then, for an id, would look like another's change."""
    plant(client.server, "opened.ipynb", notebook(cell(LABELLED)))
    file = client.server.root / "opened.ipynb"
    before = (file.stat().st_mtime_ns, file.read_bytes())
    assert client.post("api/contents/opened.ipynb/checkpoints").status == 201
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before


def test_checkpoint_from_before_the_label_comes_back_sealed(client: Any) -> None:
    """And the checkpoint itself is made anew, so that it does not keep what the file no longer holds."""
    before = notebook(cell("print(energies)", stream(), id_="c1"), id_="checkpoint")
    client.save("restored.ipynb", before)
    checkpoint = client.post("api/contents/restored.ipynb/checkpoints").json["id"]
    label_on_record(client, "checkpoint")
    client.save("restored.ipynb", notebook(id_="checkpoint"))
    assert client.post(f"api/contents/restored.ipynb/checkpoints/{checkpoint}").status == 204
    assert CANARY in opened(client, client.saved("restored.ipynb"))


def test_file_that_does_not_parse_and_may_hold_classified_cells_is_refused(client: Any) -> None:
    """What nobody can read nobody can seal; a broken file that is plainly something else passes."""
    label_on_record(client, "unparsed", "c-unparsed")
    broken = json.dumps(notebook(cell("print(energies)", stream(), id_="c-unparsed")))[:-2]
    reply = client.save("broken.ipynb", broken, type="file", format="text")
    assert reply.status == 422
    assert client.save("conflict.ipynb", "<<<<<<< HEAD\n{}", type="file", format="text").status in (200, 201)


def test_old_format_with_a_label_is_refused(client: Any) -> None:
    """Version 3 of nbformat has no place for a sealed output."""
    cells = [{"cell_type": "code", "language": "python", "input": LABELLED, "outputs": [stream()]}]
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]}
    assert client.save("old.ipynb", json.dumps(old), type="file", format="text").status == 422


# --- never open ------------------------------------------------------------------------------------------------------


def test_policy_that_cannot_be_read_refuses_what_would_have_to_be_sealed(client: Any) -> None:
    """With the reason, and nothing in the file; a notebook that declares nothing is saved as ever."""
    policy = client.server.home / "policy" / "qnb.toml"
    good = policy.read_text()
    policy.write_text("version = 99\n")
    try:
        reply = client.save("nopolicy.ipynb", notebook(cell(LABELLED, stream())))
        assert reply.status == 422
        assert "did not save" in reply.json["message"]
        assert not (client.server.root / "nopolicy.ipynb").exists()
        assert client.save("plain.ipynb", notebook(cell("1 + 1", stream("2"), id_="c-plain"))).status in (200, 201)
    finally:
        policy.write_text(good)


def test_log_that_was_taken_away_refuses_outputs_in_clear(client: Any) -> None:
    """Nobody can know what was classified: not even an unlabelled cell's output is written, a bare notebook is."""
    log = client.server.home / "log.db"
    away = log.with_name("away.db")
    client.save("warm.ipynb", notebook(cell(LABELLED, stream())))
    log.rename(away)
    try:
        nb = notebook(cell("print(1)", stream("1"), id_="c-unknown"))
        assert client.save("nolog.ipynb", nb).status == 422
        assert client.save("bare.ipynb", notebook(cell("print(1)", id_="c-unknown"))).status in (200, 201)
    finally:
        away.rename(log)
    assert client.save("nolog.ipynb", nb).status in (200, 201)


def test_restoring_what_cannot_be_sealed_leaves_the_file_as_it_was(client: Any) -> None:
    """The refusal comes after the checkpoint was put in place, and takes it back."""
    before = notebook(cell("print(energies)", stream(), id_="c-back"), id_="back")
    client.save("back.ipynb", before)
    client.post("api/contents/back.ipynb/checkpoints")
    label_on_record(client, "back", "c-back")
    now = notebook(cell("pass", id_="c-new"), id_="back")
    client.save("back.ipynb", now)
    policy = client.server.home / "policy" / "qnb.toml"
    good = policy.read_text()
    policy.write_text("version = 99\n")
    try:
        assert client.post("api/contents/back.ipynb/checkpoints/checkpoint").status == 422
        assert client.saved("back.ipynb")["cells"][0]["id"] == "c-new"
    finally:
        policy.write_text(good)
        (client.server.root / ".ipynb_checkpoints" / "back-checkpoint.ipynb").unlink()


def test_hook_of_the_user_runs_and_cannot_put_plaintext_back(
    start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The guard has the last word, after every hook."""
    base = tmp_path_factory.mktemp("hooked")
    init_home(base / "home")
    hook = f"""
def hook(model, path, contents_manager, **_):
    if model["type"] == "notebook":
        for cell in model["content"]["cells"]:
            cell["outputs"] = [{{"output_type": "stream", "name": "stdout", "text": "can" + "{CANARY[3:]}"}}]
            cell["metadata"]["hooked"] = True
c.FileContentsManager.pre_save_hook = hook
"""
    client = start_server(base, hook).browser()
    assert client.save("hooked.ipynb", notebook(cell(LABELLED, stream()))).status == 201
    saved = client.saved("hooked.ipynb")
    assert cell_of(saved)["metadata"]["hooked"] is True
    assert CANARY in opened(client, saved)
    assert [name for name in client.server.leaks(CANARY) if not name.startswith("config")] == []


@pytest.mark.parametrize(
    "manager",
    [
        "jupyter_server.services.contents.largefilemanager.LargeFileManager",
        "jupyter_server.services.contents.filemanager.AsyncFileContentsManager",
        "jupyter_server.services.contents.filemanager.FileContentsManager",
    ],
)
def test_every_contents_manager_is_guarded(
    start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, manager: str
) -> None:
    """Those that block and those that do not; save, rename, copy, checkpoint and restore."""
    base = tmp_path_factory.mktemp("manager")
    init_home(base / "home")
    client = start_server(base, f"c.ServerApp.contents_manager_class = {manager!r}\n").browser()
    assert client.save("a.ipynb", notebook(cell(LABELLED, stream()))).status == 201
    assert client.post("api/contents/", {"copy_from": "a.ipynb"}).status == 201
    plant(client.server, "b.txt", notebook(cell(LABELLED, stream())))
    assert client.request("PATCH", "api/contents/b.txt", {"path": "b.ipynb"}).status == 200
    plant(client.server, "c.ipynb", notebook(cell(LABELLED, stream())))
    assert client.post("api/contents/c.ipynb/checkpoints").status == 201
    assert client.post("api/contents/c.ipynb/checkpoints/checkpoint").status == 204
    for name in ("a.ipynb", "b.ipynb", "c.ipynb"):
        assert CANARY in opened(client, client.saved(name))
    assert client.server.leaks(CANARY) == []
