"""Which device a job computes on, and with how many threads."""

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

_claims: list[IO[str]] = []  # open while the process lives: closing a file gives its lock back


def prepare(device: str, threads: int) -> torch.device:
    """Return the device to compute on, having set the number of CPU threads.

    Of several GPUs a free one is taken: Snakemake counts how many jobs want a GPU, but does not
    say which. Where a scheduler shows a single one, that is it.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        threads: CPU threads of torch, NumPy and the compiled kernels. Sums of floats depend on it.

    Raises:
        SalcrError: "cuda" is asked for and there is none.
    """
    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads, user_api="blas")  # NumPy's; for the whole process
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if job := os.environ.get("SLURM_JOB_ID"):
        node = os.environ.get("SLURMD_NODENAME", "an unknown node")
        say(f"SLURM: job {job} on {node}, CUDA_VISIBLE_DEVICES={given or 'not set'}")
    num_gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if device == "cuda" and num_gpus == 0:
        raise SalcrError("compute.device: cuda, but no CUDA device is visible; use auto or cpu")
    if device == "auto" and given and num_gpus == 0:
        warn(f"CUDA_VISIBLE_DEVICES={given} is given, but torch sees no GPU; using the CPU")
    chosen, name = torch.device("cpu"), "CPU"
    if num_gpus:
        chosen = torch.device("cuda", _free_gpu(num_gpus))
        torch.cuda.set_device(chosen)
        name = f"{chosen} {torch.cuda.get_device_name(chosen)}"
    note(device=name, threads=threads)
    say(f"device: {name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}")
    return chosen


def _free_gpu(num_gpus: int) -> int:
    """Return the index of a GPU among the visible ones that no other job has claimed."""
    if num_gpus == 1:
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(index) for index in range(num_gpus)]
    locks = Path(tempfile.gettempdir(), f"salcr-gpus-{os.getuid()}")
    index = claim(names, locks)
    if index is None:
        warn(f"all {num_gpus} GPUs are taken; sharing one. Lower --resources gpu=")
        return os.getpid() % num_gpus
    return index


def claim(names: list[str], locks: Path) -> int | None:
    """Return the index of the first name that no living process has claimed, and claim it.

    The claim ends with the process, however it ends; None if all are taken.

    Args:
        names: of the devices, the same in all processes.
        locks: folder for the lock files.
    """
    locks.mkdir(mode=0o700, exist_ok=True)
    for index, name in enumerate(names):
        file = (locks / f"{name.strip()}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _claims.append(file)
        return index
    return None
