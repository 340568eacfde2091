"""Attack: show labelled data in a cell that was opened in clear.

A real kernel over the wire with a real session. What was shown before the label rose is cleared, what comes after it is
sealed, and cells that read nothing labelled speak as ever. The canary is the text in `CANARY`; each test labels a list
of its own that holds it.
"""

from __future__ import annotations

import pytest

from qnb.core.seal.output import MIME

_SECRET = "import qnb\nsecret = qnb.label([CANARY], 'confidential')\nsecret"

# each ends up showing the canary, and none of them says so by a name that is labelled
_READERS = {
    "print": "print(secret)",
    "result": "secret[0]",
    "function": "def tell(): print(secret)\ntell()",
    "error": "raise ValueError(secret[0])",
    "thread": "import threading\nt = threading.Thread(target=lambda: print(secret))\nt.start(); t.join()",
    "task": "import asyncio\nasync def say(): print(secret)\nawait asyncio.create_task(say())",
    "exec": "exec('print(sec' + 'ret)')",
    "namespace": "print(globals()['sec' + 'ret'])",
    "shell": "print(get_ipython().user_ns['sec' + 'ret'])",
    "results": "print(list(Out.values()))",
    "magic": "%time print(secret)",
    "expansion": "!echo {secret[0]}",
    "whos": "%whos",
    "module": "import __main__\nprint(vars(__main__)['sec' + 'ret'])",
}
_RAISED_BY = {  # the cell before stashes, in a way that no name tells of
    "file": ("open('stash.txt', 'w').write(secret[0])", "print('shown'); print(open('stash.txt').read())"),
    "pickle": (
        "import pickle\nwith open('stash.pkl', 'wb') as f: pickle.dump(secret, f)",
        "import pickle\nprint('shown'); print(pickle.load(open('stash.pkl', 'rb')))",
    ),
}


@pytest.fixture(scope="module")
def secret(followed):
    """The kernel with a labelled variable in it."""
    followed.must(_SECRET)
    return followed


def test_labelling_cell_is_sealed_from_there_on_and_cleared(followed, canary: str) -> None:
    """Also its own result, which is the value."""
    reply = followed.must(f"print('shown before')\n{_SECRET}")
    assert reply.shown <= {"stream", "clear_output", "display_data", "update_display_data"}
    kinds = [message["header"]["msg_type"] for message in reply.iopub]
    assert kinds.index("clear_output") < kinds.index("display_data")
    assert "stream" not in kinds[kinds.index("clear_output") :]
    assert reply.card["because"] == "confidential, because it labels data; what it had shown before is cleared"
    assert canary in followed.opened(reply.card)
    assert not followed.leaks()


@pytest.mark.parametrize("way", _READERS)
def test_cell_that_reads_is_sealed_before_its_first_message(secret, canary: str, way: str) -> None:
    """Nothing of it was ever shown in clear, and the card says why."""
    reply = secret.run(_READERS[way])
    assert reply.shown <= {"display_data", "update_display_data"}
    assert " because " in reply.card["because"]
    if way != "whos":  # it shows the beginning of values
        assert canary in secret.opened(reply.card) or secret.await_sealed(canary)
    assert not secret.leaks()
    secret.run("%qnb release 'the scenario is over'")  # where it carried a label


@pytest.mark.parametrize("way", _RAISED_BY)
def test_cell_that_turns_out_to_read_is_sealed_from_there_on(followed, canary: str, way: str) -> None:
    """What it had shown by then is cleared; the file itself is its writer's matter."""
    followed.must(_SECRET)
    stash, read = _RAISED_BY[way]
    followed.must(stash)
    reply = followed.run(read)
    assert "clear_output" in reply.shown
    assert reply.card["because"].endswith("what it had shown before is cleared")
    assert canary in followed.opened(reply.card)
    assert not [found for found in followed.leaks() if "stash." not in found]
    followed.must("import os\nfor name in ('stash.txt', 'stash.pkl'):\n    if os.path.exists(name): os.remove(name)")


def test_cells_that_read_nothing_labelled_speak_as_ever(secret) -> None:
    """Neither what came before nor what comes after is touched."""
    reply = secret.must("print('plain'); numbers = [1, 2]; numbers")
    assert reply.shown == {"stream", "execute_result"}
    assert secret.must("numbers.append(3); print(numbers)").of("stream")[0]["text"] == "[1, 2, 3]\n"
    assert secret.must("%qnb status").of("display_data")[0]["data"]["text/plain"].splitlines()[1].endswith("internal")


def test_expression_beside_a_cell_is_not_answered_when_it_reads(secret, canary: str) -> None:
    """A front end may send some with a cell that reads nothing; a kernel that holds classified values answers none."""
    reply = secret.run("1", user_expressions={"a": "secret", "b": "1 + 1", "c": "sec" + "ret[0]"})
    assert {answer["status"] for answer in reply.content["user_expressions"].values()} == {"error"}
    assert not secret.leaks()


def test_released_kernel_speaks_again_and_the_variable_stays_labelled(followed) -> None:
    """After a recorded decision with a reason; without one nothing changes."""
    followed.must(_SECRET)
    followed.must("eval('1')")
    assert MIME in str(followed.must("print('carried')").of("display_data"))
    assert followed.run("%qnb release ''").content["ename"] == "ConfigError"
    followed.must("%qnb release 'nothing was read'")
    assert followed.must("print('free')").shown == {"stream"}
    assert MIME in str(followed.must("print(secret)").of("display_data"))
    assert followed.run("%qnb release 'again'").content["evalue"].startswith("the kernel carries no label")


def test_declassified_value_is_clear_and_the_rest_is_not(followed, canary: str) -> None:
    """Only that value, and only once it was decided."""
    followed.must(_SECRET)
    followed.must("size = len(secret); first = secret[0]")
    followed.must("size = qnb.declassify(size, 'internal', reason='a number')")
    assert followed.must("print(size)").shown == {"stream"}
    assert MIME in str(followed.must("print(first)").of("display_data"))
    assert not followed.leaks()


def test_labels_why_and_picture_name_no_value(secret, canary: str) -> None:
    """They are shown in clear."""
    secret.must("derived = secret[0] + '!'")
    for line in ("%qnb labels", "%qnb why derived", "qnb.flow()"):
        reply = secret.must(line)
        assert reply.shown <= {"display_data", "execute_result"}
        assert "`secret`" in str(reply.iopub)
    assert "text/vnd.mermaid" in str(reply.iopub)
    assert not secret.leaks()


def test_policy_may_refuse_instead_of_raising(followed, canary: str) -> None:
    """Then nothing of the cell runs, and the reason is told in clear."""
    followed.must(_SECRET)
    followed.must(
        "from dataclasses import replace\npolicy = standin.session.authority.policy\nhandling = policy.data.handling\n"
        "kept = handling['confidential']\nhandling['confidential'] = replace(kept, declared=True)"
    )
    reply = followed.run("ran = secret")
    assert (reply.content["ename"], reply.shown) == ("LabelError", {"error"})
    assert "`secret` (cell" in reply.content["evalue"]
    assert followed.must("%%qsecure confidential\nran = secret").card["state"] == "ok"
    followed.must("handling['confidential'] = kept")
    assert not followed.leaks()
