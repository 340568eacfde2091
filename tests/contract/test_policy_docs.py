"""What the pages on the policy say is what the default policy and the parser do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qnb.core.policy import parse_policy
from qnb.core.policy_rules import PLACEHOLDERS
from qnb.core.seal import generate_identity
from qnb.model import Action, Assurance, Backend, Principal, Request

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "qnb" / "policies"
REFERENCE = (ROOT / "docs/reference/policy.md").read_text("utf-8")
HOW_TO = (ROOT / "docs/how-to/edit-the-policy.md").read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize(("language", "file"), [("toml", "qnb.toml"), ("cedar", "policy.cedar")])
def test_examples_of_the_reference_are_the_default(language: str, file: str) -> None:
    """Each block is a passage of the default file."""
    text = (POLICIES / file).read_text("utf-8")
    assert blocks(REFERENCE, language)
    for block in blocks(REFERENCE, language):
        assert block in text


def test_reference_names_everything_a_policy_can_say() -> None:
    """Keys, entities, attributes, actions, placeholders."""
    schema = re.sub(r"//[^\n]*", "", (POLICIES / "policy.cedarschema").read_text("utf-8"))
    words = set(re.findall(r"entity (\w+)", schema)) | set(re.findall(r"(\w+)\??: ", schema)) - {
        "principal", "resource", "context",
    }  # fmt: skip
    words |= set(re.findall(r"(?m)^([a-z-]+) = ", (POLICIES / "qnb.toml").read_text("utf-8").split("[roles]")[0]))
    words -= {"phi", "pii", "ip", "export", "finance"}
    words |= {action.value for action in Action} | {f"{{{name}}}" for name in PLACEHOLDERS}
    assert sorted(word for word in words if f"`{word}`" not in REFERENCE) == []


def test_how_to_works_as_written() -> None:
    """Recipients, roles, a backend and a rule, put in as the page says."""
    toml, cedar, schema = (
        (POLICIES / name).read_text("utf-8") for name in ("qnb.toml", "policy.cedar", "policy.cedarschema")
    )
    people, roles, backend = blocks(HOW_TO, "toml")
    for name in ("ada", "grace"):
        people = people.replace(f'{name} = "age1pq1…"', f'{name} = "{generate_identity().recipient.text}"')
    toml = toml.replace("[recipients]\n", people.split("[groups]")[0]).replace(
        "owners = []", people.split("[groups]\n")[1].strip()
    )
    toml = toml.replace('[roles]\nresearcher = ["@os-user"]\ndata-owner = ["@os-user"]\n', roles)
    toml = toml.replace("[roles]", f"{backend}\n[roles]")
    policy = parse_policy(toml.encode(), (cedar + "".join(blocks(HOW_TO, "cedar"))).encode(), schema.encode())
    assert len(policy.recipients(("owners",))) == 2
    ada = Principal("ada", 1, Assurance.OS)
    assert policy.roles_of(ada) == ("researcher",)
    assert policy.zone_of(Backend(None, "ourlab.backends.BasementTrap")) == ("on-prem", None)
    request = Request(Action.EXECUTE, ada, policy.scheme.parse("internal//phi"), backend=Backend("ibm_fez"))
    assert [reason.policy for reason in policy.decide(request).reasons] == ["phi-stays-here"]
