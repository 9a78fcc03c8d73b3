"""PGM, MBCCM and OTLA, against the released code and a search through all assignments."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salcr.data.samplers import shared_labels
from salcr.pseudo_labels.association import associate
from salcr.pseudo_labels.matching import (
    match_progressively,
    match_with_repetition,
    transport_to_clusters,
)
from salcr.pseudo_labels.sinkhorn import sinkhorn
from salcr.types import Integers, PseudoLabels
from tests.support.helpers import mean_directions, unit_rows

SIZES = [(4, 4), (5, 3), (3, 5), (7, 2), (2, 7), (6, 1), (1, 6), (1, 1), (6, 4), (4, 6), (2, 6)]


def slow_rounds(cost: np.ndarray) -> tuple[list[int], list[int]]:
    """Return the PGM labels (METHOD 5) of the [K, L] matrix's rows and columns, K >= L."""
    num_rows, num_columns = cost.shape
    partners: dict[int, int] = {}
    first: dict[int, int] = {}
    while len(partners) < num_rows:
        left = [row for row in range(num_rows) if row not in partners]
        size = max(len(left), num_columns)
        square = np.zeros((size, size))
        square[: len(left), :num_columns] = cost[left]
        best = min(permutations(range(size)), key=lambda p: square[range(size), p].sum())
        matched = {r: c for r, c in zip(left, best, strict=False) if c < num_columns}
        first = first or {column: row for row, column in matched.items()}
        partners |= matched
    return [partners[row] for row in range(num_rows)], [first[c] for c in range(num_columns)]


def slow_copies(cost: np.ndarray, copies: int) -> list[int]:
    """Return each row's column at minimum total cost, using a column at most `copies` times."""
    num_rows, num_columns = cost.shape
    allowed = (
        chosen
        for chosen in product(range(num_columns), repeat=num_rows)
        if max(chosen.count(c) for c in chosen) <= copies
    )
    return list(min(allowed, key=lambda chosen: cost[range(num_rows), list(chosen)].sum()))


def squared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return pairwise squared Euclidean distances."""
    return np.array([[float(((a - b) ** 2).sum()) for b in second] for a in first])


def run(
    data: dict[str, np.ndarray], method: str, *, cmfp_k: int | None = None
) -> PseudoLabels[Integers]:
    """Return the association of the inputs in a golden file."""
    inputs = [data[f"{m}{kind}"] for kind in ("", "_cluster") for m in ("visible", "infrared")]
    return associate(*inputs, cmfp_k=cmfp_k, strength=5.0, relabel_own_modality=True, method=method)


@pytest.mark.parametrize("role", ["visible_to_infrared", "infrared_to_visible"])
@pytest.mark.parametrize("method", ["pgm", "mbccm"])
def test_matchings_match_the_released_code(golden, method, role):
    """Cross labels of PGM and MBCCM equal those of the released code; own labels are DBSCAN's."""
    data = golden("other_associations")
    association = run(data, method)
    np.testing.assert_array_equal(getattr(association, role), data[f"{method}_{role}"])
    np.testing.assert_array_equal(association.visible, data["visible_cluster"])
    np.testing.assert_array_equal(association.infrared, data["infrared_cluster"])


def test_otla_is_half_of_the_transport_of_the_released_code(golden):
    """OTLA's infrared images get transported labels without CMFP; visible images get none."""
    data = golden("association")
    association = run(data, "otla")
    np.testing.assert_array_equal(
        association.infrared_to_visible, data["plain_infrared_to_visible"]
    )
    assert set(association.visible_to_infrared) == {-1}
    np.testing.assert_array_equal(association.visible, data["visible_cluster"])
    np.testing.assert_array_equal(association.infrared, data["infrared_cluster"])
    assert len(shared_labels(association)[0]) > 0 and len(shared_labels(association)[1]) == 0


