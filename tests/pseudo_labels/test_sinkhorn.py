"""Sinkhorn iteration, against the released code, a loop and its mathematical properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salcr.pseudo_labels.sinkhorn import sinkhorn
from tests.support.helpers import close


def slow_sinkhorn(cost: np.ndarray, strength: float, limit: int = 500) -> tuple[np.ndarray, int]:
    """Return the plan of METHOD 3.1.3, entry by entry, and the step at which it stopped."""
    num_images, num_clusters = cost.shape
    kernel = [[math.exp(-strength * float(c)) for c in row] for row in cost]
    beta = [1 / num_clusters] * num_clusters
    for step in range(limit + 1):
        alpha = [
            1 / num_images / sum(m * b for m, b in zip(row, beta, strict=True)) for row in kernel
        ]
        old = beta
        beta = [
            1 / num_clusters / sum(kernel[i][j] * alpha[i] for i in range(num_images))
            for j in range(num_clusters)
        ]
        change = sum(abs(b / a - 1) for b, a in zip(old, beta, strict=True))
        if step % 10 == 0 and change <= 0.1:
            break
    plan = [
        [alpha[i] * kernel[i][j] * beta[j] for j in range(num_clusters)] for i in range(num_images)
    ]
    return np.array(plan), step


def test_plan_matches_the_released_code(golden):
    """The plan, including its stopping rule, equals that of the released code."""
    data = golden("sinkhorn")
    plan = sinkhorn(data["cost"], strength=float(data["reg_lambda"]))
    close(plan, data["plan"], atol=1e-9)


@pytest.mark.parametrize(
    ("seed", "strength", "spread", "last_step"),
    [(1, 5, 0.001, 0), (1, 5, 1, 10), (1, 200, 1, 110), (19, 40, 1, 30), (315, 40, 1, 40)],
)
def test_plan_matches_a_loop(seed, strength, spread, last_step):
    """Whether it stops at the first or a later check, the plan equals the loop's."""
    cost = np.random.default_rng(seed).random((12, 5)) * spread
    expected, stopped = slow_sinkhorn(cost, strength)
    assert stopped == last_step, "the example does not reach the step that it is here for"
    close(sinkhorn(cost, strength=strength), expected, rtol=1e-9, atol=0)


def test_iteration_ends_after_step_500():
    """If almost separate blocks have unequal masses, the plan is that of the last step."""
    cost = np.kron(1 - np.eye(2), np.ones((6, 1)))[2:] * 300
    expected, stopped = slow_sinkhorn(cost, 1)
    previous, _ = slow_sinkhorn(cost, 1, limit=499)
    assert stopped == 500 and np.abs(previous / expected - 1).max() > 1e-4
    close(sinkhorn(cost, strength=1), expected, rtol=1e-9, atol=0)


costs = st.tuples(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 9))


@given(costs)
def test_marginals_are_nearly_uniform(sizes):
    """Each cluster receives 1/K, each image gives almost 1/N, and the total mass is 1."""
    seed, num_images, num_clusters = sizes
    cost = np.random.default_rng(seed).uniform(0, 2, (num_images, num_clusters))
    plan = sinkhorn(cost, strength=5)
    assert plan.min() > 0
    close(plan.sum(), 1.0, rtol=1e-9)
    close(plan.sum(axis=0), np.full(num_clusters, 1 / num_clusters), rtol=1e-9)
    close(plan.sum(axis=1) * num_images, np.ones(num_images), rtol=0.1, atol=0)


@given(costs)
def test_only_relative_costs_of_an_image_count(sizes):
    """A constant added to an image's costs has no effect; nor do units shared with the strength."""
    seed, num_images, num_clusters = sizes
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0, 2, (num_images, num_clusters))
    plan = sinkhorn(cost, strength=5)
    close(sinkhorn(cost + rng.random((num_images, 1)), strength=5), plan, rtol=1e-6, atol=1e-12)
    close(sinkhorn(cost / 2, strength=10), plan, rtol=1e-6, atol=1e-12)


def test_balance_wins_over_the_nearest_cluster():
    """If all images prefer one cluster, those that lose least move to the other."""
    cost = np.array([[0, 0.9], [0, 0.8], [0, 0.3], [0, 0.2]])
    assert sinkhorn(cost, strength=20).argmax(axis=1).tolist() == [0, 0, 1, 1]


def test_float32_costs_are_carried_in_double_precision():
    """The plan is float64 even for float32 costs, so that large costs do not underflow."""
    cost = np.array([[0, 30], [30, 0]], np.float32)
    plan = sinkhorn(cost, strength=5)
    assert plan.dtype == np.float64
    close(plan, np.eye(2) / 2, atol=1e-12)
    assert plan[0, 1] > 0


def test_empty_and_invalid_costs_are_refused():
    """No images, no clusters, or a cost that is not a number are rejected."""
    for shape in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match=f"no transport from {shape[0]} images"):
            sinkhorn(np.zeros(shape), strength=5)
    with pytest.raises(ValueError, match="must be finite"):
        sinkhorn(np.array([[0, np.nan], [1, 1]]), strength=5)


def test_costs_are_not_changed():
    """The plan is computed in place, but not in the caller's array."""
    cost = np.random.default_rng(3).random((6, 4))
    before = cost.copy()
    sinkhorn(cost, strength=5)
    np.testing.assert_array_equal(cost, before)
