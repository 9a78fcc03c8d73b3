"""Open-set identification, against plain loops and numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salcr.datasets.protocol import Annotations, sample_gallery
from salcr.datasets.readers import READERS
from salcr.evaluation import retrieval
from salcr.evaluation.metrics import retrieval_metrics
from salcr.evaluation.open_set import (
    evaluate_open_set,
    format_open_set,
    half_of_people,
    identification_rates,
)
from tests.support.helpers import unit_rows

NOBODY = np.array([], dtype=np.int64)


def slow_rates(
    cosine: np.ndarray, query: list[int], gallery: list[int], removed: set[int], excluded: Any
) -> dict[str, Any]:
    """Return the rates by a loop over queries and, in it, one over the gallery."""
    absent: list[float] = []
    present: list[tuple[float, bool]] = []
    for q, person in enumerate(query):
        best, is_enrolled, has_match = -1, False, False
        for g, other in enumerate(gallery):
            if other in removed:
                continue
            is_enrolled |= other == person
            if excluded[q][g]:
                continue
            has_match |= other == person
            if best < 0 or cosine[q, g] > cosine[q, best]:
                best = g
        if best >= 0 and not is_enrolled:
            absent.append(float(cosine[q, best]))
        elif has_match:
            present.append((float(cosine[q, best]), gallery[best] == person))
    rates = []
    for rate, needed in ((0.1, 100), (0.01, 1000), (0.001, 10_000)):
        threshold = share = None
        if len(absent) >= needed and present:
            allowed = len(absent) // (needed // 10)
            threshold = min(
                score for score in set(absent) if sum(one > score for one in absent) <= allowed
            )
            share = sum(right for score, right in present if score > threshold) / len(present)
        rates.append((rate, threshold, share))
    return {"present": len(present), "absent": len(absent), "rates": rates}


def plain(scores: dict[str, Any]) -> dict[str, Any]:
    """Return scores in the form of the slow ones."""
    return {**scores, "rates": [tuple(one.values()) for one in scores["rates"]]}


@given(
    seed=st.integers(0, 10**6),
    share_excluded=st.sampled_from([0.0, 0.3, 0.9]),
    levels=st.sampled_from([4, 10**6]),
    size=st.sampled_from([40, 260]),
)
def test_rates_are_those_of_plain_loops(
    seed: int, share_excluded: float, levels: int, size: int
) -> None:
    """With ties, exclusions, people of one side only, and queries without any gallery image."""
    rng = np.random.default_rng(seed)
    query, gallery = rng.integers(0, 9, size), rng.integers(1, 11, 14)
    cosine = (rng.integers(-levels, levels, (size, 14)) / levels).astype(np.float32)
    excluded, removed = rng.random((size, 14)) < share_excluded, rng.permutation(10)[:5]
    expected = slow_rates(cosine, query.tolist(), gallery.tolist(), {*removed.tolist()}, excluded)
    scores = identification_rates(cosine, query, gallery, removed=removed, excluded=excluded)
    assert plain(scores) == expected


def test_a_rate_of_one_percent_is_that_of_plain_loops(rng: np.random.Generator) -> None:
    """2,400 queries, of which about half are absent: two of the three rates have a threshold."""
    query, gallery = rng.integers(0, 10, 2400), np.arange(20) % 10
    cosine = rng.normal(size=(2400, 20)).astype(np.float32) + (query[:, None] == gallery)
    removed = half_of_people(query, gallery)
    none = np.zeros(cosine.shape, dtype=bool)
    expected = slow_rates(cosine, query.tolist(), gallery.tolist(), {*removed.tolist()}, none)
    scores = identification_rates(cosine, query, gallery, removed=removed)
    assert plain(scores) == expected
    shares = [share for _, _, share in expected["rates"]]
    assert 0 < shares[1] < shares[0] < 1 and shares[2] is None


def test_by_hand() -> None:
    """Of 100 absent queries at 0.01 .. 1.00, ten exceed 0.90, which is the threshold of 0.1.

    Of the four present queries one is found: the others are at the threshold, below it, and nearest
    to another person.
    """
    absent = np.stack([np.arange(1, 101) / 100, np.full(100, -1.0)], axis=1)
    present = np.array([[0.95, 0.2], [0.90, 0.2], [0.5, 0.2], [0.2, 0.95]])
    cosine, query = np.concatenate([absent, present]), np.array([7] * 100 + [1] * 4)
    scores = identification_rates(cosine, query, np.array([1, 2]), removed=NOBODY)
    assert (scores["present"], scores["absent"]) == (4, 100)
    assert plain(scores)["rates"] == [(0.1, 0.9, 0.25), (0.01, None, None), (0.001, None, None)]
    text = "4 present and 100 absent queries, rank-1 25.00% at FAR 0.1, too few queries at FAR 0.01"
    assert format_open_set([scores]).startswith(text)
    # A person whose images are removed is absent, and no answer either.
    scores = identification_rates(cosine, query, np.array([1, 2]), removed=np.array([2]))
    assert scores["rates"][0]["identification_rate"] == 0.25 and scores["absent"] == 100
    scores = identification_rates(cosine, query, np.array([1, 2]), removed=np.array([1]))
    assert (scores["present"], scores["absent"]) == (0, 104)


@pytest.mark.parametrize(("num_absent", "num_present"), [(99, 1), (100, 0), (0, 1)])
def test_too_few_queries_give_no_rate(num_absent: int, num_present: int) -> None:
    """Fewer than 100 absent queries, or no present one: None and not 0, nor an error."""
    query = np.array([5] * num_absent + [1] * num_present)
    cosine = np.full((len(query), 1), 0.5)
    scores = identification_rates(cosine, query, np.array([1]), removed=NOBODY)
    assert (scores["present"], scores["absent"]) == (num_present, num_absent)
    assert {share for _, *one in plain(scores)["rates"] for share in one} == {None}
    assert "too few queries at FAR 0.1," in format_open_set([scores])


def test_equal_cosines_go_to_the_smaller_gallery_index() -> None:
    """As in the closed set: the order of the gallery decides who is found."""
    query = np.array([9] * 100 + [1])
    cosine = np.concatenate([np.zeros((100, 2)), np.ones((1, 2))])
    for gallery, share in (([1, 2], 1.0), ([2, 1], 0.0)):
        scores = identification_rates(cosine, query, np.array(gallery), removed=NOBODY)
        assert scores["rates"][0]["identification_rate"] == share


def test_below_all_scores_it_is_the_rank_1_of_the_closed_set(rng: np.random.Generator) -> None:
    """If absent queries resemble nobody, present ones have the rank-1 of the retrieval metrics."""
    gallery, strangers = np.arange(24) % 8, np.full(100, 99)
    query = rng.integers(0, 8, 300)
    cosine = rng.random((300, 24)) + 0.3 * (query[:, None] == gallery)
    excluded = rng.random((300, 24)) < 0.4
    expected = retrieval_metrics(2 - 2 * cosine, query, gallery, excluded=excluded)
    scores = identification_rates(
        np.concatenate([cosine, np.full((100, 24), -1.0)]),
        np.concatenate([query, strangers]),
        gallery,
        removed=NOBODY,
        excluded=np.concatenate([excluded, np.zeros((100, 24), dtype=bool)]),
    )
    assert scores["rates"][0]["identification_rate"] == pytest.approx(expected.cmc[0], rel=1e-12)


def test_half_of_the_people_is_chosen_by_hash() -> None:
    """The first three of seven by SHA-256 (as sha256sum has them), in any order of the images."""
    people = np.arange(1, 8)
    assert set(half_of_people(people, people).tolist()) == {6, 4, 5}
    repeated = np.repeat(people[::-1], 3)
    others = np.concatenate([repeated, [8, 9, 10, 11]])  # who are infrared only
    assert set(half_of_people(repeated, others).tolist()) == {6, 4, 5}


def is_excluded(layout: str, query: tuple[int, int], image: tuple[int, int]) -> bool:
    """Tell whether a protocol leaves an image out for a query; each an identity and a camera."""
    if layout == "sysu":
        return query[1] == 3 and image[1] == 2
    return layout == "llcm" and query == image


@pytest.mark.parametrize("layout", ["regdb", "sysu", "llcm"])
def test_galleries_and_exclusions_are_those_of_the_protocol(
    layout: str, rng: np.random.Generator
) -> None:
    """Each random gallery loses the same half of the people, and keeps its other images."""
    person = {m: np.repeat(np.arange(20), 10) for m in ("visible", "infrared")}
    cameras = {"visible": [1, 2, 4, 5], "infrared": [3, 6, 1]}
    test = retrieval.TestSet(
        {m: unit_rows(rng, 200, 8) for m in person},
        {m: Annotations(person[m], rng.choice(cameras[m], 200)) for m in person},
    )
    removed = set(half_of_people(*person.values()).tolist())
    assert len(removed) == 10
    for setting in READERS[layout].settings:
        query, images = test.annotations[setting.query], test.annotations[setting.gallery]
        queries = list(zip(*query, strict=True))
        galleries = evaluate_open_set(setting, test)
        assert len(galleries) == setting.draws
        for draw, scores in enumerate(galleries):
            rows = sample_gallery(setting, images, draw)
            gallery = list(zip(*images.at(rows), strict=True))
            hidden = [[is_excluded(layout, one, other) for other in gallery] for one in queries]
            cosine = test.features[setting.query] @ test.features[setting.gallery][rows].T
            names = images.identity[rows].tolist()
            expected = slow_rates(cosine, query.identity.tolist(), names, removed, hidden)
            assert plain(scores) == expected
            assert scores["absent"] == 100 and expected["rates"][0][2] is not None
