"""Cluster memories: their initialization and how samples update them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from salcr.losses.memory import Update, initialize_memory, update_memories, update_memory
from tests.support.helpers import close, mean_directions, sequential_memory, unit_rows, unit_tensor


def test_update_matches_the_released_code(golden, device):
    """The memory after an in-order batch equals that of the released code."""
    data = golden("memory")
    updated = update_memory(
        torch.tensor(data["initial"], device=device),
        normalize(torch.tensor(data["inputs"], device=device), dim=1),
        data["targets"],
        float(data["momentum"]),
    )
    close(updated, data["updated"])


@given(
    st.integers(0, 10**6),
    st.integers(0, 200),
    st.integers(1, 6),
    st.sampled_from([0, 0.1, 0.25, 0.3, 0.7]),
)
def test_update_is_that_of_one_sample_after_another(seed, num_samples, num_clusters, momentum):
    """Memories and clusters in parallel equal the sequential rule, for any labels, order and mu."""
    rng = np.random.default_rng(seed)
    memory, features = unit_rows(rng, 2, num_clusters, 5), unit_rows(rng, 2, num_samples, 5)
    labels, order = rng.integers(0, num_clusters, num_samples), rng.permutation(num_samples)
    other, rows = unit_rows(rng, num_clusters + 1, 5), unit_rows(rng, num_samples, 5)
    updated, moved = update_memories(
        [
            Update(torch.tensor(memory), torch.tensor(features), labels, order),
            Update(torch.tensor(other), torch.tensor(rows), labels + 1, order[::-1]),
        ],
        momentum,
    )
    acting = rows[order][::-1], labels[order][::-1] + 1
    close(moved, sequential_memory(other, *acting, momentum), atol=1e-6)
    for part in range(2):
        acting = features[part][order], labels[order]
        close(updated[part], sequential_memory(memory[part], *acting, momentum), atol=1e-6)
    close(updated.norm(dim=-1), np.ones((2, num_clusters)))


@pytest.mark.parametrize("momentum", [0.1, 0.2, 0.3])
def test_omitted_samples_have_no_effect(momentum):
    """Where samples oppose the memory, old values fade slowest; the result still equals the rule's.

    In the plane, the worst sample is opposite to the memory, up to a small angle that
    keeps the memory from staying on the line forever.
    """
    memory = np.array([[1.0, 0.0]])
    features, angle = [], 0.0
    for _ in range(100):
        angle += np.pi + 0.02
        features.append([np.cos(angle), np.sin(angle)])
    features, labels = np.array(features), np.zeros(100, np.int64)
    expected = sequential_memory(memory, features, labels, momentum)
    updated = update_memory(torch.tensor(memory), torch.tensor(features), labels, momentum)
    assert np.abs(updated.numpy() - expected).max() < 1e-9


def test_update_keeps_its_inputs_and_other_clusters(rng, device):
    """The result is a new tensor without gradient; clusters without a sample are bitwise equal."""
    memory = unit_tensor(rng, 5, 8, device=device)
    before = memory.clone()
    features = unit_tensor(rng, 6, 8, device=device).requires_grad_()
    updated = update_memory(memory, features, np.array([3, 1, 3, 3, 1, 1]), 0.1)
    assert torch.equal(memory, before)
    changed = (updated != before).any(dim=1).tolist()
    assert changed == [False, True, False, True, False]
    assert not updated.requires_grad and updated.device == memory.device


def test_the_last_sample_of_a_cluster_counts_most():
    """With mu = 0.1, each sample keeps a tenth of the old value."""
    memory = torch.eye(4)[:1]
    updated = update_memory(memory, torch.eye(4)[1:3], np.array([0, 0]), 0.1)
    first = np.array([0.1, 0.9, 0, 0]) / np.hypot(0.1, 0.9)
    second = 0.1 * first + np.array([0, 0, 0.9, 0])
    close(updated[0], second / np.linalg.norm(second))


@pytest.mark.parametrize("leading", [(), (3,)])
def test_memory_starts_at_the_mean_directions(rng, device, leading):
    """Each cluster's row is its normalized mean, for each part, without the outliers."""
    labels = np.array([2, 0, -1, 1, 1, 0, 2, -1, 2])
    features = unit_rows(rng, *leading, 9, 6)
    initial = initialize_memory(torch.tensor(features, device=device), labels)
    assert initial.shape == (*leading, 3, 6) and initial.device.type == device.type
    for rows, memory in zip(features.reshape(-1, 9, 6), initial.reshape(-1, 3, 6), strict=True):
        close(memory, mean_directions(rows, labels))


def test_outliers_alone_have_an_empty_memory(rng):
    """Without a cluster, the memory has no rows."""
    assert initialize_memory(unit_tensor(rng, 4, 6), np.full(4, -1)).shape == (0, 6)
