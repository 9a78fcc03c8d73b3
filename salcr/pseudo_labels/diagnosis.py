"""Whether training works, as far as features and labels show it without any identity.

Numbers of a round, and what they mean in words, with the key to change.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from salcr.config.method import Clustering
from salcr.pseudo_labels.clustering import suggest_eps
from salcr.pseudo_labels.partners import is_mutual, partners_of_clusters
from salcr.types import MODALITIES, Integers, PseudoLabels

_MOST_OUTLIERS = 0.7
_LARGEST_CLUSTER = 0.3  # share of a modality's images, where there are more than a few people
_LEAST_SPREAD = 0.02
_LEAST_AGREEMENT = 0.1
_HOPELESS_CLUSTER, _HOPELESS_SPREAD = 0.95, 0.002

Statistics = dict[str, float]


def describe_round(
    features: dict[str, Tensor], clusters: dict[str, Integers], labels: PseudoLabels[Integers]
) -> Statistics:
    """Return what a round's features and labels show without identities.

    Args:
        features: modality -> [N, C] unit global features.
        clusters: modality -> [N] DBSCAN labels, -1 for outliers.
        labels: of all images, in both spaces.

    Returns:
        for each modality m `clusters_m`, their number; `outliers_m`, share of images without one;
        `largest_m`, share of images in the largest; `spread_m`, mean cosine distance of two images
        of the modality, in [0, 1]. `agreement`, share of all clusters whose partner's partner they
        are, a partner being the label in the other space that most images have;
        `center_distance`, cosine distance of the modalities' mean features, in [0, 2].
    """
    numbers: Statistics = {}
    means = {m: features[m].mean(dim=0) for m in MODALITIES}
    for m in MODALITIES:
        own = clusters[m]
        sizes = np.bincount(own[own >= 0], minlength=1)
        numbers |= {
            f"clusters_{m}": float(own.max(initial=-1) + 1),
            f"outliers_{m}": float((own < 0).mean()),
            f"largest_{m}": float(sizes.max() / len(own)),
            f"spread_{m}": float(1 - means[m].square().sum()),
        }
    numbers["agreement"] = _agreement(clusters, labels)
    visible, infrared = means.values()
    numbers["center_distance"] = float(1 - torch.cosine_similarity(visible, infrared, dim=0))
    return numbers


def _agreement(clusters: dict[str, Integers], labels: PseudoLabels[Integers]) -> float:
    partners = partners_of_clusters(clusters, labels)
    return float(np.concatenate([is_mutual(m, partners) for m in MODALITIES]).mean())


def diagnose(numbers: Statistics) -> dict[str, str]:
    """Return what is wrong by name, with the key to change; empty where nothing is known to be.

    Args:
        numbers: from `describe_round`.
    """
    found = {}
    for m in MODALITIES:
        if numbers[f"outliers_{m}"] > _MOST_OUTLIERS:
            found[f"outliers_{m}"] = (
                f"{numbers[f'outliers_{m}']:.0%} of the {m} images are outliers, which are not "
                "trained: raise clustering.eps, or lower clustering.min_samples"
            )
        if numbers[f"largest_{m}"] > _LARGEST_CLUSTER:
            found[f"largest_{m}"] = (
                f"one cluster has {numbers[f'largest_{m}']:.0%} of the {m} images: different "
                "people are in it, unless there are very few; lower clustering.eps"
            )
        if numbers[f"spread_{m}"] < _LEAST_SPREAD:
            found[f"spread_{m}"] = (
                f"the features of the {m} images are nearly the same (mean cosine distance "
                f"{numbers[f'spread_{m}']:.4f}): they have collapsed; lower the learning rates "
                "(pretrain.learning_rate, train.learning_rate), or start from other weights"
            )
    if numbers["agreement"] < _LEAST_AGREEMENT:
        found["agreement"] = (
            f"only {numbers['agreement']:.0%} of the clusters are their partner's partner: the "
            "modalities do not mix, or few people were seen by both; train stage one for longer "
            "(pretrain.epochs)"
        )
    return found


def hopeless(numbers: Statistics) -> str | None:
    """Return why further rounds cannot help, or None.

    Args:
        numbers: from `describe_round`.
    """
    found = diagnose(numbers)
    for m in MODALITIES:
        if numbers[f"spread_{m}"] < _HOPELESS_SPREAD:
            return found[f"spread_{m}"]
        if numbers[f"largest_{m}"] > _HOPELESS_CLUSTER:
            return found[f"largest_{m}"]
    return None


def explain(numbers: Statistics, features: dict[str, Tensor], clustering: Clustering) -> list[str]:
    """Return the messages of `diagnose`, with an eps where it is the key to change.

    Args:
        numbers: from `describe_round`.
        features: modality -> [N, C] unit global features.
        clustering: parameters of the clustering.
    """
    messages: list[str] = []
    for name, message in diagnose(numbers).items():
        kind, _, modality = name.partition("_")
        if kind in ("outliers", "largest"):
            eps = suggest_eps(features[modality], clustering)
            message += f"; the distances suggest an eps of {eps:.2f}"
        messages.append(message)
    return messages
