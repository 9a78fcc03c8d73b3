"""The device and the number of threads that a job computes with."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO

import threadpoolctl
import torch

from salcr.errors import SalcrError
from salcr.log import say, warn
from salcr.provenance import note

_claims: list[IO[str]] = []  # open until the process ends: closing a file releases its lock


def prepare(device: str, threads: int) -> torch.device:
    """Set the number of CPU threads and return the device to compute on.

    If there are several GPUs, a free one is used: Snakemake limits how many jobs use a GPU, but
    does not assign one to each. If a scheduler makes a single GPU visible, it is used.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        threads: CPU threads of torch, NumPy and the compiled kernels. The rounding of sums depends
            on it.

    Raises:
        SalcrError: the device is "cuda", but there is no GPU.
    """
    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads, user_api="blas")  # NumPy's; for the whole process
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if job := os.environ.get("SLURM_JOB_ID"):
        node = os.environ.get("SLURMD_NODENAME", "an unknown node")
        say(f"SLURM: job {job} on {node}, CUDA_VISIBLE_DEVICES={visible or 'not set'}")
    num_gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if device == "cuda" and num_gpus == 0:
        raise SalcrError("compute.device: cuda, but no CUDA device is visible; use auto or cpu")
    if device == "auto" and visible and num_gpus == 0:
        warn(f"CUDA_VISIBLE_DEVICES={visible} is set, but torch finds no GPU; using the CPU")
    chosen, name = torch.device("cpu"), "CPU"
    if num_gpus:
        chosen = torch.device("cuda", _free_gpu(num_gpus))
        torch.cuda.set_device(chosen)
        name = f"{chosen} {torch.cuda.get_device_name(chosen)}"
    note(device=name, threads=threads)
    say(f"device: {name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}")
    return chosen


def _free_gpu(num_gpus: int) -> int:
    """Return the index of a visible GPU that no other job has claimed."""
    if num_gpus == 1:
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(index) for index in range(num_gpus)]
    locks = Path(tempfile.gettempdir(), f"salcr-gpus-{os.getuid()}")
    index = claim(names, locks)
    if index is None:
        warn(f"all {num_gpus} GPUs are in use; sharing one. Lower --resources gpu=")
        return os.getpid() % num_gpus
    return index


def claim(names: list[str], locks: Path) -> int | None:
    """Claim the first device that no running process has claimed, and return its index.

    The claim is released when the process ends, even if it is killed.

    Args:
        names: of the devices, the same in all processes.
        locks: folder for the lock files.

    Returns:
        the index in `names`, or None if all devices are claimed.
    """
    locks.mkdir(mode=0o700, exist_ok=True)
    for index, name in enumerate(names):
        file = (locks / f"{name.strip()}.lock").open("w", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _claims.append(file)
        return index
    return None
