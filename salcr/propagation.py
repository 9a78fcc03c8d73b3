"""Cross-modality feature propagation (CMFP), in the association and as a re-ranking."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from salcr.clustering import Floats, nearest_neighbours, unit_rows


def propagate(visible: Floats, infrared: Floats, *, k: int) -> tuple[Floats, Floats]:
    """Return features mixed with those of their neighbours in both modalities (CMFP).

    Of each of the four blocks of cosines VV, VR, RV and RR a row keeps its `k` largest entries,
    negative ones become 0 and rows are scaled to sum 1; [[VV, VR], [RV, RR]] times the stacked
    features, normalised, is the result. A row without positive entries contributes nothing.

    Args:
        visible: [N, D], unit rows.
        infrared: [M, D], unit rows.
        k: entries kept; all, where a modality has fewer images.

    Returns:
        propagated visible [N, D] and infrared [M, D] features, unit rows, float32.
    """
    mixed = []
    for queries in (visible, infrared):
        total = sum(_mixing(queries, side, k) @ side for side in (visible, infrared))
        mixed.append(unit_rows(np.asarray(total, dtype=np.float32)))
    return mixed[0], mixed[1]


def _mixing(queries: Floats, database: Floats, k: int) -> sparse.csr_matrix:
    indices, similarities = nearest_neighbours(queries, database, k)
    weights = np.maximum(similarities, 0)
    totals = weights.sum(axis=1, keepdims=True)
    weights = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
    start = np.arange(0, indices.size + 1, indices.shape[1])
    shape = (len(queries), len(database))
    return sparse.csr_matrix((weights.ravel(), indices.ravel(), start), shape=shape)
