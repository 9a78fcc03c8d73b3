"""The quality of pseudo-labels: their agreement with the true identities."""

from __future__ import annotations

import numpy as np

from salcr.types import Integers


def label_quality(
    visible_label: Integers,
    infrared_label: Integers,
    visible_identity: Integers,
    infrared_identity: Integers,
) -> dict[str, float]:
    """Return scores of the agreement of the labels of one label space with the identities.

    Args:
        visible_label: [N] labels of the visible images in this space, -1 for outliers.
        infrared_label: [M] labels of the infrared images in the same space, -1 for outliers.
        visible_identity: [N] identities of the visible images, from 0.
        infrared_identity: [M] identities of the infrared images, from 0.

    Returns:
        `ari` and `ami`, at most 1, `fmi` and `v_measure`, in [0, 1], of the labeled images of both
        modalities together; `num_clusters`; `outliers`, the share of images without a label;
        `pair_precision` and `pair_recall`, in [0, 1], of the visible-infrared pairs with equal
        labels as a prediction of those with equal identities, where recall counts outliers as
        missed. Scores are 0 if no image is labeled.
    """
    from sklearn import metrics  # the import takes over a second

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
    same_label = _count_equal_pairs(visible_label, infrared_label)
    same_identity = _count_equal_pairs(visible_identity, infrared_identity)
    same_both = _count_equal_pairs(
        np.where(visible_label >= 0, visible_identity + visible_label * (identity.max() + 1), -1),
        np.where(
            infrared_label >= 0, infrared_identity + infrared_label * (identity.max() + 1), -1
        ),
    )
    quality["pair_precision"] = same_both / same_label if same_label else 0.0
    quality["pair_recall"] = same_both / same_identity if same_identity else 0.0
    return quality


def _count_equal_pairs(first: Integers, second: Integers) -> int:
    """Return the number of pairs (i, j) with first[i] == second[j] >= 0."""
    size = int(max(first.max(initial=-1), second.max(initial=-1))) + 1
    counts = [np.bincount(side[side >= 0], minlength=size) for side in (first, second)]
    return int(counts[0] @ counts[1])
