"""The compiled kernels: threads, the folder of compiled code, and who imports numba."""

from __future__ import annotations

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
import torch

from salcr.pseudo_labels import kernels
from salcr.pseudo_labels.clustering import jaccard_distance
from salcr.pseudo_labels.neighbors import nearest_between, nearest_within
from salcr.pseudo_labels.propagation import propagate
from tests.support.helpers import groups


@pytest.mark.parametrize("seed", [1, 2])
def test_the_number_of_threads_changes_nothing(seed) -> None:
    """Neighbors, distances and propagated features are bitwise equal with one and more threads."""
    rng = np.random.default_rng(seed)
    visible, infrared = groups(rng, 60, 10, 32, 0.8), groups(rng, 40, 9, 32, 0.8)
    results = []
    before = torch.get_num_threads()
    for threads in (1, min(3, numba.config.NUMBA_NUM_THREADS)):
        torch.set_num_threads(threads)
        distance = jaccard_distance(visible, k1=20, k2=6, at_most=0.7)
        results.append([distance.data, distance.indices, *propagate(visible, infrared, k=8)])
        for side in (nearest_within(visible, 9), *nearest_between(visible, infrared, 9)):
            results[-1] += side
    torch.set_num_threads(before)
    for one, more in zip(*results, strict=True):
        np.testing.assert_array_equal(one, more)


def test_kernels_leave_the_threads_of_torch_alone() -> None:
    """In a fresh process, the first kernel does not change the number of threads used by torch."""
    code = (
        "import numpy as np, torch; from salcr.pseudo_labels.neighbors import nearest_within;"
        "torch.set_num_threads(1); nearest_within(np.eye(9, dtype=np.float32), 3);"
        "print(torch.get_num_threads())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "1"


def test_without_a_folder_for_compiled_code_kernels_still_run(monkeypatch) -> None:
    """If numba has no writable folder, a kernel is compiled for the current process."""
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "ZipCacheLocator")

    def doubled(values):  # type: ignore[no-untyped-def]
        result = np.empty_like(values)
        for index in numba.prange(len(values)):
            result[index] = 2 * values[index]
        return result

    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(doubled)
    assert kernels._parallel()(doubled)(np.arange(5)).tolist() == [0, 2, 4, 6, 8]
