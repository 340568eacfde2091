"""A dataset key stands alone, so that destroying it erases."""

from __future__ import annotations

from pathlib import Path

import pytest

import qnb
from qnb.core.policy import Policy, parse_policy
from qnb.core.policy_edit import add_dataset, add_recipient
from qnb.core.seal import generate_identity
from qnb.errors import ConfigError, PolicyError

FOLDER = Path(qnb.__file__).parent / "policies"
ADA, BOB, KEY, OTHER = (generate_identity(lambda n, i=i: bytes([i]) * n).recipient.text for i in (1, 2, 3, 4))
TEAM = add_recipient(add_recipient((FOLDER / "qnb.toml").read_bytes(), "ada", ADA, ["owners"]), "bob", BOB)
TOML = add_dataset(TEAM, "trial", KEY, ["owners"])
LEVEL = b'[levels.restricted]\nseal = true\nrecipients = ["owners", "recovery"]'
assert LEVEL in TOML


def parse(toml: bytes) -> Policy:
    return parse_policy(toml, *((FOLDER / name).read_bytes() for name in ("policy.cedar", "policy.cedarschema")))


def test_dataset_key_takes_the_place_of_the_levels_own() -> None:
    """By its name and by its string; without it the level's own and those asked for."""
    policy = parse(TOML)
    label = policy.scheme.parse("restricted")
    assert policy.sealed_to(label) == ("owners", "recovery")
    assert policy.sealed_to(label, ["bob"]) == ("owners", "recovery", "bob")
    assert policy.sealed_to(label, ["trial"]) == policy.sealed_to(label, [KEY]) == ("trial",)
    assert policy.sealed_to(label, [KEY, "trial"]) == ("trial",)
    assert policy.recipients(policy.sealed_to(label, ["trial"])) == (KEY,)


def test_level_may_be_sealed_to_a_key_of_its_own() -> None:
    """A classification key: the same, for all of a level."""
    policy = parse(TOML.replace(LEVEL, LEVEL.replace(b'["owners", "recovery"]', b'["trial"]')))
    label = policy.scheme.parse("restricted//ip")
    assert policy.sealed_to(label) == policy.sealed_to(label, ["trial"]) == ("trial",)
    with pytest.raises(ConfigError) as caught:
        policy.sealed_to(label, ["bob"])
    assert caught.value.code == "dataset-key-alone"


@pytest.mark.parametrize(
    "to", [("trial", "bob"), ("bob", KEY), ("trial", "owners"), ("trial", "other"), ("trial", BOB)]
)
def test_nobody_is_sealed_to_beside_a_dataset_key(to: tuple[str, ...]) -> None:
    """Whoever stands beside it could read after it was destroyed."""
    policy = parse(add_dataset(TOML, "other", OTHER, ["ada"]))
    with pytest.raises(ConfigError) as caught:
        policy.sealed_to(policy.scheme.parse("restricted"), to)
    assert caught.value.code == "dataset-key-alone"


@pytest.mark.parametrize(
    "change",
    [
        (b'owners = ["ada"]', b'owners = ["ada", "trial"]'),
        (b'owners = ["ada"]', f'owners = ["ada", "{KEY}"]'.encode()),
        (b'trial = ["owners"]', b'trial = ["owners", "trial"]'),
        (b'trial = ["owners"]', b"trial = []"),
        (b'trial = ["owners"]', b'trial = ["nobody"]'),
        (b'trial = ["owners"]', b'trial = ["owners"]\nbob = ["ada"]\nnobody = ["ada"]'),
        (b"[recipients]\n", f'[recipients]\nalias = "{KEY}"\n'.encode()),
        (LEVEL, LEVEL.replace(b'"recovery"', b'"trial"')),
    ],
)
def test_policy_in_which_it_does_not_stand_alone_is_refused(change: tuple[bytes, bytes]) -> None:
    """In a group, beside others in a level, under a second name, without members: each is an error with its place."""
    parse(TOML)
    assert change[0] in TOML
    with pytest.raises(PolicyError) as caught:
        parse(TOML.replace(*change))
    assert "qnb.toml" in caught.value.message
    assert caught.value.hint
