"""Git repositories created from this checkout, and commands in them, for the tests of DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from salcr.config.loading import DEFAULT_CONFIG, merge
from salcr.files import read_yaml
from tests.support import tiny
from tests.support.plans import REPOSITORY, jobs_in

CONFIG = "config/default.yaml"
RESULTS = Path("results/regdb")


def new_repository(folder: Path) -> None:
    """Create a repository of this checkout's current files, with synthetic raw data beside them."""
    words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, do(REPOSITORY, "git", *words).split("\0")):
        if (REPOSITORY / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    do(folder, "git", "init", "--quiet", "--initial-branch", "main")
    identify(folder)
    words = [sys.executable, "-m", "salcr", "synthesize", "--out", "data/RegDB", "--seed", "3"]
    do(folder, *words, *tiny.SYNTHESIZE)


def write_settings(folder: Path, learning_rate: float) -> None:
    """Write the values of the tiny workflow into config/default.yaml, as if they were RegDB's."""
    dataset = {"name": "regdb", "root": "data/RegDB", "synthetic": False, "allow_subset": True}
    own = {"dataset": dataset, "rounds": 2, "evaluate_every": 2, "plot": {"dpi": 50}}
    own |= {"train": {"learning_rate": learning_rate}}
    values = merge(merge(read_yaml(DEFAULT_CONFIG), read_yaml(tiny.TINY_CONFIG)), own)
    values["variants"] = {"salcr": {}}
    (folder / CONFIG).write_text(yaml.safe_dump(values, sort_keys=False))


def ask(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder and return it with its combined output."""
    return subprocess.run(
        list(map(str, words)),
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def environment(folder: Path) -> dict[str, str]:
    """Return variables that keep the user's and the machine's DVC settings out."""
    outside = str(folder.parent / "outside")
    names = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        **os.environ,
        **dict.fromkeys(names, outside),
        "DVC_NO_ANALYTICS": "1",
        "PATH": path,
        "PYTEST_XDIST_WORKER": "",
    }


def do(folder: Path, *words: object) -> str:
    """Run a command that must succeed; return its output."""
    done = ask(folder, *words)
    assert done.returncode == 0, done.stdout
    return done.stdout


def planned(folder: Path, *words: object) -> dict[str, int]:
    """Return rule -> number of jobs that the user's command would run."""
    return jobs_in(do(folder, "snakemake", "--cores", "1", "--dry-run", *words))


def commit(folder: Path, message: str) -> None:
    """Commit everything that Git does not ignore, with this message."""
    do(folder, "git", "add", "--all")
    do(folder, "git", "commit", "--quiet", "--message", message)
    do(folder, "git", "tag", message)


def clone_of(repository: Path, folder: Path) -> Path:
    """Return a fresh clone in which nothing has been pulled yet."""
    do(repository, "git", "clone", "--quiet", repository, folder)
    identify(folder)
    return folder


def identify(folder: Path) -> None:
    """Configure the identity of the committer."""
    do(folder, "git", "config", "user.name", "A Tester")
    do(folder, "git", "config", "user.email", "tester@example.org")
