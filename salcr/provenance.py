"""How a job came to its result: settings, code, versions, device and seconds.

Apart from the results themselves, so that equal results stay equal bytes.
"""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from salcr import __version__, codehash

_CHECKOUT = Path(__file__).parent.parent
# What a result may differ by in its last digits, or more.
_PACKAGES = ("torch", "numpy", "numba", "scipy", "scikit-learn", "pandas", "pillow")

_facts: dict[str, Any] = {}


def note(**facts: Any) -> None:
    """Remember facts that only a running stage knows, such as its device."""
    _facts.update(facts)


def describe_job(stage: str, settings: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """Return what is to be known of a finished job, as plain values.

    Args:
        stage: its name.
        settings: its seed, if it has one, and section -> key -> value of its configuration.
        seconds: how long it ran; of a job that was stopped and went on, the last part.
    """
    config = {name: value for name, value in settings.items() if name != "seed"}
    return {
        "stage": stage,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(seconds, 1),
        "seed": settings.get("seed"),
        "config": config,
        "code": codehash.stage_hash(stage),
        **_commit(),
        **_facts,
        "machine": f"{platform.system()} {platform.machine()}, {processor()}",
        "versions": _versions(),
    }


def _commit() -> dict[str, Any]:
    """Return the commit of this checkout and whether its files were as committed; else None."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "-uno")
    return {"commit": commit, "clean": None if changes is None else changes == ""}


def _git(*words: str) -> str | None:
    # Without optional locks, jobs that run side by side are not in each other's way.
    command = ["git", "--no-optional-locks", "-C", str(_CHECKOUT), *words]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or no clone of it
        return None


def processor() -> str:
    """Return the model of the CPU: sums of floats may round otherwise on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _versions() -> dict[str, str]:
    found = {"salcr": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # installed in a way that leaves no record
            continue
    return found
