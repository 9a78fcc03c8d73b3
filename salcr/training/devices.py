"""The device and the number of threads that a job computes with."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
import warnings
from pathlib import Path
from typing import IO

import threadpoolctl
import torch

from salcr.errors import SalcrError
from salcr.log import say, warn
from salcr.provenance import note

_SECONDS_BETWEEN_CLAIMS = 1.0
_SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")  # JOB_ID: Grid Engine
# its path -> the lock file of a device, open until the process ends: closing it releases the lock
_claims: dict[Path, IO[str]] = {}


def prepare(device: str, threads: int, *, wait: bool = True) -> torch.device:
    """Set the number of CPU threads and return the device to compute on.

    Of the visible GPUs, one that no other job uses is taken: Snakemake limits how many jobs use a
    GPU, but does not assign one to each, and two trainings on one card run out of memory.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        threads: CPU threads of torch, NumPy and the compiled kernels. The rounding of sums depends
            on it.
        wait: whether to wait for a GPU while all are in use, or to share one.

    Raises:
        SalcrError: the device is "cuda", but there is no GPU.
    """
    torch.set_num_threads(threads)
    threadpoolctl.threadpool_limits(threads, user_api="blas")  # NumPy's; for the whole process
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if job := os.environ.get("SLURM_JOB_ID"):
        node = os.environ.get("SLURMD_NODENAME", "an unknown node")
        say(f"SLURM: job {job} on {node}, CUDA_VISIBLE_DEVICES={visible or 'not set'}")
    num_gpus, trouble = (0, "") if device == "cpu" else usable_gpus()
    if device == "cuda" and num_gpus == 0:
        trouble = trouble or "no CUDA device is visible"
        raise SalcrError(f"compute.device: cuda, but {trouble}; use auto or cpu")
    if device == "auto" and num_gpus == 0 and (trouble or visible):
        trouble = trouble or f"CUDA_VISIBLE_DEVICES={visible} is set, but torch finds no GPU"
        warn(f"{trouble}; using the CPU")
    chosen, name = torch.device("cpu"), "CPU"
    if num_gpus:
        chosen = torch.device("cuda", _claimed_gpu(num_gpus, wait=wait))
        torch.cuda.set_device(chosen)
        name = f"{chosen} {torch.cuda.get_device_name(chosen)}"
    note(device=name, threads=threads)
    say(f"device: {name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}")
    return chosen


def usable_gpus() -> tuple[int, str]:
    """Return the number of GPUs that torch can use, and why it cannot use one that it sees.

    The reason is torch's own words, such as that the driver is too old, with what to do; empty
    where there is nothing to explain.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if torch.cuda.is_available():
                torch.cuda.init()
                return torch.cuda.device_count(), ""
            words = " ".join(str(warning.message) for warning in caught)
        except RuntimeError as error:
            words = str(error)
    if not words:
        return 0, ""
    return 0, (
        f"torch cannot use the GPU ({' '.join(words.split())}). This torch is built for CUDA "
        f"{torch.version.cuda}: install a driver for it, or a torch for the driver's CUDA"
    )


def _claimed_gpu(num_gpus: int, *, wait: bool) -> int:
    """Return the index of a visible GPU that this process has claimed, or shares if all are."""
    locks = Path(tempfile.gettempdir(), f"salcr-gpus-{os.getuid()}")
    names = _names_of_gpus(num_gpus)
    if (index := claim(names, locks)) is not None:
        return index
    cards = "the GPU is" if num_gpus == 1 else f"all {num_gpus} GPUs are"
    if not wait:
        say(f"{cards} in use; sharing one")
        return os.getpid() % num_gpus
    say(f"{cards} in use by other jobs; waiting. Lower --resources gpu= to plan fewer at a time")
    while index is None:
        time.sleep(_SECONDS_BETWEEN_CLAIMS)
        index = claim(names, locks)
    return index


def _names_of_gpus(num_gpus: int) -> list[str]:
    """Return a name of each visible GPU for its lock.

    CUDA takes those of CUDA_VISIBLE_DEVICES up to the first that is not there. A scheduler may
    call different cards by the same number in different jobs, and may give one card to several on
    purpose: its job is part of the name, so only processes of one job share locks.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(index) for index in range(num_gpus)]
    jobs = [f"{key}-{os.environ[key]}-" for key in _SCHEDULERS if os.environ.get(key)]
    return ["".join([*jobs, name.strip()]).replace(os.sep, "-") for name in names[:num_gpus]]


def claim(names: list[str], locks: Path) -> int | None:
    """Claim the first device that no other process has claimed, and return its index.

    The claim is released when the process ends, even if it is killed. A process has one claim: that
    of an earlier call is returned again.

    Args:
        names: of the devices, the same in all processes.
        locks: folder for the lock files.

    Returns:
        the index in `names`, or None if all devices are claimed.
    """
    locks.mkdir(mode=0o700, exist_ok=True)
    paths = [locks / f"{name}.lock" for name in names]
    for index, path in enumerate(paths):
        if path in _claims:
            return index
    for index, path in enumerate(paths):
        file = path.open("w", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _claims[path] = file
        return index
    return None
