"""Which similarity means the same person: counts, thresholds, and people from clusters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from salcr.evaluation import calibration
from salcr.evaluation.calibration import PairCounts, count_pairs, people_of_clusters, summarize
from tests.support.helpers import unit_rows


@pytest.fixture
def people(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, modalities, and people of 150 images of 12 people."""
    person, modality = rng.integers(12, size=150), rng.integers(2, size=150)
    centers = unit_rows(rng, 12, 16)
    rows = centers[person] + 0.2 * rng.normal(size=(150, 16)) + 0.1 * modality[:, None]
    features = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return features.astype(np.float32), modality, person


def slow_pairs(
    features: np.ndarray, modality: np.ndarray, person: np.ndarray
) -> dict[str, dict[bool, list[float]]]:
    """Return kind -> whether of one person -> cosines, pair by pair."""
    cosines: dict[str, dict[bool, list[float]]] = {
        kind: {True: [], False: []} for kind in calibration.KINDS
    }
    for i, j in itertools.combinations(range(len(features)), 2):
        kind = "within" if modality[i] == modality[j] else "across"
        cosines[kind][bool(person[i] == person[j])].append(float(features[i] @ features[j]))
    return cosines


def test_pairs_and_rates_are_those_of_plain_loops(
    people: tuple[np.ndarray, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Histograms, ROC, and thresholds, from every pair in turn; also in blocks that do not fit."""
    monkeypatch.setattr(calibration, "_BLOCK", 47)
    counts = count_pairs(*people)
    for kind, expected in slow_pairs(*people).items():
        summary = summarize(counts[kind])
        for is_same, name in ((True, "positive"), (False, "negative")):
            histogram, _ = np.histogram(expected[is_same], np.linspace(-1, 1, 201))
            assert summary[name] == histogram.tolist()
        for point in summary["roc"]:
            for is_same, rate in ((True, "true_match_rate"), (False, "false_match_rate")):
                matching = [one >= point["threshold"] for one in expected[is_same]]
                assert point[rate] == pytest.approx(sum(matching) / len(matching))
        first, *others = summary["thresholds"]
        assert len(expected[False]) < 10_000 and [o["threshold"] for o in others] == [None, None]
        assert first["false_match_rate"] == 0.01
        above = sum(one >= first["threshold"] for one in expected[False])
        below = sum(one >= first["threshold"] - 1e-4 for one in expected[False])
        assert above <= 0.01 * len(expected[False]) < below  # the smallest of its kind
        right = sum(one >= first["threshold"] for one in expected[True])
        assert first["true_match_rate"] == pytest.approx(right / len(expected[True]))
        assert 0.2 < first["true_match_rate"] < 1


@pytest.mark.parametrize(("num_negative", "has"), [(999, False), (1000, True)])
def test_a_rate_needs_ten_false_matches(num_negative: int, has: bool) -> None:
    """With fewer negative pairs than 10 / rate there is no threshold, with as many there is one."""
    negative = np.zeros(20001, dtype=np.int64)
    negative[7000:17000:100] = num_negative // 100  # cosines from -0.3 on
    negative[15000] += num_negative % 100
    positive = np.zeros(20001, dtype=np.int64)
    positive[20000] = 5
    entries = summarize(PairCounts(positive, negative))["thresholds"]
    assert [entry["threshold"] is not None for entry in entries] == [has, False, False]
    if has:  # the ten largest cosines are those of the last bin, 0.69
        assert entries[0] == {
            "false_match_rate": 0.01, "threshold": 0.6801, "true_match_rate": 1.0
        }  # fmt: skip


def test_cosines_of_one_are_counted(rng: np.random.Generator) -> None:
    """Equal images, whose cosine may be rounded above 1, belong to the last step."""
    features = np.repeat(unit_rows(rng, 40, 33), 2, axis=0)
    counts = count_pairs(features, np.tile([0, 1], 40), np.repeat(np.arange(40), 2))
    positive = counts["across"].positive
    assert positive.sum() == 40 and positive[19999:].sum() == 40
    assert summarize(counts["across"])["positive"][-1] == 40


def test_people_are_clusters_that_are_mutually_nearest(rng: np.random.Generator) -> None:
    """By definition, cluster by cluster; outliers have no person, others their own."""
    num_people = []
    for _ in range(30):
        sizes = rng.integers(1, 7, size=2)
        clusters = {
            m: np.concatenate([np.arange(size), rng.integers(-1, size, 20)])
            for m, size in zip(("visible", "infrared"), sizes, strict=True)
        }
        features = {m: unit_rows(rng, len(labels), 5) for m, labels in clusters.items()}
        people = people_of_clusters(features, clusters)
        means = {
            m: [features[m][clusters[m] == k].mean(axis=0) for k in range(size)]
            for m, size in zip(("visible", "infrared"), sizes, strict=True)
        }
        cosine = [
            [float(v @ i / np.linalg.norm(v) / np.linalg.norm(i)) for i in means["infrared"]]
            for v in means["visible"]
        ]
        mutual = {
            (v, i)
            for v, row in enumerate(cosine)
            for i, one in enumerate(row)
            if one == max(row) and one == max(line[i] for line in cosine)
        }
        for v, visible in zip(clusters["visible"], people["visible"], strict=True):
            assert (visible == -1) == (v == -1)
            for i, infrared in zip(clusters["infrared"], people["infrared"], strict=True):
                assert (infrared == -1) == (i == -1)
                if v >= 0 and i >= 0:
                    assert (visible == infrared) == ((v, i) in mutual)
        for i, j in itertools.combinations(range(len(clusters["infrared"])), 2):
            same = clusters["infrared"][i] == clusters["infrared"][j]
            assert (people["infrared"][i] == people["infrared"][j]) == same
        num_people.append(len(mutual))
    assert min(num_people) < max(num_people)
