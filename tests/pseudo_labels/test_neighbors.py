"""The exact neighbor search, against sorting all inner products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salcr.pseudo_labels import neighbors
from salcr.pseudo_labels.neighbors import (
    Neighbors,
    nearest,
    nearest_between,
    nearest_within,
    nearest_within_subset,
)
from tests.support.helpers import close, groups, unit_rows


def signs(rng: np.random.Generator, num_rows: int, width: int = 16) -> np.ndarray:
    """Return rows of +-1: their products are a few exact integers, with many ties."""
    return rng.choice(np.array([-1, 1], np.float32), (num_rows, width))


def by_sorting(queries: np.ndarray, database: np.ndarray, k: int) -> Neighbors:
    """Return the nearest rows by a stable sort, which puts the smaller index first."""
    products = queries.astype(np.float64) @ database.T.astype(np.float64)
    indices = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return Neighbors(indices, np.take_along_axis(products, indices, axis=1))


def same(actual: Neighbors, expected: Neighbors) -> None:
    """Assert equal indices, and equal similarities up to rounding."""
    assert actual.indices.dtype == np.int64 and actual.similarities.dtype == np.float32
    np.testing.assert_array_equal(actual.indices, expected.indices)
    close(actual.similarities, expected.similarities)


@pytest.mark.parametrize("elements", [5_000, 30_000, 2**24])
@pytest.mark.parametrize(("num_rows", "num_others", "k"), [(611, 275, 7), (40, 300, 64), (9, 5, 9)])
def test_ties_go_to_the_smaller_index(
    monkeypatch, rng, device, elements, num_rows, num_others, k
) -> None:
    """All searches equal a stable sort if many products are equal, in blocks of any size."""
    monkeypatch.setattr(neighbors, "_BLOCK_ELEMENTS", elements)
    rows, others = signs(rng, num_rows), signs(rng, num_others)
    here, there = (torch.from_numpy(side).to(device) for side in (rows, others))
    same(nearest(here, there, k), by_sorting(rows, others, k))
    same(nearest_within(here, k), by_sorting(rows, rows, k))
    forth, back = nearest_between(here, there, k)
    same(forth, by_sorting(rows, others, k))
    same(back, by_sorting(others, rows, k))


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 60), st.integers(1, 70))
def test_searches_equal_a_sort(seed, num_rows, num_others, k) -> None:
    """For any number of random unit rows, arrays give the k largest products, largest first."""
    rng = np.random.default_rng(seed)
    rows, others = unit_rows(rng, num_rows, 5), unit_rows(rng, num_others, 5)
    same(nearest(rows, others, k), by_sorting(rows, others, k))
    same(nearest_within(rows, k), by_sorting(rows, rows, k))
    for result, sides in zip(
        nearest_between(rows, others, k), ((rows, others), (others, rows)), strict=True
    ):
        same(result, by_sorting(*sides, k))


@pytest.mark.parametrize("elements", [50, 2**24])
def test_the_search_of_the_gpu_is_the_same(monkeypatch, rng, device, elements) -> None:
    """Keys of product and index order like a stable sort, including negative products and ties."""
    monkeypatch.setattr(neighbors, "_BLOCK_ELEMENTS", elements)
    for make in (signs, unit_rows):
        rows, others = make(rng, 23, 8), make(rng, 17, 8)
        here, there = (torch.from_numpy(side).to(device) for side in (rows, others))
        expected = by_sorting(rows, others, 17)
        assert expected.similarities.min() < 0 < expected.similarities.max()
        for k in (1, 6, 17, 99):
            first = Neighbors(*(side[:, :k] for side in expected))
            same(neighbors._nearest_by_keys(here, there, k), first)


@pytest.mark.parametrize("spare", [0, 3, 30])
@pytest.mark.parametrize("share", [0.1, 0.6, 1])
def test_neighbors_among_some_are_those_of_a_new_search(rng, device, spare, share) -> None:
    """Whether many neighbors were dropped or none, the k nearest of the kept ones come back."""
    features = groups(rng, 12, 7, 10, 0.7)
    kept = np.sort(rng.permutation(84)[: int(84 * share)])
    rest = torch.from_numpy(features[kept]).to(device)
    known = nearest_within(features, 6 + spare)
    same(nearest_within_subset(known, rest, kept, 6), by_sorting(features[kept], features[kept], 6))


def test_few_known_neighbors_are_searched_again(rng) -> None:
    """Fewer known neighbors than requested, or no image kept, do not cause a failure."""
    features = unit_rows(rng, 30, 5)
    kept = np.arange(3, 30)
    known = nearest_within(features, 2)
    same(
        nearest_within_subset(known, features[3:], kept, 9),
        by_sorting(features[3:], features[3:], 9),
    )
    none = nearest_within_subset(known, features[:0], kept[:0], 9)
    assert none.indices.shape == none.similarities.shape == (0, 0)


def test_copies_are_ordered_by_their_index() -> None:
    """Among equal images, each has the first ones as its neighbors, all with equal similarity."""
    copies = np.tile(np.full(16, 0.25, np.float32), (300, 1))
    neighbors = nearest_within(copies, 30)
    np.testing.assert_array_equal(neighbors.indices, np.tile(np.arange(30), (300, 1)))
    np.testing.assert_array_equal(neighbors.similarities, np.ones((300, 30), np.float32))


@pytest.mark.parametrize(("num_rows", "num_others"), [(0, 0), (0, 4), (4, 0)])
def test_no_images_have_no_neighbors(num_rows, num_others) -> None:
    """An empty side has no neighbors and is not a neighbor of any row."""
    rows, others = np.zeros((num_rows, 3), np.float32), np.zeros((num_others, 3), np.float32)
    width = min(num_others, 2)
    assert nearest(rows, others, 2).indices.shape == (num_rows, width)
    forth, back = nearest_between(rows, others, 2)
    assert forth.indices.shape == (num_rows, width)
    assert back.similarities.shape == (num_others, min(num_rows, 2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(rng, value) -> None:
    """One non-finite number on either side stops every search, with an explanation."""
    good, bad = unit_rows(rng, 6, 4), unit_rows(rng, 6, 4)
    bad[3, 1] = value
    for search in (
        lambda: nearest(good, bad, 2),
        lambda: nearest(bad, good, 2),
        lambda: nearest_within(bad, 2),
        lambda: nearest_between(good, bad, 2),
    ):
        with pytest.raises(ValueError, match="features must be finite"):
            search()


def test_zero_neighbors_are_refused(rng) -> None:
    """Requesting fewer than one neighbor is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least 1, not 0"):
        nearest_within(unit_rows(rng, 6, 4), 0)


def test_read_only_and_strided_arrays_are_searched(rng) -> None:
    """Arrays that torch does not accept as they are give the same neighbors."""
    wide = unit_rows(rng, 20, 8)
    wide.flags.writeable = False
    same(nearest_within(wide[::2, ::2], 3), by_sorting(wide[::2, ::2], wide[::2, ::2], 3))
