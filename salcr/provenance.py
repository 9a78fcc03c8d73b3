"""How a job obtained its result: settings, code, versions, device and seconds.

These are kept apart from the results, so that equal results remain equal bytes.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from salcr import __version__, codehash, files
from salcr.log import warn

_PARENT = Path(__file__).parent.parent
CHECKOUT = _PARENT if (_PARENT / "Snakefile").is_file() else None
"""The clone of the repository that this package is in; None where it is installed elsewhere."""
COMMIT_DIGITS = 12
"""Of the forty of a commit, where it is shown; provenance.csv has all."""
# What a result may differ by in its last digits, or more.
_PACKAGES = ("torch", "numpy", "numba", "scipy", "scikit-learn", "pandas", "pillow")

# stage -> facts; None for those of every stage that the process runs
_facts: dict[str | None, dict[str, Any]] = {}


def note(stage: str | None = None, **facts: Any) -> None:
    """Record facts that only a running stage knows.

    Args:
        stage: that they are of; None for facts of the process, such as its device.
        facts: plain values by name.
    """
    _facts.setdefault(stage, {}).update(facts)


def write_job(path: Path, stage: str, settings: Mapping[str, Any], *, seconds: float) -> None:
    """Write what `describe_job` returns as JSON."""
    files.write_json(path, describe_job(stage, settings, seconds=seconds))


def describe_job(stage: str, settings: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """Return the provenance of a finished job, as plain values.

    Args:
        stage: its name.
        settings: its seed, if it has one, and section -> key -> value of its configuration.
        seconds: how long it ran; for a job that was resumed, since it was resumed.

    Returns:
        stage, time of the end, seconds, seed, configuration, hash of the stage's code, commit,
        the facts that `note` recorded, machine and versions of the packages.
    """
    config = {name: value for name, value in settings.items() if name != "seed"}
    return {
        "stage": stage,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(seconds, 1),
        "seed": settings.get("seed"),
        "config": config,
        "code": codehash.stage_hash(stage),
        **_commit_or_warning(),
        **_facts.get(None, {}),
        **_facts.get(stage, {}),
        "machine": f"{platform.system()} {platform.machine()}, {processor()}",
        "versions": _versions(),
    }


def _commit_or_warning() -> dict[str, Any]:
    """Return the commit; warn if there is one that git does not say."""
    commit = _commit()
    if commit["commit"] is None and (refusal := git_refusal()) is not None:
        warn(refusal)
    return commit


def git_refusal() -> str | None:
    """Return why git does not say the commit of a clone that another user owns, and its remedy.

    None if it does, if git is missing, and outside a clone.
    """
    if CHECKOUT is None:
        return None
    command = ["git", "-C", str(CHECKOUT), "rev-parse"]
    try:
        done = subprocess.run(command, capture_output=True, env={**os.environ, "LC_ALL": "C"})
    except OSError:
        return None
    lines = done.stderr.decode(errors="replace").splitlines()
    remedy = next((line.strip() for line in lines if "safe.directory" in line), None)
    if remedy is None:
        return None
    return f"{CHECKOUT}: belongs to another user, so git does not say its commit; run: {remedy}"


def _commit() -> dict[str, Any]:
    """Return the commit of this checkout and whether its files are unchanged; None if unknown.

    Pages do not count, nor what a study writes beside them while it runs.
    """
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "-uno", "--", ".", ":(exclude)docs")
    return {"commit": commit, "clean": None if changes is None else changes == ""}


def _git(*words: str) -> str | None:
    if CHECKOUT is None:  # an environment may lie in a repository of something else
        return None
    # Without optional locks, jobs that run side by side are not in each other's way.
    command = ["git", "--no-optional-locks", "-C", str(CHECKOUT), *words]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
        return done.stdout.decode(errors="replace").strip()
    except (OSError, subprocess.CalledProcessError):  # git is missing, or this is not a clone
        return None


def processor() -> str:
    """Return the model of the CPU; rounding of floating-point sums may depend on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _versions() -> dict[str, str]:
    versions = {"salcr": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # installed in a way that leaves no record
            continue
    return versions
