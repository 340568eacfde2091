from __future__ import annotations

from importlib import resources

import pytest

from qnb.core.policy_file import parse_policy_file
from qnb.core.seal import generate_identity
from qnb.errors import PolicyError

DEFAULT = resources.files("qnb").joinpath("policies/qnb.toml").read_text("utf-8")
RECIPIENT = generate_identity(bytes).recipient.text


def edited(old: str, new: str) -> bytes:
    """The default file with one passage replaced."""
    assert old in DEFAULT
    return DEFAULT.replace(old, new, 1).encode()


def test_default_file_says_what_the_design_says() -> None:
    """Levels, session and cell labels, sealing and zones of the default."""
    data = parse_policy_file(DEFAULT.encode())
    assert data.scheme.levels == ("public", "internal", "confidential", "restricted")
    assert (str(data.scheme.session), str(data.scheme.cell)) == ("internal", "confidential")
    assert [h.seal for h in data.handling.values()] == [False, False, True, True]
    assert data.handling["restricted"].zones == ("local", "on-prem")
    assert "unknown" not in data.handling["confidential"].zones
    assert data.zones["unknown"].external
    assert [h.flow for h in data.handling.values()] == ["tracked", "tracked", "tracked", "high-water"]
    assert not any(h.declared for h in data.handling.values())
    assert set(data.scheme.categories) == {"phi", "pii", "ip", "export", "finance"}


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("version = 1", "version = 2", "`version`"),
        ("version = 1", 'version = "1"', "`version`"),
        ("version = 1\n", "", "`version` is missing"),
        ('session = "internal"', 'session = "intern"', "`labels.session`"),
        ('cell = "confidential"', 'cell = "public"', "`labels.cell`"),
        ('levels = ["public",', 'levels = ["Public",', "`labels.levels`"),
        ('levels = ["public", "internal"', 'levels = ["public", "public"', "`labels.levels`"),
        ("phi = ", "PHI = ", "`labels.categories.PHI`"),
        ("[levels.restricted]", "[levels.restrcted]", "`levels."),
        ("seal = true\n", "seal = 1\n", "`levels.confidential.seal`"),
        ("seal = true\n", "", "`levels.confidential.seal` is missing"),
        ("seal = true\n", "seal = true\nseel = true\n", "`levels.confidential.seel`"),
        ("seal = true\n" + 'recipients = ["owners", "recovery"]', "seal = true\nrecipients = []", "recipients`"),
        ('["owners", "recovery"]', '["owners", "recovry"]', "`levels.public.recipients`"),
        ('zones = ["local", "on-prem"]', 'zones = ["local", "onprem"]', "`levels.restricted.zones`"),
        ('requires = ["purpose", "private-job"]', 'requires = ["purpos"]', "`levels.confidential.requires`"),
        ('flow = "tracked"', 'flow = "low-water"', "`levels.public.flow`"),
        ('flow = "tracked"', 'flow = "high-water"', "`levels.internal.flow`"),  # a higher level would follow less
        ('flow = "tracked"', 'flow = "tracked"\nraise = "never"', "`levels.public.raise`"),
        ('flow = "tracked"', 'flow = "tracked"\nraise = "refuse"', "`levels.internal.raise`"),
        ("retention-days = 3650", "retention-days = 0", "`levels.confidential.retention-days`"),
        ("grant = 10_000", "grant = 0", "`levels.public.grant`"),
        ("grant = 10_000", "grant = true", "`levels.public.grant`"),
        ("[zones.cloud]", "[zones.unknown]", "`zones.unknown`"),
        ("external = false", 'external = "no"', "`zones.local.external`"),
        ("external = true", 'external = true\nnames = "hidden"', "`zones.cloud.names`"),
        ('zone = "cloud"', 'zone = "clowd"', ".zone`"),
        ('zone = "cloud"', 'zone = "unknown"', ".zone`"),
        ('class = "qiskit_aer.*"', 'clas = "qiskit_aer.*"', "`backends[0].class` is missing"),
        ('about = "Aer simulators and primitives"\n', "", "`backends[0].about` is missing"),
        ('names = ["ibm_*"]', 'names = ["*"]', ".names`"),
        ('researcher = ["@os-user"]', 'researcher = ["@everybody"]', "`roles.researcher`"),
        ("[recipients]\n", '[recipients]\nada = "age1pq1qqqq"\n', "`recipients.ada`"),
        ("[recipients]\n", f'[recipients]\nowners = "{RECIPIENT}"\n', "`groups.owners`"),
        ("owners = []", 'owners = ["ada"]', "`groups.owners`"),
        ("[groups]", "[grups]", "`groups` is missing"),
        ("version = 1", "version = 1\nstrict = true", "`strict`"),
    ],
)
def test_file_that_is_wrong_is_refused_with_the_place(old: str, new: str, place: str) -> None:
    """Each key is checked for presence, type and what it refers to; the message holds the key path."""
    with pytest.raises(PolicyError) as caught:
        parse_policy_file(edited(old, new))
    assert caught.value.message.startswith("qnb.toml: ")
    assert place in caught.value.message


