"""Which device a job computes on, and with how many threads."""

from __future__ import annotations

import torch

from salcr.errors import SalcrError
from salcr.logs import say


def prepare(device: str, threads: int) -> torch.device:
    """Return the device to compute on, having set the number of CPU threads.

    Args:
        device: "auto" (a GPU if there is one), "cpu" or "cuda".
        threads: CPU threads of torch and of the neighbour search.

    Raises:
        SalcrError: "cuda" is asked for and there is none.
    """
    import faiss

    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise SalcrError("compute.device: cuda, but no CUDA device is visible; use auto or cpu")
    chosen = torch.device("cuda" if has_gpu and device != "cpu" else "cpu")
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "CPU"
    say(f"device: {name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}")
    return chosen
