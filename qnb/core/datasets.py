"""Keys of datasets and classifications: recipients whose identity can be destroyed.

Enters: the data of a policy, in which `[datasets]` says which of its recipients are such keys, and for whom.
Leaves: whom something is sealed to.
Never: lets anybody stand beside such a key. What is sealed to it is sealed to it alone, else destroying it would erase
nothing.
Spec: docs/adr/0010-dataset-keys.md.
"""

from __future__ import annotations

from qnb.core.policy_file import FILE, PolicyFile
from qnb.errors import ConfigError, PolicyError

_ALONE = "name it alone where a level is sealed to it, and those who open with it under [datasets]"


def check_datasets(data: PolicyFile) -> None:
    """Each dataset key stands alone wherever the policy names it.

    Raises:
        PolicyError: the first place where it does not.
    """
    keys = {data.recipients[name]: name for name in data.datasets}
    if len(keys) != len(data.datasets):
        raise _not_alone("datasets", "names one key twice")
    aliases = [name for name, text in data.recipients.items() if text in keys and name not in data.datasets]
    if aliases:
        raise _not_alone(f"recipients.{aliases[0]}", "is a dataset key under another name")
    listed = [(f"groups.{group}", members) for group, members in data.groups.items()]
    listed += [(f"datasets.{name}", members) for name, members in data.datasets.items()]
    listed += [(f"levels.{row.level}.recipients", row.recipients) for row in data.handling.values()]
    for path, names in listed:
        found = dataset_keys(data, names)
        if found and (len(names) > 1 or not path.startswith("levels.")):
            raise _not_alone(path, f"names the dataset key `{found[0]}`, which does not stand alone there")


def choose_recipients(data: PolicyFile, own: tuple[str, ...], to: tuple[str, ...]) -> tuple[str, ...]:
    """Names of those to seal to.

    Args:
        data: of the policy.
        own: the recipients of the level.
        to: those asked for beyond them. A dataset key takes the place of the level's own.

    Raises:
        ConfigError: `dataset-key-alone`.
    """
    wanted = tuple(dict.fromkeys(to))
    keys = dataset_keys(data, (*own, *wanted))
    if not keys:
        return (*own, *wanted)
    if len(keys) > 1:
        raise ConfigError(
            "dataset-key-alone",
            f"`{keys[0]}` and `{keys[1]}` are keys of datasets: what is sealed to both outlives either",
            "name one; make a key for data that comes of both with `qnb keys add NAME --dataset`",
        )
    if any(not dataset_keys(data, (name,)) for name in wanted):
        raise ConfigError(
            "dataset-key-alone",
            f"`{keys[0]}` is the key of a dataset: whoever stands beside it could read after it was destroyed",
            "leave the others out, or have a data owner add them to its members under [datasets] in qnb.toml",
        )
    return keys


def dataset_keys(data: PolicyFile, names: tuple[str, ...]) -> tuple[str, ...]:
    """The dataset keys among names and recipient strings, by name, each once."""
    by_text = {data.recipients[name]: name for name in data.datasets}
    found = (name if name in data.datasets else by_text.get(name) for name in names)
    return tuple(dict.fromkeys(name for name in found if name is not None))


def _not_alone(path: str, message: str) -> PolicyError:
    return PolicyError("policy-invalid", f"{FILE}: `{path}` {message}", _ALONE)
