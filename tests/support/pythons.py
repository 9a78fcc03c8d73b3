"""The Python versions on this machine, for tests of what must not depend on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

_VERSION = "import sys; print(*sys.version_info[:2])"


@cache
def pythons() -> dict[tuple[int, int], str]:
    """Return version -> command, for this interpreter and every other one from 3.11 on."""
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    commands: list[str | Path | None] = [sys.executable]
    commands += [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    commands += sorted(home.glob("versions/3.*/bin/python"))
    versions: dict[tuple[int, int], str] = {}
    for command in filter(None, commands):
        done = subprocess.run([command, "-c", _VERSION], capture_output=True, text=True)
        if done.returncode == 0:  # pyenv's own python3.12 fails if 3.12 is not selected
            major, minor = map(int, done.stdout.split())
            versions.setdefault((major, minor), str(command))
    return {version: path for version, path in versions.items() if version >= (3, 11)}
