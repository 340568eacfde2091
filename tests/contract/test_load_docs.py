"""What the pages on loading and leaving show is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from qiskit import QuantumCircuit, qpy

from qnb.core.circuits.untrusted import describe_limits, parse_limits
from qnb.core.policy import parse_policy
from qnb.model import Action, Assurance, Principal, Request

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "qnb" / "policies"
HOW_TO = (ROOT / "docs/how-to/load-circuits.md").read_text("utf-8")
WHAT_LEAVES = (ROOT / "docs/explanation/what-leaves.md").read_text("utf-8")


def policy_files() -> list[str]:
    return [(POLICIES / name).read_text("utf-8") for name in ("qnb.toml", "policy.cedar", "policy.cedarschema")]


def test_code_of_the_how_to_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block, as a reader would, in a folder with the files that it names."""
    monkeypatch.chdir(tmp_path)
    for name in ("from-a-colleague.qpy", "large.qpy"):
        with Path(name).open("wb") as file:
            qpy.dump(QuantumCircuit(2), file)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", HOW_TO, re.DOTALL):
        exec(block, names)
        assert isinstance(names["circuit"], QuantumCircuit)


def test_table_of_limits_names_each_with_its_default() -> None:
    """A limit that is not on the page cannot be raised by who reads it."""
    units = {"MiB": 1 << 20, "GiB": 1 << 30, "": 1}
    said = {}
    for row in re.findall(r"(?m)^\| (`[^|]+) \| ([^|]+) \| [^|]+ \|$", HOW_TO.partition("## Limits")[2]):
        numbers = re.findall(r"(\d[\d,]*)(?: (MiB|GiB))?", row[1])
        for name, (number, unit) in zip(re.findall(r"`(\w+)`", row[0]), numbers, strict=True):
            said[name] = int(number.replace(",", "").rstrip(",")) * units[unit]
    assert said == describe_limits(parse_limits(None))


def test_rule_of_the_how_to_denies_pickles_alone() -> None:
    """Put at the end of the default rules, it parses and does what its reason says."""
    toml, cedar, schema = policy_files()
    (rule,) = re.findall(r"```cedar\n(.*?)```", HOW_TO, re.DOTALL)
    policy = parse_policy(toml.encode(), (cedar + rule).encode(), schema.encode())
    who = Principal("ada", 1, Assurance.OS)
    answers = {
        name: policy.decide(Request(Action.LOAD, who, policy.scheme.session, format=name)).allow
        for name in ("qpy", "qasm2", "qasm3", "pickle")
    }
    assert answers == {"qpy": True, "qasm2": True, "qasm3": True, "pickle": False}


def test_zone_of_the_explanation_passes_names_on() -> None:
    """The default hides them from every zone that is external; the block on the page turns that off for one."""
    toml, cedar, schema = policy_files()
    before = parse_policy(toml.encode(), cedar.encode(), schema.encode())
    assert [before.hides_names(zone) for zone in ("local", "on-prem", "cloud", "unknown", None)] == [
        False, False, True, True, False,
    ]  # fmt: skip
    (block,) = re.findall(r"(?m)((?:^    .*\n)*^    names = .*\n)", WHAT_LEAVES)
    block = re.sub(r"(?m)^    ", "", block)
    given = '[zones.cloud]\ndescription = "machines of a provider"\nexternal = true\n'
    assert given in toml
    after = parse_policy(toml.replace(given, block).encode(), cedar.encode(), schema.encode())
    assert not after.hides_names("cloud")
