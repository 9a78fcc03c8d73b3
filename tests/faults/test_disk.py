"""Full disks and read-only folders: an error, nothing half-written, and a rerun that succeeds."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import faults, tiny

NAMESPACE = ["unshare", "--mount"]
NO_OVERRIDE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
NO_OVERRIDE += ["--inh-caps=-dac_override,-dac_read_search"]


def permitted(*command: str) -> bool:
    """Return whether this machine permits a command that a test needs."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    """Make the system refuse to write beyond that length of any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("stage", faults.STAGES)
def test_a_file_that_cannot_grow_is_named(
    complete_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    """If its largest file cannot be completed, each stage names it; a rerun gives equal bytes."""
    run_copy = faults.copy_run(complete_run, tmp_path / "copy", without=stage)
    expected = faults.contents(complete_run, stage)
    largest = max(expected, key=lambda path: len(expected[path] or b""))
    with no_file_above(len(expected[largest] or b"") // 2):
        assert tiny.run(*faults.words(stage, run_copy)) == 1
    message = faults.the_error(capsys.readouterr().err)
    assert "cannot be written (File too large)" in message
    assert any(str(run_copy / path.parent) in message for path in expected)
    assert not (run_copy / largest).exists() and not faults.temporaries(run_copy)
    assert tiny.run(*faults.words(stage, run_copy)) == 0
    assert faults.contents(run_copy, stage) == expected


ON_A_FULL_DISK = """
set -eu
mount -t tmpfs -o size=32m tmpfs "$1"
cp -a "$2/." "$1"
# Filled to the last page, then as much freed as the first file's half.
head -c 64M /dev/zero > "$1/ballast" 2> /dev/null || true
truncate -s "-$3" "$1/ballast"
status=0; "${@:5}" 2> "$4/stderr" || status=$?
find "$1" -name '.*.unfinished-*' > "$4/left"
rm "$1/ballast"
"${@:5}" 2> /dev/null
cp -a "$1" "$4/copy"
exit "$status"
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", faults.STAGES)
def test_a_full_disk_is_reported_and_with_room_the_same_command_succeeds(
    complete_run: Path, tmp_path: Path, stage: str
) -> None:
    """On a real full file system each stage reports it; once freed, a rerun gives equal bytes."""
    if not permitted(*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"):
        pytest.skip("no mount namespace here; test_a_file_that_cannot_grow_is_named stands in")
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir(), kept.mkdir()
    source = faults.copy_run(complete_run, tmp_path / "source", without=stage)
    expected = faults.contents(complete_run, stage)
    room = max(len(content or b"") for content in expected.values()) // 2
    script = [*NAMESPACE, "bash", "-c", ON_A_FULL_DISK, "bash", disk, source, room, kept]
    command = [sys.executable, "-m", "salcr", *faults.words(stage, disk)]
    done = subprocess.run(
        [*map(str, script), *command], env=faults.ENVIRONMENT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    message = faults.the_error((kept / "stderr").read_text())
    assert "cannot be written (No space left on device)" in message
    assert any(str(disk / path.parent) in message for path in expected)
    assert (kept / "left").read_text() == ""
    assert faults.contents(kept / "copy", stage) == expected


@pytest.mark.slow
@pytest.mark.parametrize("stage", faults.STAGES)
def test_a_read_only_folder_is_named(complete_run: Path, tmp_path: Path, stage: str) -> None:
    """Each stage names a folder without write permission; with it, a rerun gives equal bytes."""
    if not permitted(*NO_OVERRIDE, "true"):
        pytest.skip("needs setpriv, since root may write anywhere")
    run_copy = faults.copy_run(complete_run, tmp_path / "copy", without=stage)
    expected = faults.contents(complete_run, stage)
    folders = {run_copy if stage == "synthesize" else (run_copy / path).parent for path in expected}
    for folder in folders:
        folder.chmod(0o555)
    refused = faults.job(stage, run_copy, *NO_OVERRIDE)
    for folder in folders:
        folder.chmod(0o755)
    assert refused.returncode == 1
    message = faults.the_error(refused.stderr)
    assert "cannot be written (Permission denied)" in message
    assert any(str(run_copy / path.parent) in message for path in expected)
    assert tiny.run(*faults.words(stage, run_copy)) == 0
    assert faults.contents(run_copy, stage) == expected
