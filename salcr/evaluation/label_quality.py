"""The quality of pseudo-labels. Apart from metrics.py, so that editing that retrains nothing."""

from __future__ import annotations

import numpy as np

from salcr.types import Integers


def label_quality(
    visible_label: Integers,
    infrared_label: Integers,
    visible_identity: Integers,
    infrared_identity: Integers,
) -> dict[str, float]:
    """Return how well the labels of one label space agree with the identities.

    Args:
        visible_label: [N] labels of the visible images in this space, -1 for outliers.
        infrared_label: [M] labels of the infrared images in the same space, -1 for outliers.
        visible_identity: [N].
        infrared_identity: [M].

    Returns:
        `ari`, `ami`, `fmi`, `v_measure` of both modalities' labeled images together;
        `num_clusters`; `outliers`, the share of images without a label; `pair_precision` and
        `pair_recall` of the visible-infrared pairs that carry one label, recall over all pairs
        of one identity, outliers included. Scores are 0 where nothing is labeled.
    """
    from sklearn import metrics  # its import takes over a second

    label = np.concatenate([visible_label, infrared_label])
    identity = np.concatenate([visible_identity, infrared_identity])
    kept = label >= 0
    scores = {
        "ari": metrics.adjusted_rand_score,
        "ami": metrics.adjusted_mutual_info_score,
        "fmi": metrics.fowlkes_mallows_score,
        "v_measure": metrics.v_measure_score,
    }
    quality = {
        name: float(score(identity[kept], label[kept])) if kept.any() else 0.0
        for name, score in scores.items()
    }
    quality["num_clusters"] = float(len(np.unique(label[kept])))
    quality["outliers"] = float(1 - kept.mean())
    together = _common_pairs(visible_label, infrared_label)
    of_one_identity = _common_pairs(visible_identity, infrared_identity)
    both = _common_pairs(
        np.where(visible_label >= 0, visible_identity + visible_label * (identity.max() + 1), -1),
        np.where(
            infrared_label >= 0, infrared_identity + infrared_label * (identity.max() + 1), -1
        ),
    )
    quality["pair_precision"] = both / together if together else 0.0
    quality["pair_recall"] = both / of_one_identity if of_one_identity else 0.0
    return quality


def _common_pairs(first: Integers, second: Integers) -> int:
    """Return the number of pairs (i, j) with first[i] == second[j] >= 0."""
    size = int(max(first.max(initial=-1), second.max(initial=-1))) + 1
    counts = [np.bincount(side[side >= 0], minlength=size) for side in (first, second)]
    return int(counts[0] @ counts[1])
