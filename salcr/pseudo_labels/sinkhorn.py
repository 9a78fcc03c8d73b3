"""Entropy-regularized optimal transport."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 0.1
_CHECK_EVERY = 10
_MAX_STEPS = 500


def sinkhorn(cost: NDArray[np.floating], *, strength: float) -> NDArray[np.float64]:
    """Return the transport plan between uniform marginals (METHOD 3.1.3).

    The plan is diag(alpha) M diag(beta) with the kernel M = exp(-strength * cost). As in the
    released code, the iteration stops when the relative changes of beta sum to at most 0.1, which
    is tested every tenth step, or after step 500; this rule determines how closely the marginals
    are met.

    Args:
        cost: [N, K], N images and K clusters.
        strength: lambda; with larger values the plan follows the costs more closely.

    Returns:
        [N, K] plan, not negative, of total mass 1.

    Raises:
        ValueError: there are no images or no clusters, or a cost is not finite.
    """
    num_images, num_clusters = cost.shape
    if not (num_images and num_clusters):
        raise ValueError(f"no transport from {num_images} images to {num_clusters} clusters")
    if not np.isfinite(cost).all():
        raise ValueError("the costs of a transport must be finite")
    kernel = np.multiply(cost, -strength, dtype=np.float64)
    np.exp(kernel, out=kernel)
    beta = np.full(num_clusters, 1 / num_clusters)
    for step in range(_MAX_STEPS + 1):
        alpha = (1 / num_images) / (kernel @ beta)
        previous, beta = beta, (1 / num_clusters) / (kernel.T @ alpha)
        if step % _CHECK_EVERY == 0 and np.abs(previous / beta - 1).sum() <= _TOLERANCE:
            break
    kernel *= alpha[:, None]  # in place, as N x K doubles are the largest array of a round
    kernel *= beta
    return kernel
