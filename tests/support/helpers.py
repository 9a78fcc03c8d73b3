"""What several test modules share: golden values, random unit rows, partitions."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[2] / "salcr/verification/golden"
RTOL, ATOL = 1e-4, 1e-5


@cache
def golden_arrays(name: str) -> dict[str, np.ndarray]:
    """Return the arrays of golden/NAME.npz, read-only."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def golden_shapes() -> dict[str, list[int]]:
    """Return name -> shape of the parameters of a released checkpoint."""
    return json.loads((GOLDEN / "reference_state_dict.json").read_text())


def close(actual: Any, expected: Any, *, rtol: float = RTOL, atol: float = ATOL) -> None:
    """Assert that arrays, tensors or numbers agree, shapes included."""
    actual, expected = _array(actual), _array(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def unit_rows(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Return random float32 vectors of length 1 along the last axis."""
    rows = rng.standard_normal(shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def unit_tensor(rng: np.random.Generator, *shape: int, device: Any = "cpu") -> Tensor:
    """Return `unit_rows` as a tensor."""
    return torch.from_numpy(unit_rows(rng, *shape)).to(device)


def groups(
    rng: np.random.Generator, num_groups: int, size: int, width: int, spread: float
) -> np.ndarray:
    """Return float32 unit rows around `num_groups` random directions, group by group."""
    centers = np.repeat(rng.standard_normal((num_groups, width)), size, axis=0)
    rows = centers + spread * rng.standard_normal(centers.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def canonical(labels: np.ndarray) -> list[int]:
    """Return labels renumbered by first appearance, -1 kept: equal for equal partitions."""
    names: dict[int, int] = {-1: -1}
    return [names.setdefault(int(label), len(names) - 1) for label in labels]


def sequential_memory(
    memory: np.ndarray, features: np.ndarray, labels: np.ndarray, momentum: float
) -> np.ndarray:
    """Return the memory updated by the rule of METHOD 2.7, sample by sample, in float64."""
    memory = memory.astype(np.float64)
    for feature, label in zip(features, labels, strict=True):
        mixed = momentum * memory[label] + (1 - momentum) * feature
        memory[label] = mixed / np.linalg.norm(mixed)
    return memory


def mean_directions(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the normalized mean of the rows of every label >= 0."""
    means = [features[labels == label].mean(axis=0) for label in range(labels.max() + 1)]
    return np.stack([mean / np.linalg.norm(mean) for mean in means])