def test_dagl_is_the_default(golden):
    """Without a method the labels are DAGL's; an unknown method is an error."""
    data = golden("association")
    inputs = [data[f"{m}{kind}"] for kind in ("", "_cluster") for m in ("visible", "infrared")]
    default = associate(*inputs, cmfp_k=8, strength=5.0, relabel_own_modality=True)
    for mine, named in zip(default, run(data, "dagl", cmfp_k=8), strict=True):
        np.testing.assert_array_equal(mine, named)
    np.testing.assert_array_equal(default.infrared_to_visible, data["cmfp_infrared_to_visible"])
    with pytest.raises(ValueError, match="'PGM' is not an association"):
        run(data, "PGM")


@pytest.mark.parametrize("method", ["pgm", "mbccm", "otla"])
def test_other_associations_do_not_propagate(golden, method):
    """The switches of DAGL do not affect the others, on data where CMFP changes DAGL's labels."""
    data = golden("other_associations")
    for plain, propagated in zip(run(data, method), run(data, method, cmfp_k=8), strict=True):
        np.testing.assert_array_equal(plain, propagated)
    dagl = [run(data, "dagl", cmfp_k=k).infrared_to_visible for k in (None, 8)]
    assert (dagl[0] != dagl[1]).any()


@pytest.mark.parametrize(("num_visible", "num_infrared"), SIZES)
def test_rounds_match_a_search(rng, num_visible, num_infrared):
    """PGM uses the best of all padded assignments in every round, whichever side is larger."""
    for _ in range(5):
        visible, infrared = unit_rows(rng, num_visible, 3), unit_rows(rng, num_infrared, 3)
        cost = np.exp(-(visible.astype(np.float64) @ infrared.T))
        matching = match_progressively(visible, infrared)
        swapped = num_visible < num_infrared
        rows, columns = slow_rounds(cost.T if swapped else cost)
        assert matching.infrared_of_visible.tolist() == (columns if swapped else rows)
        assert matching.visible_of_infrared.tolist() == (rows if swapped else columns)


@pytest.mark.parametrize(("num_visible", "num_infrared"), SIZES)
def test_repetition_matches_a_search(rng, num_visible, num_infrared):
    """MBCCM is the best assignment with K // L + 1 infrared copies; backward, with just enough."""
    for _ in range(5):
        visible, infrared = unit_rows(rng, num_visible, 3), unit_rows(rng, num_infrared, 3)
        cost = squared(visible, infrared)
        matching = match_with_repetition(visible, infrared)
        copies = num_visible // num_infrared + 1
        assert matching.infrared_of_visible.tolist() == slow_copies(cost, copies)
        enough = next(n for n in range(1, 10) if n * num_visible >= num_infrared)
        assert matching.visible_of_infrared.tolist() == slow_copies(cost.T, enough)


def test_progressive_rounds_by_hand():
    """Five visible clusters and two infrared ones: three rounds, the first partner counts."""
    degrees = {"visible": [0, 10, 25, 90, 80], "infrared": [1, 88]}
    visible, infrared = (
        np.stack([np.cos(np.deg2rad(d)), np.sin(np.deg2rad(d))], axis=1).astype(np.float32)
        for d in degrees.values()
    )
    matching = match_progressively(visible, infrared)
    assert matching.visible_of_infrared.tolist() == [0, 3]
    # Round 2 gives 10 and 80 degrees their nearest; round 3 gives 25 degrees, left over, its own.
    assert matching.infrared_of_visible.tolist() == [0, 0, 0, 1, 1]


def test_progressive_rounds_compare_exponentials():
    """The sum of exp(-cos) decides, even where the sum of cosines prefers another assignment."""
    cosine = np.array([[0.8, 0.48], [0.48, 0.2]])
    visible = np.eye(4, dtype=np.float32)[:2]
    rest = np.diag(np.sqrt(1 - (cosine**2).sum(axis=0)))
    infrared = np.hstack([cosine.T, rest]).astype(np.float32)
    assert cosine.trace() > 2 * 0.48 and np.exp(-cosine).trace() > 2 * np.exp(-0.48)
    assert match_progressively(visible, infrared).infrared_of_visible.tolist() == [1, 0]


