"""Finds the processes of a workflow that a test has started in a session of its own."""

from __future__ import annotations

import os
from pathlib import Path


def members(session: int) -> dict[int, list[str]]:
    """Return the processes of a session: number -> command line."""
    processes = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                processes[int(folder.name)] = (folder / "cmdline").read_text().split("\0")
        except OSError:  # has ended in the meantime
            continue
    return processes


def job_of(stage: str, session: int) -> int | None:
    """Return the ID of the Python process that runs a stage."""
    for number, words in members(session).items():
        if words[1:4] == ["-m", "salcr", stage.replace("_", "-")]:
            return number
    return None
