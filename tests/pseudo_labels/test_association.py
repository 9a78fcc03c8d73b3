"""CMFP and the dual association, against the released code and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salcr.config.method import Associate
from salcr.pseudo_labels.association import associate
from salcr.pseudo_labels.generate import label_images
from salcr.pseudo_labels.neighbors import nearest_within
from salcr.pseudo_labels.propagation import propagate
from salcr.pseudo_labels.sinkhorn import sinkhorn
from salcr.types import MODALITIES, Integers, PseudoLabels
from tests.support.helpers import close, groups, unit_rows

ROLES = PseudoLabels._fields


def slow_propagate(visible: np.ndarray, infrared: np.ndarray, k: int) -> np.ndarray:
    """Return the propagated features of METHOD 3.1.2, row by row, visible rows first."""
    stacked = np.concatenate([visible, infrared]).astype(np.float64)
    rows = []
    for feature in stacked:
        mixed = np.zeros(stacked.shape[1])
        for side in (visible, infrared):
            cosines = [float(feature @ other) for other in side]
            kept = sorted(range(len(side)), key=lambda i: -cosines[i])[:k]
            positive = {i: cosines[i] for i in kept if cosines[i] > 0}
            for i, cosine in positive.items():
                mixed += cosine / sum(positive.values()) * side[i]
        rows.append(mixed / np.linalg.norm(mixed))
    return np.stack(rows)


def slow_labels(features: np.ndarray, clusters: np.ndarray, other: np.ndarray) -> list[int]:
    """Return the transported label of every row of `other`, with pairwise costs."""
    means = [features[clusters == c].mean(axis=0) for c in range(clusters.max() + 1)]
    cost = np.array([[float(((row - mean) ** 2).sum()) for mean in means] for row in other])
    return sinkhorn(cost, strength=5).argmax(axis=1).tolist()


def run(
    data: dict[str, np.ndarray], k: int | None, *, relabel: bool = True
) -> PseudoLabels[Integers]:
    """Return the association of the inputs in a golden file."""
    inputs = [data[f"{m}{kind}"] for kind in ("", "_cluster") for m in ("visible", "infrared")]
    return associate(*inputs, cmfp_k=k, strength=5.0, relabel_own_modality=relabel)


def test_propagation_matches_the_released_code(golden):
    """Propagated features equal those of the released code."""
    data = golden("cmfp")
    propagated = propagate(data["visible"], data["infrared"], k=int(data["k"]))
    close(np.concatenate(propagated), data["propagated"])


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("prefix", ["cmfp_", "plain_"])
def test_labels_match_the_released_code(golden, prefix, role):
    """Labels in all four roles equal those of the released code, with and without CMFP."""
    data = golden("association")
    assert float(data["reg_lambda"]) == 5.0
    association = run(data, int(data["k"]) if prefix == "cmfp_" else None)
    np.testing.assert_array_equal(getattr(association, role), data[prefix + role])


@pytest.mark.parametrize("k", [1, 4, 9, 1000])
def test_propagation_matches_a_loop(rng, k):
    """Blocks are truncated, clipped and normalized one by one, also with k beyond the images."""
    visible, infrared = unit_rows(rng, 9, 5), unit_rows(rng, 14, 5)
    propagated = propagate(visible, infrared, k=k)
    assert all(side.dtype == np.float32 for side in propagated)
    close(np.concatenate(propagated), slow_propagate(visible, infrared, k))


def test_dissimilar_modalities_do_not_mix(rng):
    """If all cross-modality cosines are negative, only the own modality contributes."""
    visible = np.abs(unit_rows(rng, 6, 4))
    infrared = -np.abs(unit_rows(rng, 8, 4))
    propagated = propagate(visible, infrared, k=3)
    close(np.concatenate(propagated), slow_propagate(visible, infrared, 3))
    assert propagated[0].min() > 0 and propagated[1].max() < 0


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_propagation_is_the_same_for_both_modalities(seed, k):
    """Swapping modalities swaps the result; shuffling images shuffles it; rows have length 1."""
    rng = np.random.default_rng(seed)
    visible, infrared = unit_rows(rng, 11, 4), unit_rows(rng, 7, 4)
    propagated = propagate(visible, infrared, k=k)
    for mine, other in zip(propagated, reversed(propagate(infrared, visible, k=k)), strict=True):
        close(mine, other)
        close(np.linalg.norm(mine, axis=1), np.ones(len(mine)))
    order = rng.permutation(len(visible))
    close(propagate(visible[order], infrared, k=k)[0], propagated[0][order])


def test_cross_labels_match_a_loop(golden):
    """Both cross labels come from squared Euclidean costs to unnormalized means."""
    data = golden("association")
    association = run(data, None)
    visible, infrared = data["visible"], data["infrared"]
    toward_infrared = slow_labels(infrared, data["infrared_cluster"], visible)
    toward_visible = slow_labels(visible, data["visible_cluster"], infrared)
    assert association.visible_to_infrared.tolist() == toward_infrared
    assert association.infrared_to_visible.tolist() == toward_visible


@pytest.mark.parametrize("k", [8, None])
def test_the_papers_own_labels_are_the_clusters(golden, k):
    """Without relabeling, the DBSCAN label remains and the cross labels do not change."""
    data = golden("association")
    released, paper = run(data, k), run(data, k, relabel=False)
    np.testing.assert_array_equal(paper.visible, data["visible_cluster"])
    np.testing.assert_array_equal(paper.infrared, data["infrared_cluster"])
    for role in ("visible_to_infrared", "infrared_to_visible"):
        np.testing.assert_array_equal(getattr(paper, role), getattr(released, role))


def test_own_labels_take_the_inner_product_with_unnormalized_means():
    """A long mean wins over one that is closer in angle and in Euclidean distance."""
    angles = np.deg2rad([0, 0, 80, -20, 30])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    clusters = np.array([0, 0, 1, 1, 1])
    # At 30 degrees: inner products 0.866 and 0.762, cosines 0.866 and 1, distances 0.52 and 0.24.
    association = associate(
        features, features, clusters, clusters, cmfp_k=None, strength=5, relabel_own_modality=True
    )
    assert association.visible.tolist() == association.infrared.tolist() == [0, 0, 1, 0, 0]


def test_a_single_cluster_takes_all_images(rng):
    """With one visible cluster, every image has its label in the visible space."""
    visible, infrared = unit_rows(rng, 5, 4), unit_rows(rng, 6, 4)
    association = associate(
        visible,
        infrared,
        np.zeros(5, np.int64),
        np.array([0, 0, 0, 1, 1, 1]),
        cmfp_k=30,
        strength=5,
        relabel_own_modality=True,
    )
    assert (
        association.visible.tolist() == [0] * 5
        and association.infrared_to_visible.tolist() == [0] * 6
    )
    assert set(association.infrared) == {0, 1}


def test_a_modality_without_images_adds_nothing(rng):
    """Propagation then uses the other modality only; an association has nothing to label."""
    visible, none = unit_rows(rng, 6, 4), np.empty((0, 4), np.float32)
    propagated = propagate(visible, none, k=3)
    close(propagated[0], slow_propagate(visible, none, 3))
    assert propagated[1].shape == (0, 4)
    labels = np.zeros(6, np.int64)
    with pytest.raises(ValueError, match="no association of 6 visible and 0 infrared images"):
        associate(
            visible, none, labels, labels[:0], cmfp_k=3, strength=5, relabel_own_modality=True
        )


def test_copies_are_mixed_with_each_other(rng):
    """If all images of a modality are equal, only the other modality changes them."""
    visible = np.tile(np.float32([0.6, 0.8, 0, 0]), (50, 1))
    infrared = np.tile(np.float32([0, 0, 1, 0]), (7, 1))
    propagated = propagate(visible, infrared, k=8)
    close(propagated[0], visible)
    close(propagated[1], infrared)


def test_features_that_are_not_finite_are_not_mixed(rng):
    """One non-finite number in either modality is rejected."""
    good, bad = unit_rows(rng, 6, 4), unit_rows(rng, 5, 4)
    bad[2, 2] = np.nan
    for sides in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match="features must be finite"):
            propagate(*sides, k=3)


@pytest.mark.parametrize("cmfp", [True, False])
def test_outliers_are_ignored(rng, device, cmfp):
    """With neighbors of all images, labels equal those of a loop over the clustered ones alone."""
    sides = {m: groups(rng, 6, 10, 8, 0.6) for m in MODALITIES}
    clusters = {m: np.where(rng.random(60) < 0.4, -1, np.arange(60) // 10) for m in MODALITIES}
    settings = Associate.model_construct(
        method="dagl", cmfp=cmfp, cmfp_k=5, sinkhorn_strength=5.0, relabel_own_modality=False
    )
    features = {m: torch.from_numpy(sides[m]).to(device) for m in MODALITIES}
    neighbors = {m: nearest_within(features[m], 7) for m in MODALITIES}
    association = label_images(features, clusters, settings, neighbors)

    kept = {m: clusters[m] >= 0 for m in MODALITIES}
    mixed = [sides[m][kept[m]] for m in MODALITIES]
    if cmfp:
        mixed = np.split(slow_propagate(*mixed, 5), [len(mixed[0])])
    for own, other, name in ((0, 1, "visible_to_infrared"), (1, 0, "infrared_to_visible")):
        labels = getattr(association, name)
        here, there = kept[MODALITIES[own]], clusters[MODALITIES[other]]
        assert (labels[~here] == -1).all()
        expected = slow_labels(mixed[other], there[there >= 0], mixed[own])
        assert labels[here].tolist() == expected
