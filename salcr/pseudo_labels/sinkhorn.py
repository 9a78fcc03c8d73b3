"""Entropy-regularized optimal transport."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TOLERANCE = 0.1
_CHECK_EVERY = 10
_MAX_STEPS = 500


def sinkhorn(cost: NDArray[np.floating], *, strength: float) -> NDArray[np.float64]:
    """Return the transport plan between uniform marginals (METHOD 3.1.3).

    The plan is diag(alpha) M diag(beta) with the kernel M = exp(-strength * cost). The iteration
    stops when beta has changed by at most 0.1, summed over the clusters and relative to its
    value, which is looked at every tenth step, or after step 500: the released rule, which
    decides how closely the marginals are met.

    Args:
        cost: [N, K], N images and K clusters.
        strength: lambda; larger follows the costs more closely.

    Returns:
        [N, K] plan of total mass 1.

    Raises:
        ValueError: there is no image or no cluster, or a cost is not finite.
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
        before, beta = beta, (1 / num_clusters) / (kernel.T @ alpha)
        if step % _CHECK_EVERY == 0 and np.abs(before / beta - 1).sum() <= _TOLERANCE:
            break
    kernel *= alpha[:, None]  # in place, as N x K doubles are the largest array of a round
    kernel *= beta
    return kernel
