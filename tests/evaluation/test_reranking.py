"""Re-rankings, against the released code and loops over images and sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from salcr.evaluation.metrics import retrieval_metrics
from salcr.evaluation.reranking import aim, cmfp, cmrr
from tests.support.helpers import close, groups, unit_rows

Ranks = list[list[int]]
HALF = np.float16


def squared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return pairwise squared Euclidean distances."""
    return np.array([[((a.astype(float) - b) ** 2).sum() for b in second] for a in first])


def two_modalities(
    rng: np.random.Generator, num_queries: int, num_images: int, width: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Return query and gallery features of the same few people, with one modality shifted."""
    size = max(num_queries, num_images)
    people = np.repeat(rng.standard_normal((-(-size // 4), width)), 4, axis=0)
    sides = []
    for count in (num_queries, num_images):
        rows = people[:count] + 0.6 * rng.standard_normal((count, width))
        rows += 0.5 * rng.standard_normal(width)
        sides.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return sides[0], sides[1]


def slow_aim(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """Return AIM (METHOD 4.3), row by row."""

    def cut(cosines: list[float]) -> np.ndarray:
        smallest = sorted(cosines, reverse=True)[:k1][-1]
        return np.array([cosine if cosine >= smallest else 0.0 for cosine in cosines])

    def cosines(row: np.ndarray) -> list[float]:
        return [float(row.astype(float) @ image) for image in gallery]

    kept = [cut(cosines(image)) for image in gallery]
    means = []
    for image in gallery:
        nearest = order(-np.array([cosines(image)]))[0][:k2]
        means.append(sum(kept[j] for j in nearest) / len(nearest))
    distance = np.empty((len(query), len(gallery)))
    for i, j in np.ndindex(*distance.shape):
        row = cut(cosines(query[i]))
        shared = row @ means[j] / np.linalg.norm(row) / np.linalg.norm(means[j])
        distance[i, j] = -shared - cosines(query[i])[j]
    return distance


def order(distance: np.ndarray) -> Ranks:
    """Return the columns of each row, the closest first."""
    return [sorted(range(len(row)), key=row.tolist().__getitem__) for row in distance]


def slow_encodings(
    distance: np.ndarray, forward: Ranks, backward: Ranks, columns: Ranks, rows: Ranks, k: int
) -> np.ndarray:
    """Return CMRR's float16 weights (METHOD 4.3) on expanded sets, averaged over `rows`."""
    weights = np.zeros(distance.shape)
    half = round(k / 2) + 1
    for i in range(len(distance)):
        reciprocal = {c for c in forward[i][: k + 1] if i in backward[c][: k + 1]}
        expanded = set(reciprocal)
        for c in reciprocal:
            own = {d for d in columns[c][:half] if c in columns[d][:half]}
            if 3 * len(own & reciprocal) > 2 * len(own):
                expanded |= own
        for c in expanded:
            weights[i, c] = np.exp(-distance[i, c])
        weights[i] /= weights[i].sum() or 1
    weights = weights.astype(HALF).astype(float)
    return np.stack([weights[nearest].mean(axis=0) for nearest in rows]).astype(HALF)


def slow_jaccard(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return 1 - m / (2 - m) for every pair of encodings, each step rounded to float16."""
    jaccard = np.empty((len(first), len(second)), HALF)
    for i, j in np.ndindex(*jaccard.shape):
        shared = HALF(0)
        for a, b in zip(first[i], second[j], strict=True):
            shared = HALF(shared + min(a, b))
        jaccard[i, j] = HALF(1) - shared / HALF(HALF(2) - shared)
    return jaccard


def scaled(distance: np.ndarray) -> np.ndarray:
    """Return the matrix divided by its column maxima, with a column of zeros unchanged."""
    return distance / np.array([max(column) or 1 for column in distance.T])


def slow_within(distance: np.ndarray, k: int) -> Ranks:
    """Return ranks within one modality after Zhong et al.'s re-ranking, k2 = 6, lambda = 0.3."""
    transposed = scaled(distance).T
    ranks = order(transposed)
    encodings = slow_encodings(
        transposed, ranks, ranks, ranks, [nearest[:6] for nearest in ranks], k
    )
    jaccard = slow_jaccard(encodings, encodings) * HALF(0.7)
    return order(jaccard.astype(float) + 0.3 * transposed)


def slow_cmrr(query: np.ndarray, gallery: np.ndarray, k: int, eta: float) -> np.ndarray:
    """Return CMRR (METHOD 4.3), set by set."""
    sides = {"q": query, "g": gallery}
    names = [x + y for x in sides for y in sides]
    distance: dict[str, np.ndarray] = {}
    for name in names:
        distance[name] = scaled(squared(sides[name[0]], sides[name[1]]))
    ranks: dict[str, Ranks] = {
        name: slow_within(distance[name], k) if name in ("qq", "gg") else order(distance[name])
        for name in names
    }
    stacked = {}
    for x in sides:
        both: list[Any] = []
        for y in sides:
            own = [nearest[:k] for nearest in ranks[x + x]]
            both.append(
                slow_encodings(
                    distance[x + y], ranks[x + y], ranks[y + x], ranks[y + y], own, k
                ).astype(float)
            )
        joined = np.concatenate(both, axis=1)
        stacked[x] = (joined / joined.sum(axis=1, keepdims=True)).astype(HALF)
    jaccard = slow_jaccard(stacked["q"], stacked["g"])
    return (1 - eta) * jaccard + eta * squared(query, gallery)


@pytest.mark.parametrize(("k1", "k2"), [(4, 1), (8, 2)])
def test_aim_matches_the_released_code(golden, k1, k2):
    """Distances at both published settings equal those of the released code."""
    data = golden("rerank")
    distance = aim(data["visible"], data["infrared"], k1=k1, k2=k2)
    assert distance.dtype == np.float32
    close(distance, data[f"aim_k1_{k1}_k2_{k2}"])


def test_cmrr_matches_the_released_code(golden):
    """Distances of infrared queries equal those of the released code, up to float16."""
    data = golden("rerank")
    distance = cmrr(data["infrared"], data["visible"], k=8)
    assert distance.dtype == np.float32
    close(distance, data["cmrr_infrared_query_k8_eta01"], rtol=0, atol=5e-3)


def test_cmfp_is_the_distance_of_the_released_features(golden):
    """CMFP's distances are those between the features propagated by the released code."""
    data = golden("cmfp")
    visible, infrared = np.split(data["propagated"], [len(data["visible"])])
    distance = cmfp(data["visible"], data["infrared"], k=int(data["k"]))
    assert distance.dtype == np.float32
    close(distance, squared(visible, infrared), atol=1e-4)
    turned = cmfp(data["infrared"], data["visible"], k=int(data["k"]))
    close(turned, distance.T, atol=1e-4)


@pytest.mark.parametrize(
    ("num_queries", "num_images", "k1", "k2"),
    [(7, 12, 4, 1), (12, 7, 3, 2), (9, 9, 5, 4), (6, 5, 30, 9), (1, 6, 2, 2), (4, 1, 3, 3)],
)
def test_aim_matches_a_loop(rng, num_queries, num_images, k1, k2):
    """Truncating, averaging and scaling follow METHOD 4.3, also with fewer than k1 images."""
    query, gallery = two_modalities(rng, num_queries, num_images)
    close(aim(query, gallery, k1=k1, k2=k2), slow_aim(query, gallery, k1, k2))


@pytest.mark.parametrize(
    ("num_queries", "num_images", "k"),
    [(12, 15, 3), (24, 17, 8), (13, 29, 5), (4, 3, 8), (9, 5, 1), (1, 6, 3), (5, 1, 2), (1, 1, 1)],
)
@pytest.mark.parametrize("eta", [0.1, 0.6])
def test_cmrr_matches_a_loop_over_sets(rng, num_queries, num_images, k, eta):
    """The sparse algebra equals the sets of METHOD 4.3, also with fewer images than k on a side."""
    query, gallery = two_modalities(rng, num_queries, num_images)
    actual = cmrr(query, gallery, k=k, eta=eta)
    close(actual, slow_cmrr(query, gallery, k, eta), rtol=0, atol=1.5e-3)


def test_aim_keeps_ties():
    """Entries equal to the k1-th are kept as well: copies of an image have the same distance."""
    gallery = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]
    query = np.array([[0.8, 0.6, 0]], np.float32)
    # A is (0.8, 0.6, 0.6, 0) of length sqrt(1.36); B's rows are equal to the copies.
    shared = np.array([0.8, 0.6 * np.sqrt(2), 0.6 * np.sqrt(2), 0]) / np.sqrt(1.36)
    close(aim(query, gallery, k1=2, k2=1)[0], -shared - np.array([0.8, 0.6, 0.6, 0]))


def test_aim_treats_each_query_independently(rng):
    """Another query changes nothing: AIM depends on the gallery only."""
    query, gallery = two_modalities(rng, 10, 12)
    together = aim(query, gallery, k1=4, k2=2)
    close(aim(query[3:4], gallery, k1=4, k2=2), together[3:4])


def test_cmrr_without_reranking_is_the_plain_distance(rng):
    """At eta 1 squared Euclidean distances remain; at eta 0 Jaccard distances in [0, 1]."""
    query, gallery = two_modalities(rng, 14, 11)
    close(cmrr(query, gallery, k=4, eta=1), squared(query, gallery))
    jaccard = cmrr(query, gallery, k=4, eta=0)
    assert jaccard.min() >= 0 and jaccard.max() <= 1
    assert jaccard.min() < 0.5, "no pair shares its neighbors"
    assert (jaccard == 1).any(), "no pair shares no neighbor"


@pytest.mark.parametrize("num_images", [1, 5])
def test_copies_of_one_image_stay_close(rng, num_images):
    """If all images are equal, distances within a modality are 0; nothing is divided by them."""
    image = unit_rows(rng, 1, 6)
    query, gallery = np.repeat(image, num_images, axis=0), np.repeat(image, 3, axis=0)
    assert np.abs(cmfp(query, gallery, k=4)).max() < 1e-5
    close(aim(query, gallery, k1=4, k2=2), np.full((num_images, 3), -2.0))
    assert np.isfinite(cmrr(query, gallery, k=4)).all()


def test_distances_of_equal_images_are_not_negative(rng):
    """Rounding never makes a squared distance negative."""
    images = unit_rows(rng, 200, 64)
    assert cmfp(images, images, k=3).min() >= 0
    assert cmrr(images, images, k=3, eta=1).min() >= 0


def test_reranking_improves_retrieval(rng):
    """On people seen by two noisy cameras, each re-ranking has a higher mAP than the features."""
    both = groups(rng, 20, 12, 16, 1.1)
    is_query = np.arange(len(both)) % 2 == 0
    identity = np.arange(len(both)) // 12
    query, gallery = both[is_query], both[~is_query]

    def score(distance: np.ndarray) -> float:
        return retrieval_metrics(distance, identity[is_query], identity[~is_query]).map

    plain = score(squared(query, gallery))
    assert score(cmfp(query, gallery, k=6)) > plain + 0.02
    assert score(aim(query, gallery, k1=6, k2=2)) > plain + 0.02
    assert score(cmrr(query, gallery, k=6)) > plain + 0.02
