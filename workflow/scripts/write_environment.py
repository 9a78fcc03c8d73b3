"""Writes environment.yml from requirements.lock: write_environment.py LOCK ENVIRONMENT."""

import sys
from pathlib import Path

HEADER = """\
# The locked packages for conda and mamba: conda gives Python and pip, PyPI the rest. `make lock`
# writes this file from requirements.lock; it holds the packages itself because
# `snakemake --sdm conda` copies this file alone. That option has not been tried with it.
#   conda env create --file environment.yml
name: salcr
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - make
  - git
  - pip:
"""


def environment(lock: str) -> str:
    """Return the text of environment.yml.

    Args:
        lock: text of requirements.lock, a package a line, with markers where platforms differ.
    """
    return HEADER + "".join(f"    - {line}\n" for line in lock.splitlines())


if __name__ == "__main__":
    lock, target = map(Path, sys.argv[1:])
    target.write_text(environment(lock.read_text(encoding="utf-8")), encoding="utf-8")
