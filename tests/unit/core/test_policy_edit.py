"""Who `qnb.toml` names changes; everything else in it stays as somebody wrote it."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import qnb
from qnb.core.policy import parse_policy
from qnb.core.policy_edit import add_dataset, add_recipient, remove_recipient, replace_recipient
from qnb.core.seal import generate_identity
from qnb.errors import ConfigError, PolicyError

FOLDER = Path(qnb.__file__).parent / "policies"
DEFAULT = (FOLDER / "qnb.toml").read_bytes()
ADA, BOB, KEY = (generate_identity(lambda n, i=i: bytes([i]) * n).recipient.text for i in (1, 2, 3))
TEAM = add_recipient(add_recipient(DEFAULT, "ada", ADA, ["owners"]), "bob", BOB, ["owners", "recovery"])


def changed(before: bytes, after: bytes) -> list[str]:
    """The lines that differ, as `-` and `+`, recipients cut short."""
    lines = difflib.ndiff(before.decode().splitlines(), after.decode().splitlines())
    return [line.split("age1")[0] for line in lines if line[0] in "+-" and line[1:].strip()]


def accepted(toml: bytes) -> dict[str, object]:
    """What the strict reader makes of it."""
    parse_policy(toml, *((FOLDER / name).read_bytes() for name in ("policy.cedar", "policy.cedarschema")))
    return tomllib.loads(toml.decode())


def test_recipient_added_is_one_line_below_its_header() -> None:
    """Comments stay with what they speak of, and the group's list keeps its form."""
    after = add_recipient(DEFAULT, "ada", ADA, ["owners"])
    assert changed(DEFAULT, after) == ['+ ada = "', "- owners = []", '+ owners = ["ada"]']
    assert f'[recipients]\nada = "{ADA}"\n' in after.decode()
    assert accepted(after)["recipients"] == {"ada": ADA}


def test_name_with_a_dot_is_quoted() -> None:
    """`a.b@c` is a name, not a table in a table."""
    assert accepted(add_recipient(DEFAULT, "a.b@c", ADA))["recipients"] == {"a.b@c": ADA}


def test_list_over_several_lines_keeps_its_comments() -> None:
    """A person's layout is a person's layout."""
    wide = TEAM.replace(b'owners = ["ada", "bob"]', b'owners = [  # who works\n    "ada",  # since May\n    "bob",\n]')
    after = add_recipient(wide, "key-2", KEY, ["owners"])
    assert changed(wide, after) == ['+ key-2 = "', '+     "key-2",']
    assert changed(wide, remove_recipient(wide, "bob")) == [
        '- bob = "',
        '-     "bob",',
        '- recovery = ["bob"]',
        "+ recovery = []",
    ]


def test_recipient_removed_is_gone_everywhere() -> None:
    """From recipients, groups, datasets and levels; adding it again gives the same policy."""
    toml = add_dataset(TEAM, "trial", KEY, ["owners", "bob"])
    after = accepted(remove_recipient(toml, "bob"))
    assert after["recipients"] == {"trial": KEY, "ada": ADA}
    assert after["groups"] == {"owners": ["ada"], "recovery": []}
    assert after["datasets"] == {"trial": ["owners"]}
    level = TEAM.replace(b'recipients = ["owners", "recovery"]', b'recipients = ["owners", "bob"]')
    assert b'"bob"' not in remove_recipient(level, "bob")


def test_recipient_string_in_a_group_is_removed_and_replaced() -> None:
    """Groups may hold recipients without a name."""
    bare = TEAM.replace(b"recovery = [", f'recovery = ["{KEY}", '.encode())
    assert KEY.encode() not in remove_recipient(bare, KEY)
    assert replace_recipient(bare, KEY, ADA).count(ADA.encode()) == 2


def test_recipient_replaced_changes_one_line() -> None:
    """A rotation is a change of one string."""
    after = replace_recipient(TEAM, ADA, KEY)
    assert changed(TEAM, after) == ['- ada = "', '+ ada = "']
    assert accepted(after)["recipients"] == {"bob": BOB, "ada": KEY}


def test_dataset_comes_with_its_table() -> None:
    """The first brings the table and what it is; the second one line."""
    first = add_dataset(TEAM, "trial", KEY, ["owners"])
    assert accepted(first)["datasets"] == {"trial": ["owners"]}
    second = add_dataset(first, "other", generate_identity().recipient.text, ["ada"])
    assert changed(first, second) == ['+ other = "', '+ other = ["ada"]']


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda: add_recipient(TEAM, "ada", KEY), "name-taken"),
        (lambda: add_recipient(TEAM, "owners", KEY), "name-taken"),
        (lambda: add_recipient(TEAM, "eve", KEY, ["ownres"]), "unknown-group"),
        (lambda: remove_recipient(TEAM, "adda"), "unknown-recipient"),
        (lambda: add_dataset(TEAM, "bob", KEY, ["owners"]), "name-taken"),
    ],
)
def test_wrong_name_is_told_with_the_way_on(edit: object, code: str) -> None:
    """A typo is named, and what was meant."""
    with pytest.raises(ConfigError) as caught:
        edit()  # type: ignore[operator]
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize(
    "toml",
    [
        b"\xff",
        b"[recipients\n",
        b"version = 1\n",
        TEAM.replace(b"[recipients]\n", b"recipients = {}\n[other]\n"),
    ],
)
def test_file_that_a_program_cannot_edit_is_said_to_be_one(toml: bytes) -> None:
    """It is never rewritten by guessing."""
    with pytest.raises(PolicyError) as caught:
        add_recipient(toml, "eve", KEY)
    assert caught.value.code == "policy-not-editable"


@given(
    names=st.lists(
        st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,30}", fullmatch=True), min_size=1, max_size=5, unique=True
    ),
    groups=st.lists(st.sampled_from(["owners", "recovery"]), unique=True),
)
@settings(derandomize=True, max_examples=60, deadline=None)
def test_any_name_added_and_removed_leaves_the_policy_as_it_was(names: list[str], groups: list[str]) -> None:
    """Whatever it is spelled like, it is one name; and what else the policy says is the same before and after."""
    before = tomllib.loads(TEAM.decode())
    names = [name for name in names if name not in (*before["recipients"], *before["groups"])]
    toml = TEAM
    for name in names:
        toml = add_recipient(toml, name, KEY, groups)
    after = tomllib.loads(toml.decode())
    assert after["recipients"] == before["recipients"] | dict.fromkeys(names, KEY)
    for group, members in before["groups"].items():
        assert after["groups"][group] == members + (names if group in groups else [])
    for name in names:
        toml = remove_recipient(toml, name)
    assert tomllib.loads(toml.decode()) == before
