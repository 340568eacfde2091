from __future__ import annotations

from importlib import resources

import pytest

from qnb.core.policy import parse_policy
from qnb.errors import PolicyError

FOLDER = resources.files("qnb").joinpath("policies")
TOML, CEDAR, SCHEMA = (
    FOLDER.joinpath(n).read_text("utf-8") for n in ("qnb.toml", "policy.cedar", "policy.cedarschema")
)


def refuse(cedar: str = CEDAR, schema: str = SCHEMA) -> PolicyError:
    """The error that reading these rules gives."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(TOML.encode(), cedar.encode(), schema.encode())
    assert "\n" not in caught.value.message
    return caught.value


def rule(
    condition: str = "", head: str = '@id("mine") @reason("because")', scope: str = "principal, action, resource"
) -> str:
    """The default rules and one more."""
    return f"{CEDAR}\n{head}\nforbid ({scope}) {condition};\n"


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ('@reason("because")', "has no usable `@id`"),
        ('@id("Not An Id") @reason("because")', "has no usable `@id`"),
        ('@id("not-lower") @reason("because")', "repeats the `@id`"),
        ('@id("mine")', "rule `mine` has no `@reason`"),
        ('@id("mine") @reason(" ")', "rule `mine` has no `@reason`"),
        ('@id("mine") @reason("{purpose}")', "placeholder `{purpose}`"),
        ('@id("mine") @reason("because") @hint("{level.__class__}")', "placeholder `{level.__class__}`"),
    ],
)
def test_rule_without_usable_annotations_is_refused(head: str, told: str) -> None:
    """A rule that decides must have a name and say why, and say only what may be shown."""
    error = refuse(rule(head=head))
    assert error.code == "policy-annotation"
    assert told in error.message


@pytest.mark.parametrize(
    ("condition", "name", "likely"),
    [
        ('when { principal in Role::"resercher" }', 'Role::"resercher"', "researcher"),
        ('when { context.level == Level::"restrictd" }', 'Level::"restrictd"', "restricted"),
        ('when { context.categories.contains(Category::"finanz") }', 'Category::"finanz"', "finance"),
        ('when { context.level.requires.contains(Requirement::"purpos") }', 'Requirement::"purpos"', "purpose"),
        ('when { context.level.zones.contains(Zone::"loca") }', 'Zone::"loca"', "local"),
    ],
)
def test_rule_that_names_what_is_not_there_is_refused(condition: str, name: str, likely: str) -> None:
    """A misspelt name would be a rule that never matches."""
    error = refuse(rule(condition))
    assert (error.code, error.hint) == ("policy-reference", f"did you mean `{likely}`?")
    assert name in error.message
    assert "rule `mine`" in error.message


def test_rule_on_a_recipient_or_group_that_is_not_there_is_refused() -> None:
    """References in the scope count as those in conditions."""
    assert "Group" in refuse(rule(scope='principal, action == Action::"share", resource in Group::"team"')).message
    assert (
        "Recipient" in refuse(rule(scope='principal, action == Action::"share", resource == Recipient::"eve"')).message
    )


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("when { context.purpos }", "attribute `purpos`"),
        ("when { context.shots > 10 }", "shots"),
        ('when { context.level.rank == "2" }', "rule `mine`"),
    ],
)
def test_rule_that_does_not_fit_the_schema_is_refused(condition: str, told: str) -> None:
    """Unknown attributes, optional ones without `has`, wrong types; the rule is named by its own id."""
    error = refuse(rule(condition, scope='principal, action == Action::"execute", resource'))
    assert error.code == "policy-invalid"
    assert "rule `mine`" in error.message
    assert told in error.message


def test_rules_with_many_faults_name_the_first_ones() -> None:
    """A message is a line that one reads: three faults, and how many more there are."""
    scope = 'principal, action == Action::"execute", resource'
    rules = [rule("when { context.purpos }", f'@id("mine-{n}") @reason("because")', scope) for n in range(9)]
    error = refuse(CEDAR + "".join(text.removeprefix(CEDAR) for text in rules))
    assert error.message.endswith("; and 6 more")
    assert error.message.count("purpos") == 3


def test_syntax_error_is_refused_with_the_lines_of_the_rule() -> None:
    """Cedar gives no position; the rule is found by reading each by itself, strings and comments respected."""
    cedar = CEDAR.replace('forbid (principal, action == Action::"declassify", resource)', "forbid (principal; )", 1)
    error = refuse(cedar)
    assert error.code == "policy-syntax"
    first = cedar[: cedar.index('@id("reason-required")')].count("\n") + 1
    bad = cedar[: cedar.index("forbid (principal; )")].count("\n") + 1
    assert error.message.startswith(f"policy.cedar, lines {first}-{bad}: ")


def test_template_is_refused() -> None:
    """A rule with a slot that nobody links would be no rule."""
    assert refuse(rule(scope="principal == ?principal, action, resource")).code == "policy-template"


def test_broken_schema_and_encodings_are_refused_by_file() -> None:
    """The message begins with the file that is wrong."""
    assert refuse(schema="entity X = {").message.startswith("policy.cedarschema: ")
    for which in (1, 2):
        files = [TOML.encode(), CEDAR.encode(), SCHEMA.encode()]
        files[which] += b"\xff"
        with pytest.raises(PolicyError, match="not UTF-8"):
            parse_policy(*files)
