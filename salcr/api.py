"""The method as functions of arrays, for use in other programs.

    >>> import numpy as np
    >>> from salcr import api
    >>> rng = np.random.default_rng(0)
    >>> identity = np.repeat(np.arange(20), 8)  # 20 people, 8 images of each in both modalities
    >>> rows = rng.normal(size=(20, 64))[identity] + 0.5 * rng.normal(size=(2, 160, 64))
    >>> visible, infrared = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    >>> clusters = [api.cluster(features, k1=8, k2=3) for features in (visible, infrared)]
    >>> labels = api.associate(visible, infrared, *clusters)
    >>> scores = api.retrieval_metrics(infrared, visible, identity, identity)
    >>> print(f"{labels.visible.max() + 1} clusters, rank-1 {scores.cmc[0]:.0%}")
    20 clusters, rank-1 100%

Features are arrays [N, D] of unit rows; those of pictures come from a trained network, see
`load_network`. Defaults are those of config/default.yaml, which has the paper's values for RegDB.
An argument that does not fit is a ValueError that names it. Nothing here writes files, draws
random numbers, or imports torch, numba or faiss before it is needed. References such as METHOD 2.2
are sections of docs/METHOD.md, which has the equations and lists the publications.
"""

from __future__ import annotations

from salcr.evaluation.metrics import Retrieval
from salcr.evaluation.public import rerank_aim, rerank_cmfp, rerank_cmrr, retrieval_metrics
from salcr.pseudo_labels.public import associate, cluster, dbscan, jaccard_distance, propagate
from salcr.search.public import TrainedNetwork, load_network
from salcr.types import PseudoLabels

__all__ = [
    "PseudoLabels", "Retrieval", "TrainedNetwork", "associate", "cluster", "dbscan",
    "jaccard_distance", "load_network", "propagate", "rerank_aim", "rerank_cmfp", "rerank_cmrr",
    "retrieval_metrics",
]  # fmt: skip
