"""The first command of a person: what does not work ends in one message, before anything runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from salcr.config import startup
from tests.faults.test_disk import no_file_above
from tests.support import faults, plans, tiny

OVERLAYS = {
    "latin-1": ("seed: 1  # größe\n".encode("latin-1"), "line 1 is not in UTF-8"),
    "utf-16": ("seed: 1\n".encode("utf-16"), "is in UTF-16; save the file in UTF-8"),
    "empty": (b"", "holds no keys"),
    "missing": (None, "cannot be read (No such file or directory)"),
    "not yaml": (b"seed: [1\n", "expected ',' or ']'"),
    "twice": (b"seed: 1\nseed: 2\n", "`seed` is given twice, in lines 1 and 2"),
    "sexagesimal": (b"seed: 1:30\n", "write 90"),
    "a name of 300 letters": (b"dataset: {name: " + b"x" * 300 + b"}\n", "`dataset.name`"),
    "braces": (
        b"dataset: {root: 'data/{x}'}\n",
        "dataset.root: 'data/{x}': Snakemake takes braces",
    ),
    "an option": (b"dataset: {root: -x}\n", "dataset.root: '-x' begins with -"),
    "another type": (b"rounds: true\n", "`rounds` is True: input should be a valid integer"),
}


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_configuration_that_cannot_be_used_is_one_message(tmp_path: Path, name: str) -> None:
    """Snakemake's traceback does not come first, whatever is wrong with a named file."""
    content, message = OVERLAYS[name]
    overlay = tmp_path / "overlay.yaml"
    if content is not None:
        overlay.write_bytes(content)
    words = ["--dry-run", "--configfile", tiny.TINY_CONFIG, overlay]
    done = plans.snakemake(tmp_path, *words)
    assert done.returncode == 1
    assert message in faults.the_error(done.stdout)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("rounds", "--config rounds: write it as key=value"),
        ("seed=010", "--config seed=010: YAML takes 010 for 8, in base 8; write 10 or 8"),
        ("gpcr={k: 5, k: 6}", "`k` is given twice"),
        ("gpcr={k: '5'}", "`gpcr.k` is '5': input should be a valid integer; write 5, without"),
    ],
)
def test_a_key_on_the_command_line_that_cannot_be_used_is_one_message(
    tmp_path: Path, word: str, message: str
) -> None:
    """What `--config` sets is as strict as a file."""
    words = ["--dry-run", "--configfile", tiny.TINY_CONFIG, "--config", word]
    done = plans.snakemake(tmp_path, *words)
    assert done.returncode == 1
    assert message in faults.the_error(done.stdout)


def test_a_plain_command_is_checked_too(tmp_path: Path) -> None:
    """`snakemake`, without `python -m` and in a clone, finds the package beside the Snakefile."""
    clone = tmp_path / "a clone"
    clone.mkdir()
    plans.copy_code(clone)
    script = Path(sys.executable).with_name("snakemake")
    command = [script, "--dry-run", "--configfiles", "config/demo.yaml", "none.yaml"]
    done = subprocess.run(command, cwd=clone, env=faults.ENVIRONMENT | {"PYTHONPATH": ""},
                          capture_output=True, encoding="utf-8", check=False)  # fmt: skip
    assert done.returncode == 1
    assert "none.yaml: cannot be read" in faults.the_error(done.stderr)


@pytest.mark.parametrize(
    ("variable", "words", "remedy"),
    [
        ("HOME", [], "set the variable XDG_CACHE_HOME"),
        ("XDG_CACHE_HOME", [], "set the variable XDG_CACHE_HOME"),
        (None, ["--directory"], "run it in another one, with --snakefile"),
        (None, ["-d"], "run it in another one, with --snakefile"),
    ],
)
def test_a_folder_that_cannot_be_made_is_named_with_a_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str | None,
    words: list[str],
    remedy: str,
) -> None:
    """That of Snakemake's cache and that in which it runs; here a file is in their place."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if variable is not None:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv(variable, str(in_the_way))
    with pytest.raises(SystemExit) as ended:
        startup.check([*words, *([str(in_the_way / "run")] if words else [])])
    assert ended.value.code == 1
    message = faults.the_error(capsys.readouterr().err)
    assert message.startswith(f"error: {in_the_way}") and remedy in message


def test_a_full_folder_of_temporary_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Snakemake's scheduler writes there; a missing one is not used, and not an error."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TMP", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    startup.check([])
    with no_file_above(1000), pytest.raises(SystemExit):
        startup.check([])
    message = faults.the_error(capsys.readouterr().err)
    assert message.startswith(f"error: {tmp_path}: cannot be written") and "TMPDIR" in message
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    with no_file_above(1000):
        startup.check([])


def test_a_folder_that_may_not_be_written_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A read-only clone: the system is asked, since it also knows of read-only disks."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = []

    def access(path: Path, mode: int) -> bool:
        asked.append((path, mode))
        return mode == os.F_OK and path.exists()

    monkeypatch.setattr(os, "access", access)
    with pytest.raises(SystemExit):
        startup.check(["--directory", str(tmp_path / "clone")])
    assert asked[-1] == (tmp_path, os.W_OK | os.X_OK)
    assert f"{tmp_path}/clone: cannot be written" in faults.the_error(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["a{b}", "a:b"])
def test_braces_and_colons_in_the_path_of_a_clone_are_one_message(
    tmp_path: Path, name: str
) -> None:
    """Snakemake takes braces for wildcards, and in PYTHONPATH a colon ends a folder."""
    clone = tmp_path / name
    clone.mkdir()
    plans.copy_code(clone)
    done = plans.snakemake(tmp_path, "--dry-run", repository=clone)
    assert done.returncode == 1
    assert f"{name}: Snakemake takes braces for wildcards" in faults.the_error(done.stdout)


def test_a_configuration_runs_no_code(tmp_path: Path) -> None:
    """Snakemake would run what is in `__definitions__` of a file with `__use_yte__`."""
    overlay = tmp_path / "overlay.yaml"
    hacked = tmp_path / "hacked"
    code = f"open({str(hacked)!r}, 'w')"
    overlay.write_text(
        f'__use_yte__: true\n__definitions__: ["{code}"]\nseed: 1\n', encoding="utf-8"
    )
    done = plans.snakemake(tmp_path, "--dry-run", "--configfile", tiny.TINY_CONFIG, overlay)
    assert done.returncode == 1
    assert "`__use_yte__` lets Snakemake run code" in faults.the_error(done.stdout)
    assert not hacked.exists()


@pytest.mark.parametrize(
    "spelling", ["data/tiny/", "./data/tiny", "data/../data/tiny", "{}/data/tiny"]
)
def test_another_spelling_of_the_root_runs_nothing(run_copy: Path, spelling: str) -> None:
    """The images are where they were; a finished workflow plans no job."""
    root = spelling.format(run_copy)
    words = ["--config", f"dataset={{root: '{root}'}}"]
    assert plans.planned(run_copy, *words, repository=run_copy) == {}
