"""Devices: jobs that run side by side take different ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from salcr.errors import SalcrError
from salcr.training import devices

CLAIM = """
import sys
from pathlib import Path
from salcr.training.devices import claim
print(claim(["0", "1"], Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def job(locks: Path) -> subprocess.Popen[str]:
    """Start a process that claims one of two devices and holds it until its input ends."""
    words = [sys.executable, "-c", CLAIM, str(locks)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_take_different_devices_and_give_them_back(tmp_path: Path) -> None:
    """Two processes get both devices, a third none; a killed one's is free again."""
    jobs = [job(tmp_path / "locks") for _ in range(2)]
    taken = {process.stdout.readline().strip() for process in jobs}
    third = job(tmp_path / "locks")
    assert taken == {"0", "1"} and third.stdout.readline().strip() == "None"
    jobs[0].kill()
    jobs[0].wait()
    fourth = job(tmp_path / "locks")
    assert fourth.stdout.readline().strip() in taken
    for process in (*jobs[1:], third, fourth):
        process.communicate("")


def test_a_single_visible_gpu_is_taken_without_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a scheduler shows one device, jobs of other nodes or cgroups do not matter."""
    monkeypatch.setattr(devices, "claim", lambda *_: pytest.fail("claimed"))
    assert devices._free_gpu(1) == 0


def test_a_schedulers_devices_are_claimed_by_their_own_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA_VISIBLE_DEVICES=2,3 gives locks 2 and 3 and an index among the visible ones."""
    asked: list[list[str]] = []
    monkeypatch.setattr(devices, "claim", lambda names, _: asked.append(names) or 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert devices._free_gpu(2) == 1
    assert asked == [["2", "3"]]


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for cuda where there is none names the key; auto and cpu go on with the CPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SalcrError, match=r"compute\.device: cuda"):
        devices.prepare("cuda", 1)
    assert devices.prepare("auto", 1) == torch.device("cpu")


def test_the_log_says_what_a_scheduler_gave(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Job, node and GPU of SLURM are named; a GPU that auto cannot use is a warning."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURMD_NODENAME", "node3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    devices.prepare("cpu", 1)
    text = capsys.readouterr().err
    assert "SLURM: job 17 on node3, CUDA_VISIBLE_DEVICES=1" in text and "warning" not in text
    devices.prepare("auto", 1)
    assert "warning: CUDA_VISIBLE_DEVICES=1 is set, but" in capsys.readouterr().err