def test_level_that_wants_to_be_declared_says_so() -> None:
    """The key is optional; it holds for the levels that have it."""
    data = parse_policy_file(
        edited('zones = ["local", "on-prem"]\n', 'zones = ["local", "on-prem"]\nraise = "refuse"\n')
    )
    assert [h.declared for h in data.handling.values()] == [False, False, False, True]


def test_misspelt_key_and_name_come_with_the_likely_one() -> None:
    """The hint helps where the message only finds."""
    for old, new, likely in (
        ('flow = "tracked"\ngrant', 'flow = "tracked"\nretenton-days = 9\ngrant', "retention-days"),
        ('"local", "on-prem"]', '"local", "on-perm"]', "on-prem"),
    ):
        with pytest.raises(PolicyError) as caught:
            parse_policy_file(edited(old, new))
        assert caught.value.hint == f"did you mean `{likely}`?"


def test_broken_toml_is_refused_with_line_and_column() -> None:
    """The position of the TOML reader is passed on."""
    with pytest.raises(PolicyError, match=r"qnb\.toml: not valid TOML: .*line \d+, column \d+"):
        parse_policy_file(edited("version = 1", "version = = 1"))
    with pytest.raises(PolicyError, match="not UTF-8"):
        parse_policy_file(b"version = 1 # \xff")


def test_recipient_with_a_wrong_letter_is_refused() -> None:
    """The checksum is read when the policy is, not after a run that then cannot be sealed."""
    wrong = RECIPIENT[:-1] + ("q" if RECIPIENT[-1] != "q" else "p")
    with pytest.raises(PolicyError, match=r"`recipients\.ada`"):
        parse_policy_file(edited("[recipients]\n", f'[recipients]\nada = "{wrong}"\n'))


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("seal = true\n", "seal = false\n", None),
        ('zones = ["local", "on-prem"]', 'zones = ["local", "unknown"]', "`levels.restricted.zones`"),
    ],
)
def test_higher_level_that_is_laxer_is_refused(old: str, new: str, place: str | None) -> None:
    """Joining raises a level, so no level may be laxer than one below it."""
    text = edited(old, new)
    if place is None:  # confidential unsealed is the team's choice; restricted below it is not
        parse_policy_file(text)
        text = DEFAULT.replace("[levels.restricted]\nseal = true", "[levels.restricted]\nseal = false").encode()
        place = "`levels.restricted.seal`"
    with pytest.raises(PolicyError) as caught:
        parse_policy_file(text)
    assert place in caught.value.message


def test_higher_level_that_requires_less_is_refused() -> None:
    """What confidential asks for, restricted asks for too."""
    head, tail = DEFAULT.split("[levels.restricted]")
    tail = tail.replace('requires = ["purpose", "private-job"]', 'requires = ["purpose"]', 1)
    with pytest.raises(PolicyError, match=r"`levels\.restricted\.requires` lacks `private-job`"):
        parse_policy_file((head + "[levels.restricted]" + tail).encode())
