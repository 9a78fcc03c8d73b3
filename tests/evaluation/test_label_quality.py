"""The quality of pseudo-labels, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from salcr.evaluation.label_quality import label_quality, stability
from tests.support.helpers import close


def test_label_quality_by_hand():
    """Six images, three identities, one outlier: every count can be checked on paper."""
    quality = label_quality(
        np.array([0, 0, 1]), np.array([0, 1, -1]), np.array([5, 5, 6]), np.array([5, 5, 7])
    )
    # Visible-infrared pairs with one label: (v0, r0), (v1, r0) right and (v2, r1) wrong.
    # Pairs of one identity: v0, v1 with r0, r1, four in total.
    close([quality["pair_precision"], quality["pair_recall"]], [2 / 3, 2 / 4], rtol=1e-12)
    assert quality["num_clusters"] == 2
    close(quality["outliers"], 1 / 6, rtol=1e-12)
    # Of the ten pairs of labeled images, 4 share a label, 6 an identity, 3 both.
    expected_index = 4 * 6 / 10
    close(quality["ari"], (3 - expected_index) / ((4 + 6) / 2 - expected_index), rtol=1e-9)
    close(quality["fmi"], 3 / np.sqrt(4 * 6), rtol=1e-9)


@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 40))
def test_label_quality_matches_scikit_learn_and_pair_loops(seed, num_visible, num_infrared):
    """Scores on the labeled images equal scikit-learn's; pairs are counted one by one."""
    rng = np.random.default_rng(seed)
    label = [rng.integers(-1, 4, n) for n in (num_visible, num_infrared)]
    identity = [rng.integers(3, 9, n) for n in (num_visible, num_infrared)]
    quality = label_quality(*label, *identity)
    labels, identities = np.concatenate(label), np.concatenate(identity)
    kept = labels >= 0
    expected = {"outliers": np.mean(labels == -1), "num_clusters": len(set(labels[kept]))}
    if kept.any():
        pair = identities[kept], labels[kept]
        expected["ari"] = oracle.adjusted_rand_score(*pair)
        expected["ami"] = oracle.adjusted_mutual_info_score(*pair)
        expected["fmi"] = oracle.fowlkes_mallows_score(*pair)
        expected["v_measure"] = oracle.v_measure_score(*pair)
    counts = np.zeros(3)
    for l1, i1 in zip(label[0], identity[0], strict=True):
        for l2, i2 in zip(label[1], identity[1], strict=True):
            counts += [l1 == l2 >= 0, i1 == i2, l1 == l2 >= 0 and i1 == i2]
    expected["pair_precision"] = counts[2] / max(counts[0], 1)
    expected["pair_recall"] = counts[2] / max(counts[1], 1)
    close([quality[name] for name in expected], list(expected.values()), rtol=1e-9)


@given(st.integers(0, 10**6))
def test_unknown_identities_do_not_count(seed):
    """Scores are those of the known images alone; clusters and outliers those of all images."""
    rng = np.random.default_rng(seed)
    label = [rng.integers(-1, 4, 30) for _ in "vi"]
    identity = [rng.integers(0, 4, 30) for _ in "vi"]
    masks = [rng.random(30) < 0.5 for _ in "vi"]
    hidden = [np.where(mask, one, -1) for mask, one in zip(masks, identity, strict=True)]
    known = [
        [one[mask] for one, mask in zip(side, masks, strict=True)] for side in (label, identity)
    ]
    quality, expected = label_quality(*label, *hidden), label_quality(*known[0], *known[1])
    whole = label_quality(*label, *identity)
    expected |= {name: whole[name] for name in ("num_clusters", "outliers")}
    assert quality.pop("known") == np.mean(masks)
    assert quality == expected


def test_no_score_is_returned_without_known_identities():
    """None at all, or none in one modality: what cannot be compared is left out."""
    label, unknown = np.array([0, 0, 1, -1]), np.full(4, -1)
    quality = label_quality(label, label, unknown, unknown)
    assert quality == {"num_clusters": 2, "outliers": 0.25, "known": 0}
    quality = label_quality(label, label, np.array([5, 5, 6, 6]), unknown)
    assert set(quality) == {"ari", "ami", "fmi", "v_measure", "num_clusters", "outliers", "known"}
    assert (quality["ari"], quality["known"]) == (1, 0.5)


def test_identities_may_be_any_numbers():
    """The largest of 64 bits takes as little memory as 1, with equal scores."""
    label, identity = np.array([0, 0, 1]), np.array([0, 1, 1])
    large = np.where(identity == 1, 2**63 - 1, 0)
    assert label_quality(label, label, large, large) == label_quality(label, label, *[identity] * 2)


def test_outliers_alone_score_zero():
    """If nothing is labeled, all scores are 0 and every image is an outlier."""
    outliers = np.full(4, -1)
    quality = label_quality(outliers, outliers, np.arange(4), np.arange(4))
    assert quality.pop("outliers") == 1
    assert len(quality) == 7 and set(quality.values()) == {0.0}


def test_stability_is_the_agreement_of_two_rounds():
    """It is 1 for renamed clusters, near 0 for random ones, and leaves out what has no label."""
    rng = np.random.default_rng(0)
    before = np.repeat(np.arange(20), 10)
    after = np.where(np.arange(200) % 7 == 0, -1, 19 - before)
    assert stability(before, after) == 1
    assert abs(stability(before, rng.permutation(before))) < 0.05
    assert stability(before, np.full(200, -1)) == 0
