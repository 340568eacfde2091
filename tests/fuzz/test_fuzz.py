"""The short run of the fuzzer: changed seeds always, guided by coverage where atheris is installed.

`make fuzz` is the long one.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from choices import Choices, edit_bytes  # noqa: E402 - they lie beside this file, where `run.py` finds them too
from targets import TARGETS, Target  # noqa: E402

RUNS = 2000
SEED = 20261123


@pytest.fixture(params=TARGETS, ids=lambda target: target.name)
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    return found


def test_seeds_given_as_they_are_raise_nothing_but_our_errors(target: Target) -> None:
    """What a fuzzer begins with is itself fit: it parses or is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nbformat, on notebooks that are none
        for seed in target.seeds:
            target.run(seed)


@given(data=st.data())
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_seeds_raise_nothing_but_our_errors(target: Target, data: st.DataObject) -> None:
    """Seeds with a few changes, and any bytes: only our errors come out, and what the target promises holds."""
    seed = data.draw(st.sampled_from(target.seeds))
    edits = data.draw(st.binary(max_size=40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target.run(edit_bytes(seed, Choices(edits)) if edits else seed)
        target.run(edits)


@pytest.mark.slow
def test_guided_fuzzer_finds_nothing(target: Target, tmp_path: Path) -> None:
    """The same with atheris, which keeps what reaches new code: the first inputs of the long run, memory capped."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: `pip install qnb[fuzz]`")
    command = [sys.executable, HERE / "run.py", target.name, tmp_path / "corpus", f"-runs={RUNS}", f"-seed={SEED}"]
    done = subprocess.run([*command, f"-artifact_prefix={tmp_path}/"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert re.search(r"Done \d+ runs", done.stderr), done.stderr[-4000:]
