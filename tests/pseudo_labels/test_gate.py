"""The gate for people who were seen in one modality only."""

from __future__ import annotations

import numpy as np
import pytest

from salcr.config.loading import DEFAULT_CONFIG, validate
from salcr.config.reading import merge, read_configuration
from salcr.errors import SalcrError
from salcr.pseudo_labels.gate import gate
from salcr.types import Integers, PseudoLabels
from tests.support.helpers import unit_rows


def slow_gate(
    own: Integers, crossing: Integers, others: Integers, back: Integers, cosines: np.ndarray
) -> set[int]:
    """Return the clusters of a modality without a partner, cluster by cluster, by definition.

    Args:
        own: [N] clusters of its images.
        crossing: [N] their labels in the other modality's space.
        others: [M] clusters of the other modality's images.
        back: [M] their labels in this modality's space.
        cosines: [K, L] of the centers.
    """

    def partner(images: list[int], size: int) -> tuple[int, float]:
        counts = [images.count(label) for label in range(size)]
        return counts.index(max(counts)), max(counts) / len(images)

    gated = set()
    for cluster in range(cosines.shape[0]):
        images = [label for k, label in zip(own, crossing, strict=True) if k == cluster]
        best, share = partner(images, cosines.shape[1])
        returned, _ = partner(
            [label for k, label in zip(others, back, strict=True) if k == best], cosines.shape[0]
        )
        agree = returned == cluster or share >= 0.5
        if max(cosines[cluster]) < 0.1 or not agree:
            gated.add(cluster)
    return gated


def test_clusters_are_gated_by_the_rule(rng: np.random.Generator) -> None:
    """For random labels of many sizes, exactly the clusters of the definition lose their labels."""
    num_gated = []
    for _ in range(50):
        sizes = rng.integers(2, 9, 2)
        clusters = [np.append(rng.integers(0, k, 30), range(k)) for k in sizes]
        crossing = [rng.integers(0, sizes[1 - side], len(clusters[side])) for side in (0, 1)]
        features = [unit_rows(rng, len(rows), 6).astype(np.float32) for rows in clusters]
        centers = [
            np.stack([f[rows == k].mean(0) for k in range(size)])
            for f, rows, size in zip(features, clusters, sizes, strict=True)
        ]
        unit = [c / np.linalg.norm(c, axis=1, keepdims=True) for c in centers]
        cosines = unit[0] @ unit[1].T
        labels = PseudoLabels(clusters[0], crossing[0], clusters[1], crossing[1])
        gated = gate(
            labels,
            {"visible": features[0], "infrared": features[1]},
            {"visible": clusters[0], "infrared": clusters[1]},
            least=0.1,
        )
        for side, (own, result, matrix) in enumerate(
            [(0, gated.visible_to_infrared, cosines), (1, gated.infrared_to_visible, cosines.T)]
        ):
            other = 1 - side
            without = slow_gate(
                clusters[side], crossing[side], clusters[other], crossing[other], matrix
            )
            expected = np.where(np.isin(clusters[side], [*without]), -1, crossing[side])
            np.testing.assert_array_equal(result, expected)
            num_gated.append(len(without) / sizes[own])
        assert gated.visible is labels.visible and gated.infrared is labels.infrared
    assert 0.1 < np.mean(num_gated) < 0.9


def test_a_gate_needs_both_label_spaces() -> None:
    """OTLA has no labels of visible images in the infrared space to take back."""
    otla = {"associate": {"method": "otla", "gate_similarity": 0.3}}
    both = merge(otla, {"train": {"label_space": "visible"}})
    with pytest.raises(SalcrError, match="associate: gate_similarity: otla"):
        validate(merge(read_configuration(DEFAULT_CONFIG), both))
