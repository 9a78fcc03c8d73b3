"""Devices: jobs that run in parallel use different ones."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
import torch

from salcr.errors import SalcrError
from salcr.training import devices
from tests.support import tiny


def claim_and_hold(locks: Path, names: list[str], answer: Connection) -> None:
    """Claim one of the devices, report which, and hold it until killed."""
    answer.send(devices.claim(names, locks))
    signal.pause()


@contextmanager
def job(locks: Path, names: Sequence[str] = ("0", "1")) -> Iterator[tuple[ForkProcess, int | None]]:
    """Run a process that holds a device for the duration of the block; yield the device, too."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=claim_and_hold, args=(locks, list(names), theirs))
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


@pytest.fixture
def unclaimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let this process have no claim, outside of a scheduler; return the folder of the locks."""
    monkeypatch.setattr(devices, "_claims", {})
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    for name in ("CUDA_VISIBLE_DEVICES", *devices._SCHEDULERS):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / f"salcr-gpus-{os.getuid()}"


def test_a_second_job_waits_for_the_only_gpu_and_says_so(
    unclaimed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While another process has claimed the card, a job waits; it continues when that one ends."""
    with job(unclaimed, ["0"]) as (other, index):
        assert index == 0
        threading.Timer(1.5, other.kill).start()
        assert devices._claimed_gpu(1, wait=True) == 0
        assert not other.is_alive()
    assert "the GPU is in use by other jobs; waiting" in capsys.readouterr().err


def test_a_search_shares_the_only_gpu(unclaimed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person waits for does not wait for a training."""
    with job(unclaimed, ["0"]) as (other, _):
        assert devices._claimed_gpu(1, wait=False) == 0
        assert other.is_alive()
    assert "sharing" in capsys.readouterr().err


def test_a_process_keeps_its_gpu(unclaimed: Path) -> None:
    """Asked twice, a process gets the same card and does not wait for itself."""
    assert [devices._claimed_gpu(1, wait=True) for _ in range(2)] == [0, 0]


def test_only_the_gpus_that_torch_sees_are_claimed(
    unclaimed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of CUDA_VISIBLE_DEVICES=2,9 on four cards, CUDA takes the first, so only it is claimed."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,9")
    with job(unclaimed, devices._names_of_gpus(1)) as (_, index):
        assert index == 0
        assert devices.claim(devices._names_of_gpus(1), unclaimed) is None


def compute_until_killed(num_gpus: int, answer: Connection) -> None:
    """Prepare like a job of the workflow on a machine with so many GPUs; report the device."""
    pretended = {
        "is_available": num_gpus > 0,
        "init": None,
        "device_count": num_gpus,
        "set_device": None,
        "get_device_name": "pretended",
    }
    for name, value in pretended.items():
        setattr(torch.cuda, name, lambda *_, value=value: value)
    answer.send(str(devices.prepare("auto", 1)))
    signal.pause()


@pytest.mark.parametrize("num_jobs", [2, 3])
@pytest.mark.parametrize("num_gpus", [0, 1, 2, 8])
def test_jobs_that_start_together(
    unclaimed: Path, monkeypatch: pytest.MonkeyPatch, num_gpus: int, num_jobs: int
) -> None:
    """Two jobs never share a card: one without waits until another ends, so all are computed.

    Without a GPU, all compute on the CPU at once. So `--resources gpu=2` is right on each machine.
    """
    monkeypatch.setattr(devices, "_SECONDS_BETWEEN_CLAIMS", 0.05)
    context = multiprocessing.get_context("fork")
    waiting: dict[Connection, ForkProcess] = {}
    computing: list[tuple[ForkProcess, str]] = []
    with ExitStack() as stack:
        for _ in range(num_jobs):
            ours, theirs = multiprocessing.Pipe()
            process = context.Process(target=compute_until_killed, args=(num_gpus, theirs))
            process.start()
            stack.callback(process.kill)
            waiting[ours] = process
        while waiting or computing:
            while waiting and len(computing) < (num_gpus or num_jobs):
                ready = wait(list(waiting), 60)
                assert ready, "a card is free, but no job takes it"
                computing += [(waiting.pop(each), each.recv()) for each in ready]
            names = [name for _, name in computing]
            if num_gpus:
                assert {*names} <= {f"cuda:{index}" for index in range(num_gpus)}
                assert len({*names}) == len(names)
            else:
                assert {*names} == {"cpu"} and not waiting
            assert not wait(list(waiting), 0.3)
            process, _ = computing.pop(0)
            process.kill()
            process.join()


def test_gpus_of_a_scheduler_are_distinguished_by_its_job(
    unclaimed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Card 0 of two jobs of SLURM may be two cards; within one job it is one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    assert devices._names_of_gpus(2) == ["2", "3"]
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    names = devices._names_of_gpus(2)
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    assert not {*names, "2", "3"} & {*devices._names_of_gpus(2)}
    with job(unclaimed, names), job(unclaimed, names):
        assert devices.claim(names, unclaimed) is None
        assert devices._claimed_gpu(2, wait=True) == 0


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requesting cuda without a GPU names the key; auto and cpu continue with the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SalcrError, match=r"compute\.device: cuda"):
        devices.prepare("cuda", 1)
    assert devices.prepare("auto", 1) == torch.device("cpu")


def old_driver(monkeypatch: pytest.MonkeyPatch, how: str) -> str:
    """Let torch see a GPU that it cannot use, as it does with an old driver; return its words."""
    words = "The NVIDIA driver on your system is too old (found version 12020)."

    def is_available() -> bool:
        if how == "warns":
            warnings.warn(words, UserWarning, stacklevel=2)
        return how == "raises"

    def init() -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    return words


@pytest.mark.parametrize("how", ["warns", "raises"])
def test_a_gpu_that_torch_cannot_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """The CPU is taken by auto, cuda is refused, and info says it as well, all in torch's words."""
    words = old_driver(monkeypatch, how)
    assert devices.prepare("auto", 1) == torch.device("cpu")
    assert words in (text := capsys.readouterr().err) and "using the CPU" in text
    with pytest.raises(SalcrError, match="too old") as refused:
        devices.prepare("cuda", 1)
    assert "install a driver" in str(refused.value)
    assert tiny.run("info") == 0
    assert words in capsys.readouterr().out


def test_the_log_says_what_a_scheduler_gave(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Job, node and GPU of SLURM are named; a GPU that auto cannot use causes a warning."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURMD_NODENAME", "node3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    devices.prepare("cpu", 1)
    text = capsys.readouterr().err
    assert "SLURM: job 17 on node3, CUDA_VISIBLE_DEVICES=1" in text and "warning" not in text
    devices.prepare("auto", 1)
    assert "warning: CUDA_VISIBLE_DEVICES=1 is set, but" in capsys.readouterr().err
