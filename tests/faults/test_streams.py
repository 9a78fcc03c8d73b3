"""Standard output that is cut or full, Ctrl-C, and curves that cannot be written."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from salcr.training.tensorboard import curve_writer
from tests.faults.test_disk import no_file_above
from tests.support import faults, tiny
from tests.training.test_tensorboard import points

SALCR = [sys.executable, "-m", "salcr"]


@pytest.mark.parametrize("words", [["info"], ["--print-completion", "zsh"]])
def test_a_reader_that_ends_early_is_no_traceback(words: list[str]) -> None:
    """As with `| head -1`: no message, and the status of a program that SIGPIPE ends."""
    with subprocess.Popen(
        [*SALCR, *words], env=faults.ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as job:
        assert job.stdout is not None and job.stderr is not None
        job.stdout.close()
        assert job.stderr.read() == b""
    assert job.returncode == 128 + signal.SIGPIPE


def test_a_full_standard_output_is_one_message() -> None:
    """`info > FILE` on a full disk, which /dev/full resembles."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*SALCR, "info"], env=faults.ENVIRONMENT, stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert faults.the_error(done.stderr).endswith("No space left on device")


def no_tensorboard_traceback(text: str) -> None:
    """Check that a log warns of curves once."""
    assert text.count("no more curves are written") == 1 and "Traceback" not in text


def test_curves_that_cannot_be_written_cost_no_result(
    complete_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where their folder should be: the same bytes as without curves, and one warning."""
    (tmp_path / "taken").write_text("mine")
    for stage in ("pretrain", "train", "evaluate"):
        run_copy = faults.copy_run(complete_run, tmp_path / stage, without=stage)
        words = [*faults.words(stage, run_copy), "--curves", tmp_path / "taken/curves"]
        capsys.readouterr()
        assert tiny.run(*words) == 0
        no_tensorboard_traceback(capsys.readouterr().err)
        assert faults.contents(run_copy, stage) == faults.contents(complete_run, stage)


def test_a_disk_that_fills_up_ends_the_curves_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The points before it can be read; those after it are left out, with one warning."""
    with curve_writer(tmp_path) as add_points:
        add_points(0, {"total": 1.0})
        (file,) = tmp_path.iterdir()
        with no_file_above(file.stat().st_size + 10):
            add_points(1, {"total": 2.0})
        add_points(2, {"total": 3.0})
    no_tensorboard_traceback(capsys.readouterr().err)
    assert points(tmp_path)["total"] == [(0, 1.0)]
