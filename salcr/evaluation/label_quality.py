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
        visible_identity: [N] identities of the visible images, from 0; -1 for unknown ones.
        infrared_identity: [M] identities of the infrared images, from 0; -1 for unknown ones.

    Returns:
        `ari` and `ami`, at most 1, `fmi` and `v_measure`, in [0, 1], of the labeled images of both
        modalities together; `num_clusters`; `outliers`, the share of images without a label;
        `pair_precision` and `pair_recall`, in [0, 1], of the visible-infrared pairs with equal
        labels as a prediction of those with equal identities, where recall counts outliers as
        missed. Scores are 0 if no image is labeled.

        Where identities are unknown, `known` is the share of images whose identity is known. The
        scores are those of these images alone. If there are none, no score is returned; if a
        modality has none, that of pairs is not.
    """
    sides = [(visible_label, visible_identity), (infrared_label, infrared_identity)]
    known = [(label[identity >= 0], identity[identity >= 0]) for label, identity in sides]
    quality = {}
    if any(len(identity) for _, identity in known):
        quality = _agreement(*(np.concatenate(both) for both in zip(*known, strict=True)))
    label = np.concatenate([visible_label, infrared_label])
    quality["num_clusters"] = float(len(np.unique(label[label >= 0])))
    quality["outliers"] = float(1 - (label >= 0).mean())
    if all((identity >= 0).any() or not len(identity) for _, identity in sides):
        quality |= _pair_scores(*known)
    num_known = sum(len(identity) for _, identity in known)
    if num_known < len(label):
        quality["known"] = num_known / len(label)
    return quality


def stability(before: Integers, after: Integers) -> float:
    """Return how far two rounds agree, without any identity: the adjusted Rand index, at most 1.

    Args:
        before: [N] labels of a round, -1 for none.
        after: [N] those of the next round. Images without a label in one of them are left out.
    """
    from sklearn.metrics import adjusted_rand_score

    kept = (before >= 0) & (after >= 0)
    return float(adjusted_rand_score(before[kept], after[kept])) if kept.any() else 0.0


def _agreement(label: Integers, identity: Integers) -> dict[str, float]:
    """Return the scores of images, [N], that are not pairs."""
    from sklearn import metrics  # the import takes over a second

    kept = label >= 0
    scores = {
        "ari": metrics.adjusted_rand_score,
        "ami": metrics.adjusted_mutual_info_score,
        "fmi": metrics.fowlkes_mallows_score,
        "v_measure": metrics.v_measure_score,
    }
    return {
        name: float(score(identity[kept], label[kept])) if kept.any() else 0.0
        for name, score in scores.items()
    }


def _pair_scores(
    visible: tuple[Integers, Integers], infrared: tuple[Integers, Integers]
) -> dict[str, float]:
    """Return precision and recall of pairs, of the labels and the identities of both modalities."""
    # Identities may be any numbers, up to the largest integer.
    _, people = np.unique(np.concatenate([visible[1], infrared[1]]), return_inverse=True)
    identities = people[: len(visible[1])], people[len(visible[1]) :]
    labels = visible[0], infrared[0]
    both = [
        np.where(label >= 0, identity + label * (people.max(initial=0) + 1), -1)
        for label, identity in zip(labels, identities, strict=True)
    ]
    same_label, same_identity = _count_equal_pairs(*labels), _count_equal_pairs(*identities)
    same_both = _count_equal_pairs(*both)
    return {
        "pair_precision": same_both / same_label if same_label else 0.0,
        "pair_recall": same_both / same_identity if same_identity else 0.0,
    }


def _count_equal_pairs(first: Integers, second: Integers) -> int:
    """Return the number of pairs (i, j) with first[i] == second[j] >= 0."""
    size = int(max(first.max(initial=-1), second.max(initial=-1))) + 1
    counts = [np.bincount(side[side >= 0], minlength=size) for side in (first, second)]
    return int(counts[0] @ counts[1])
