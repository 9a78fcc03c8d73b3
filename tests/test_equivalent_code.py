"""An edit that was accepted as harmless does not change the hash of a stage's code."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from salcr import codehash

SINKHORN = "salcr/pseudo_labels/sinkhorn.py"
FILES = "salcr/files.py"
USES_SINKHORN = ["associate", "rounds", "verify"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a folder with a copy of the package, without Git."""
    shutil.copytree(
        codehash.PACKAGE, tmp_path / "salcr", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "salcr/equivalent_code.csv").write_text("module,code,counts_as,reason\n")
    return tmp_path


@pytest.fixture
def repository(checkout: Path) -> Path:
    """Return the same folder as a Git repository with one commit."""
    git(checkout, "init", "--quiet")
    commit(checkout)
    return checkout


def environment(folder: Path) -> dict[str, str]:
    """Return the environment without an enclosing repository, such as that of a commit hook."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_CEILING_DIRECTORIES": str(folder.parent), "PYTHONDONTWRITEBYTECODE": "1"}


def git(folder: Path, *words: str) -> None:
    """Run git in a folder."""
    person = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *person, *words], cwd=folder, env=environment(folder), check=True)


def commit(folder: Path) -> None:
    """Commit all files in their current state."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")


def command(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the folder's own `python -m salcr.codehash`."""
    return subprocess.run(
        [sys.executable, "-m", "salcr.codehash", *words],
        cwd=folder,
        env={**environment(folder), **variables},
        capture_output=True,
        text=True,
    )


def hashes(folder: Path) -> dict[str, str]:
    """Return stage -> hash as printed by the command."""
    done = command(folder)
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


def add(path: Path, line: str) -> None:
    """Append a line of code to a module."""
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the stages whose hash differs, sorted."""
    assert before.keys() == after.keys()
    return sorted(stage for stage, code in before.items() if after[stage] != code)


def test_an_accepted_edit_does_not_count_and_the_next_one_does(repository: Path) -> None:
    """Accepted edits, one after another, keep the first hash; an edit not accepted changes it."""
    before = hashes(repository)
    for line in ("FIRST = 1", "SECOND = 2"):
        add(repository / SINKHORN, line)
        assert changed(before, hashes(repository)) == USES_SINKHORN
        done = command(repository, "--accept", "a constant, unused")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            "count as at the last commit: pseudo_labels.sinkhorn\n"
            "so these stages are not run again: associate, rounds, verify\n"
        )
        assert hashes(repository) == before
        commit(repository)
    add(repository / SINKHORN, "THIRD = 3")
    assert changed(before, hashes(repository)) == USES_SINKHORN
    with (repository / "salcr/equivalent_code.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["module"] for row in rows] == ["pseudo_labels.sinkhorn"] * 2
    assert {row["reason"] for row in rows} == {"a constant, unused"}
    assert rows[0]["counts_as"] == rows[1]["counts_as"] not in (rows[0]["code"], rows[1]["code"])


@pytest.mark.slow
def test_an_accepted_edit_is_accepted_for_every_layout(repository: Path) -> None:
    """One row keeps the hashes with and without the readers that a data set does not use."""
    package = repository / "salcr"
    unused = [(), {"datasets.llcm"}, {"datasets.llcm", "datasets.sysu"}]

    def of_layouts() -> list[str]:
        codehash._module.cache_clear()
        return [codehash.stage_hash("preprocess", names, package) for names in unused]

    before = of_layouts()
    assert len(set(before)) == len(unused)
    for name in (FILES, "salcr/datasets/regdb.py"):
        add(repository / name, "ADDED = 1")
    assert not set(of_layouts()) & set(before)
    modules, stages = codehash.accept("unused constants", package)
    assert modules == ["datasets.regdb", "files"]
    assert {"preprocess", "train"} <= set(stages) and "codehash" not in stages
    assert of_layouts() == before


@pytest.mark.slow
def test_edits_accepted_on_two_branches_stay_accepted_when_merged(repository: Path) -> None:
    """Rows belong to modules: the rows of both branches together restore the first hash."""
    before = hashes(repository)
    table = repository / "salcr/equivalent_code.csv"
    header, rows = table.read_text(), []
    for name in (SINKHORN, FILES):
        add(repository / name, "ADDED = 1")
        assert command(repository, "--accept", name).returncode == 0
        rows.append(table.read_text().removeprefix(header))
        git(repository, "reset", "--quiet", "--hard")
    for name in (SINKHORN, FILES):
        add(repository / name, "ADDED = 1")
    assert "associate" in changed(before, hashes(repository))
    table.write_text(header + "".join(rows))
    assert hashes(repository) == before


def refusal(folder: Path, *words: str, **variables: str) -> str:
    """Return the message with which the command refuses, after checking that nothing is written."""
    table = folder / "salcr/equivalent_code.csv"
    before = table.read_bytes()
    done = command(folder, *words, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert table.read_bytes() == before
    return done.stderr


def test_nothing_to_accept_is_refused(repository: Path) -> None:
    """Text that does not count, or no edit at all, leaves nothing to accept."""
    add(repository / SINKHORN, "# a comment")
    assert "nothing to accept" in refusal(repository, "--accept", "a comment")


def test_a_reason_is_needed(repository: Path) -> None:
    """A row without a reason could not be judged later."""
    add(repository / SINKHORN, "ADDED = 1")
    assert "why" in refusal(repository, "--accept", " ")


def test_without_git_nothing_is_accepted(checkout: Path, tmp_path_factory) -> None:
    """A folder that is not a repository, and a machine without git, cause an error message."""
    add(checkout / SINKHORN, "ADDED = 1")
    assert "not a git repository" in refusal(checkout, "--accept", "unused")
    empty = str(tmp_path_factory.mktemp("empty"))
    assert "No such file or directory: 'git'" in refusal(checkout, "--accept", "unused", PATH=empty)


@pytest.mark.slow
def test_a_circle_of_rows_is_not_written(repository: Path) -> None:
    """If a row maps the committed code to the new code, the reverse is not accepted."""
    table, module = repository / "salcr/equivalent_code.csv", repository / SINKHORN
    committed = codehash._module(module, repository / "salcr")[0]
    add(module, "ADDED = 1")
    codehash._module.cache_clear()
    edited = codehash._module(module, repository / "salcr")[0]
    add(table, f"pseudo_labels.sinkhorn,{committed},{edited},why")
    table.write_text(table.read_text().replace("\n\n", "\n"))
    assert "counts as itself" in refusal(repository, "--accept", "unused")


@pytest.mark.slow
@pytest.mark.parametrize("joins", [True, False])
def test_other_modules_are_not_accepted(repository: Path, joins: bool) -> None:
    """A module that a stage did not run, or does not run any more, is named; nothing is written."""
    path = repository / "salcr/stages/complexity.py"
    if joins:
        add(path, "import salcr.evaluation.tsne")
    else:
        text = path.read_text()
        assert "from salcr.models.complexity import" in text
        path.write_text(text.replace("from salcr.models.complexity import", "from x import"))
    message = refusal(repository, "--accept", "moved")
    module = "evaluation.tsne" if joins else "models.complexity"
    assert "complexity runs other modules" in message and module in message


@pytest.mark.slow
def test_a_new_module_is_accepted_until_its_next_edit(repository: Path) -> None:
    """Code that was split into a new module reruns nothing; an edit of the new module does."""
    before = hashes(repository)
    (repository / "salcr/late.py").write_text("X = 1\n")
    add(repository / SINKHORN, "from salcr import late")
    assert changed(before, hashes(repository)) == USES_SINKHORN
    assert command(repository, "--accept", "split").returncode == 0
    assert hashes(repository) == before
    commit(repository)
    add(repository / "salcr/late.py", "Y = 2")
    assert changed(before, hashes(repository)) == USES_SINKHORN
    assert command(repository, "--accept", "unused").returncode == 0
    assert hashes(repository) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ("m,a,b,why\nm,b,c,why\nm,c,a,why\n", "counts as itself"),
        ("m,a,a,why\n", "counts as itself"),
        ("m,a,b,why\nm,a,c,why\n", "counts as two"),
        ("m,a,b\n", "columns"),
        ("m,a,b,why,m,b,c,why\n", "columns"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(checkout: Path, rows: str, word: str) -> None:
    """Circles, two older digests for one, and incomplete rows cause an error naming the file."""
    path = checkout / "salcr/equivalent_code.csv"
    path.write_text(f"module,code,counts_as,reason\n{rows}")
    message = refusal(checkout)
    assert word in message and str(path) in message


@pytest.mark.slow
def test_rows_in_a_chain_lead_to_the_oldest(checkout: Path) -> None:
    """A digest maps to the last of a chain, in any order of rows, within its own module only."""
    package = checkout / "salcr"
    now = codehash._module(checkout / SINKHORN, package)[0]
    path = package / "equivalent_code.csv"

    def hash_with(rows: str) -> str:
        path.write_text(f"module,code,counts_as,reason\n{rows}")
        codehash._equivalent.cache_clear()
        return codehash.stage_hash("associate", package=package)

    name = "pseudo_labels.sinkhorn"
    direct = hash_with(f"{name},{now},oldest,why\n")
    chain = f"{name},older,oldest,why\n{name},{now},older,why\n{name},old,older,why\n"
    assert hash_with(chain) == direct != hash_with("")
    assert hash_with(f"files,{now},oldest,why\n") == hash_with("")


def test_the_tracked_file_is_sound() -> None:
    """The package's own rows do not contradict each other, and each has a reason."""
    path = codehash.PACKAGE / "equivalent_code.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(codehash._equivalent(codehash.PACKAGE)) == len(rows)
    assert all(row["reason"].strip() for row in rows)
