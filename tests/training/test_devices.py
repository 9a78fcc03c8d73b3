"""Devices: jobs that run in parallel use different ones."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
import torch

from salcr.errors import SalcrError
from salcr.training import devices


def claim_and_hold(locks: Path, answer: Connection) -> None:
    """Claim one of two devices, report which, and hold it until killed."""
    answer.send(devices.claim(["0", "1"], locks))
    signal.pause()


@contextmanager
def job(locks: Path) -> Iterator[tuple[ForkProcess, int | None]]:
    """Run a process that holds a device for the duration of the block; yield the device, too."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=claim_and_hold, args=(locks, theirs))
    process.start()
    assert ours.poll(60)
    yield process, ours.recv()
    process.kill()
    process.join()


def test_processes_take_different_devices_and_give_them_back(tmp_path: Path) -> None:
    """Two processes get both devices, a third gets none; a killed one's is free again."""
    with ExitStack() as stack:
        (first, one), (_, other), (_, none) = (
            stack.enter_context(job(tmp_path / "locks")) for _ in range(3)
        )
        assert {one, other} == {0, 1} and none is None
        first.kill()
        first.join()
        _, again = stack.enter_context(job(tmp_path / "locks"))
        assert again == one


def test_a_single_visible_gpu_is_taken_without_a_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a scheduler makes one device visible, jobs of other nodes or cgroups do not matter."""
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
    """Requesting cuda without a GPU names the key; auto and cpu continue with the CPU."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SalcrError, match=r"compute\.device: cuda"):
        devices.prepare("cuda", 1)
    assert devices.prepare("auto", 1) == torch.device("cpu")


def test_the_log_says_what_a_scheduler_gave(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Job, node and GPU of SLURM are named; a GPU that auto cannot use causes a warning."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURMD_NODENAME", "node3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    devices.prepare("cpu", 1)
    text = capsys.readouterr().err
    assert "SLURM: job 17 on node3, CUDA_VISIBLE_DEVICES=1" in text and "warning" not in text
    devices.prepare("auto", 1)
    assert "warning: CUDA_VISIBLE_DEVICES=1 is set, but" in capsys.readouterr().err
