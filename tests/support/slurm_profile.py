"""profiles/slurm: what its jobs ask for, and the form that docs/cluster.md shows for an hour."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.plans import REPOSITORY

PROFILE = REPOSITORY / "profiles/slurm"
PAGE = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8")


class Request(NamedTuple):
    """What a job asks SLURM for."""

    partition: str
    minutes: int
    megabytes: int


def read_profile(profile: Path = PROFILE) -> dict[str, Any]:
    """Return the options in a profile, as Snakemake reads them."""
    import yte  # comes with Snakemake

    with (profile / "config.yaml").open(encoding="utf-8") as file:
        return dict(yte.process_yaml(file, require_use_yte=True))


def request(profile: dict[str, Any], rule: str, attempt: int) -> Request:
    """Return what a profile asks for at an attempt at a job of a rule that uses a GPU."""
    resources = profile["set-resources"][rule]
    values = (resources[name] for name in ("slurm_partition", "runtime", "mem_mb"))
    return Request(*(eval(value, {"attempt": attempt}) for value in values))


def profile_for_an_hour(folder: Path) -> Path:
    """Write the profile with the lines of docs/cluster.md for an hour, and return its folder."""
    text = (PROFILE / "config.yaml").read_text(encoding="utf-8")
    lines = PAGE.partition("    __variables__:\n")[2].partition("\n\n")[0]
    for line in (line.removeprefix("    ") for line in lines.splitlines()):
        key = line.partition(":")[0]
        text, count = re.subn(rf"(?m)^{key}: [\w-]+", line, text)
        assert count == 1, key
    folder.mkdir()
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder
