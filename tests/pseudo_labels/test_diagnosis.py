"""Diagnoses of a training without identities: each is provoked, and none where all is well."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from salcr.config.method import Clustering
from salcr.errors import SalcrError
from salcr.pseudo_labels import diagnosis
from salcr.pseudo_labels.clustering import cluster, dbscan, jaccard_distance, suggest_eps
from salcr.types import Integers, PseudoLabels
from tests.support.helpers import unit_rows

CLUSTERING = Clustering(k1=30, k2=6, eps=0.3, min_samples=4)
PEOPLE, IMAGES = 20, 10
OWN = np.repeat(np.arange(PEOPLE), IMAGES)
GOOD = PseudoLabels(OWN, OWN, OWN, OWN)


def features(rng: np.random.Generator, noise: float = 0.05) -> torch.Tensor:
    """Return unit features of people around random directions."""
    rows = np.repeat(unit_rows(rng, PEOPLE, 64), IMAGES, axis=0)
    rows = rows + noise * rng.standard_normal(rows.shape)
    return torch.nn.functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)


def described(
    rng: np.random.Generator,
    clusters: Integers = OWN,
    labels: PseudoLabels[Integers] = GOOD,
    rows: torch.Tensor | None = None,
) -> diagnosis.Statistics:
    """Return the statistics of a round, in which the visible side is given."""
    sides = {"visible": features(rng) if rows is None else rows, "infrared": features(rng)}
    return diagnosis.describe_round(sides, {"visible": clusters, "infrared": OWN}, labels)


def test_numbers_are_those_of_their_definitions(rng: np.random.Generator) -> None:
    """They equal plain loops over pairs of images and over clusters."""
    clusters = np.where(rng.random(len(OWN)) < 0.2, -1, OWN)
    crossing = rng.permutation(PEOPLE)[OWN]
    labels = PseudoLabels(clusters, crossing, OWN, OWN)
    rows = features(rng)
    numbers = described(rng, clusters, labels, rows)
    assert numbers["clusters_visible"] == PEOPLE
    assert numbers["outliers_visible"] == np.count_nonzero(clusters < 0) / len(OWN)
    largest = max(np.count_nonzero(clusters == k) for k in range(PEOPLE))
    assert numbers["largest_visible"] == largest / len(OWN)
    pairs = [1 - float(one @ other) for one in rows for other in rows]
    assert numbers["spread_visible"] == pytest.approx(np.mean(pairs), abs=1e-5)
    fixed = np.mean(crossing[::IMAGES] == np.arange(PEOPLE))
    assert numbers["agreement"] == pytest.approx(fixed)
    assert 0 <= numbers["center_distance"] <= 2


def test_nothing_is_wrong_with_good_labels(rng: np.random.Generator) -> None:
    """Clear people with their own labels give no message and do not stop."""
    numbers = described(rng)
    assert diagnosis.diagnose(numbers) == {} and diagnosis.hopeless(numbers) is None


def test_outliers(rng: np.random.Generator) -> None:
    """With three quarters outliers, a larger eps is suggested."""
    few = np.where(np.arange(len(OWN)) % 4 == 0, OWN, -1)
    labels = PseudoLabels(few, np.where(few < 0, -1, OWN), OWN, OWN)
    sides = {"visible": features(rng), "infrared": features(rng)}
    numbers = described(rng, few, labels)
    (message,) = diagnosis.explain(numbers, sides, CLUSTERING)
    assert "75% of the visible images are outliers" in message
    assert "raise clustering.eps" in message and "suggest an eps of 0." in message
    assert diagnosis.hopeless(numbers) is None


@pytest.mark.parametrize(("share", "stops"), [(0.5, False), (0.97, True)])
def test_one_giant_cluster(rng: np.random.Generator, share: float, stops: bool) -> None:
    """With half of the images in a cluster, a smaller eps is advised; with nearly all, it stops."""
    giant = np.where(np.arange(len(OWN)) < share * len(OWN), 0, OWN)
    numbers = described(rng, giant, PseudoLabels(giant, OWN, OWN, OWN))
    found = diagnosis.diagnose(numbers)
    assert "lower clustering.eps" in found["largest_visible"]
    assert f"{share:.0%} of the visible images" in found["largest_visible"]
    assert (diagnosis.hopeless(numbers) == found["largest_visible"]) == stops


@pytest.mark.parametrize(("spread", "stops"), [(0.12, False), (0.02, True)])
def test_collapsed_features(rng: np.random.Generator, spread: float, stops: bool) -> None:
    """Features that are nearly the same are named; if they are the same, further rounds stop."""
    rows = features(rng)
    rows = torch.nn.functional.normalize(rows[:1] + spread * rows, dim=1)
    numbers = described(rng, rows=rows)
    found = diagnosis.diagnose(numbers)
    assert "have collapsed; lower the learning rates" in found["spread_visible"]
    assert (diagnosis.hopeless(numbers) == found["spread_visible"]) == stops


def test_modalities_that_do_not_mix(rng: np.random.Generator) -> None:
    """If hardly a cluster is its partner's partner, longer training is advised."""
    shifted = (OWN + 1) % PEOPLE
    numbers = described(rng, labels=PseudoLabels(OWN, shifted, OWN, shifted))
    (message,) = diagnosis.diagnose(numbers).values()
    assert "modalities do not mix" in message and "pretrain.epochs" in message


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.08, 0.12])
def test_the_suggested_eps_finds_the_people(rng: np.random.Generator, noise: float) -> None:
    """With it, DBSCAN returns the people of random features, from easy to hard ones."""
    rows = features(rng, noise)
    eps = suggest_eps(rows, CLUSTERING)
    distance = jaccard_distance(rows.numpy(), k1=CLUSTERING.k1, k2=CLUSTERING.k2)
    labels = dbscan(distance, eps=eps, min_samples=CLUSTERING.min_samples)
    assert 0 < eps < 1 and adjusted_rand_score(OWN, labels) > 0.95


def test_where_no_cluster_forms_an_eps_is_suggested(rng: np.random.Generator) -> None:
    """The error's own number finds the people."""
    rows = features(rng, 0.12)
    strict = CLUSTERING.model_copy(update={"k1": IMAGES, "k2": 1, "eps": 0.01})
    with pytest.raises(SalcrError, match="do not form a cluster") as caught:
        cluster(rows, strict, "visible")
    eps = float(str(caught.value).split("suggest ")[1].split(")")[0])
    labels = cluster(rows, strict.model_copy(update={"eps": eps}), "visible")
    assert adjusted_rand_score(OWN, labels) > 0.95
