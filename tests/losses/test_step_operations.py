"""How many torch operations a step of stage two takes: each costs a launch, whatever its size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from salcr.config.method import Fgsal, Gpcr, Memory
from salcr.losses.objective import StageTwoObjective
from salcr.models.network import Features
from salcr.types import PseudoLabels
from tests.support.golden_step import SPACES
from tests.support.helpers import unit_tensor

PARTS, CLUSTERS, LABELS, WIDTH = 3, 200, 12, 8  # the width does not change the count


class Count(TorchDispatchMode):
    """Counts the ATen operations executed inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count a call and execute it."""
        self.operations += 1
        return function(*args, **(kwargs or {}))


def operations_of_a_step(rng: np.random.Generator, instances: int, mode: str) -> int:
    """Return the operations of losses, gradients and updates for 12 labels x `instances` pairs."""
    clusters = {space: np.arange(5 * CLUSTERS) % CLUSTERS for space in SPACES}
    criterion = StageTwoObjective(
        {space: unit_tensor(rng, 5 * CLUSTERS, WIDTH) for space in SPACES},
        {space: unit_tensor(rng, PARTS, 5 * CLUSTERS, WIDTH) for space in SPACES},
        clusters,
        memory=Memory(momentum=0.1, temperature=0.05, released_gradient=False),
        fgsal=Fgsal(enabled=True, parts=PARTS, released_cross_pattern=False),
        gpcr=Gpcr(mode=mode, k=30, weight=0.5),
        label_space="dual",
    )
    pairs = LABELS * instances
    rows = [unit_tensor(rng, 3 * pairs, PARTS, WIDTH).requires_grad_() for _ in range(3)]
    features = Features(unit_tensor(rng, 3 * pairs, WIDTH).requires_grad_(), *rows)
    batch_labels = [np.repeat(rng.permutation(CLUSTERS)[:LABELS], instances) for _ in range(4)]
    labels = PseudoLabels(*(torch.from_numpy(label) for label in batch_labels))
    with Count() as count:
        unit = criterion.normalize(features)
        criterion.losses(unit, labels)["total"].backward()
        criterion.update(unit, labels, rng)
    assert all(leaf.grad is not None for leaf in features)
    return count.operations


@pytest.mark.parametrize(("mode", "most"), [("none", 900), ("both", 1400)])
def test_a_step_takes_few_operations(rng, mode, most):
    """A step of 12 x 12 pairs takes far less than one operation for each of its 8,640 samples."""
    assert operations_of_a_step(rng, 12, mode) <= most


def test_operations_do_not_grow_with_the_batch(rng):
    """Three times as many images per label take equally many operations."""
    counts = [operations_of_a_step(rng, instances, "both") for instances in (12, 36)]
    assert counts[0] == counts[1]