@pytest.mark.parametrize("method", ["pgm", "mbccm"])
def test_images_follow_their_cluster(rng, method):
    """Images get the partner of their cluster, matched by centroids scaled to length 1."""
    for _ in range(20):
        visible, infrared = unit_rows(rng, 15, 3), unit_rows(rng, 12, 3)
        visible_cluster, infrared_cluster = rng.permutation(15) % 5, rng.permutation(12) % 4
        association = associate(
            visible,
            infrared,
            visible_cluster,
            infrared_cluster,
            cmfp_k=None,
            strength=5,
            relabel_own_modality=False,
            method=method,
        )
        visible_mean = mean_directions(visible, visible_cluster)
        infrared_mean = mean_directions(infrared, infrared_cluster)
        if method == "pgm":
            rows, columns = slow_rounds(np.exp(-(visible_mean @ infrared_mean.T)))
        else:
            cost = squared(visible_mean, infrared_mean)
            rows, columns = slow_copies(cost, 2), slow_copies(cost.T, 1)
        assert association.visible_to_infrared.tolist() == [rows[c] for c in visible_cluster]
        assert association.infrared_to_visible.tolist() == [columns[c] for c in infrared_cluster]


def test_otla_takes_the_means_as_they_are(rng):
    """OTLA's costs use unnormalized means, and its strength is the caller's."""
    visible, infrared = unit_rows(rng, 12, 3), unit_rows(rng, 200, 3)
    cluster = rng.permutation(12) % 4
    means = np.stack([visible[cluster == c].mean(axis=0) for c in range(4)])
    expected = sinkhorn(squared(infrared, means), strength=20).argmax(axis=1).tolist()
    other_means = sinkhorn(squared(infrared, mean_directions(visible, cluster)), strength=20)
    other_strength = sinkhorn(squared(infrared, means), strength=5)
    assert all(plan.argmax(axis=1).tolist() != expected for plan in (other_means, other_strength))
    association = associate(
        visible,
        infrared,
        cluster,
        np.zeros(200, np.int64),
        cmfp_k=None,
        strength=20,
        relabel_own_modality=False,
        method="otla",
    )
    assert association.infrared_to_visible.tolist() == expected


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40))
def test_every_cluster_gets_a_partner(seed, num_visible, num_infrared):
    """For any sizes, each cluster has one partner, and none is used more than its share."""
    rng = np.random.default_rng(seed)
    visible, infrared = unit_rows(rng, num_visible, 4), unit_rows(rng, num_infrared, 4)
    for match in (match_progressively, match_with_repetition):
        for labels, (mine, other) in zip(
            match(visible, infrared),
            [(num_visible, num_infrared), (num_infrared, num_visible)],
            strict=True,
        ):
            counts = np.bincount(labels, minlength=other)
            assert len(labels) == mine and len(counts) == other
            assert counts.max() <= mine // other + 1


@pytest.mark.parametrize("match", [match_progressively, match_with_repetition])
def test_a_side_without_clusters_is_an_error(rng, match):
    """If one side has no cluster, there is no partner: an error, not an endless loop."""
    some, none = unit_rows(rng, 3, 4), np.empty((0, 4), np.float32)
    for visible, infrared in ((some, none), (none, some)):
        with pytest.raises(ValueError, match="no match"):
            match(visible, infrared)


def test_transport_follows_squared_distances(rng):
    """Images get the largest entry of the plan over squared distances, with the given strength."""
    features, means = unit_rows(rng, 12, 3), 0.5 * unit_rows(rng, 3, 3) + 0.2
    means = means.astype(np.float32)
    labels = {s: sinkhorn(squared(features, means), strength=s).argmax(axis=1) for s in (0.1, 50)}
    assert (labels[0.1] != labels[50]).any()
    for strength, expected in labels.items():
        assigned = transport_to_clusters(features, means, strength=strength)
        assert assigned.tolist() == expected.tolist()
