"""Batches: which labels they contain, how many of each, and whether pairs are aligned."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salcr.data.samplers import sample_cluster_batch, sample_pair_batch, shared_labels
from salcr.types import Integers, PseudoLabels


def labels_of(sizes: list[int], outliers: int, rng: np.random.Generator) -> np.ndarray:
    """Return shuffled labels with clusters of these sizes and some outliers."""
    labels = np.repeat(np.arange(-1, len(sizes)), [outliers, *sizes])
    return rng.permutation(labels)


@given(
    st.integers(0, 10**6),
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.integers(1, 10),
    st.integers(1, 8),
)
def test_cluster_batch_has_the_requested_shape(seed, sizes, clusters, instances):
    """Distinct clusters, `instances` of each in a row, no outliers, repeats only where needed."""
    rng = np.random.default_rng(seed)
    labels = labels_of(sizes, 5, rng)
    batch = sample_cluster_batch(labels, clusters=clusters, instances=instances, rng=rng)
    blocks = batch.reshape(min(clusters, len(sizes)), instances)
    of_blocks = labels[blocks]
    assert (of_blocks == of_blocks[:, :1]).all() and (of_blocks >= 0).all()
    assert len(set(of_blocks[:, 0])) == len(blocks)
    for block, label in zip(blocks, of_blocks[:, 0], strict=True):
        assert sizes[label] <= instances or len(set(block)) == instances


@pytest.mark.parametrize(("size", "repeats"), [(12, True), (13, False)])
def test_small_clusters_are_sampled_with_replacement(size, repeats):
    """METHOD 2.5: with replacement where a cluster has at most as many images as requested."""
    draws = [
        sample_cluster_batch(
            np.zeros(size, np.int64), clusters=1, instances=12, rng=np.random.default_rng(seed)
        )
        for seed in range(20)
    ]
    assert any(len(set(draw)) < 12 for draw in draws) == repeats
    assert set(np.concatenate(draws)) == set(range(size)), "every image has its turn"


def test_every_cluster_is_sampled_equally_often(rng):
    """Over many batches, clusters occur equally often, whatever their size."""
    labels = labels_of([2, 40, 3, 5], 7, rng)
    seen = Counter()
    for _ in range(400):
        batch = sample_cluster_batch(labels, clusters=2, instances=3, rng=rng)
        seen.update(labels[batch[::3]].tolist())
    assert set(seen) == {0, 1, 2, 3} and sum(seen.values()) == 800
    assert max(seen.values()) < 250 and min(seen.values()) > 150


def random_association(rng: np.random.Generator) -> PseudoLabels[Integers]:
    """Return labels of 60 visible and 50 infrared images; some labels lack a modality."""

    def draw(size: int, low: int, high: int, outlier: np.ndarray) -> np.ndarray:
        return np.where(outlier, -1, rng.integers(low, high, size))

    no_visible, no_infrared = rng.random(60) < 0.2, rng.random(50) < 0.2
    return PseudoLabels(
        visible=draw(60, 0, 8, no_visible),
        visible_to_infrared=draw(60, 0, 5, no_visible),
        infrared=draw(50, 2, 9, no_infrared),
        infrared_to_visible=draw(50, 3, 12, no_infrared),
    )


def test_shared_labels_are_carried_by_both_modalities(rng):
    """A label is shared only if an image of each modality carries it; -1 does not count."""
    labels = random_association(rng)
    visible, infrared = shared_labels(labels)
    assert visible.tolist() == [
        n for n in range(20) if n in labels.visible and n in labels.infrared_to_visible
    ]
    assert infrared.tolist() == [
        n for n in range(20) if n in labels.infrared and n in labels.visible_to_infrared
    ]
    assert 0 < len(visible) < 8 and 0 < len(infrared) < 7


@given(st.integers(0, 10**6), st.sampled_from([2, 4, 6, 30]), st.integers(1, 9))
def test_pairs_are_aligned_and_balanced(seed, num_labels, instances):
    """Half of the labels come from each space, and pair j shares its label in that space."""
    rng = np.random.default_rng(seed)
    labels = random_association(rng)
    shared = shared_labels(labels)
    batch = sample_pair_batch(labels, shared, num_labels=num_labels, instances=instances, rng=rng)
    assert len(batch.visible) == len(batch.infrared)
    sizes = [min(num_labels // 2, len(space)) * instances for space in shared]
    assert len(batch.visible) == sum(sizes)
    spaces = (
        (slice(0, sizes[0]), labels.visible, labels.infrared_to_visible),
        (slice(sizes[0], None), labels.visible_to_infrared, labels.infrared),
    )
    for rows, of_visible, of_infrared in spaces:
        names = of_visible[batch.visible[rows]]
        assert (names >= 0).all()
        np.testing.assert_array_equal(of_infrared[batch.infrared[rows]], names)
        assert all(count == instances for count in Counter(names.tolist()).values())
        for name in set(names.tolist()):
            for side, carriers in ((batch.visible, of_visible), (batch.infrared, of_infrared)):
                chosen = side[rows][names == name]
                if (carriers == name).sum() > instances:
                    assert len(set(chosen)) == instances


def test_a_space_without_shared_labels_leaves_its_half_out(rng):
    """If the modalities share labels in one space only, the batch consists of that half."""
    zeros, ones = np.zeros(6, np.int64), np.ones(6, np.int64)
    labels = PseudoLabels(
        visible=zeros, visible_to_infrared=zeros, infrared=ones, infrared_to_visible=zeros
    )
    shared = shared_labels(labels)
    assert [space.tolist() for space in shared] == [[0], []]
    batch = sample_pair_batch(labels, shared, num_labels=8, instances=4, rng=rng)
    assert len(batch.visible) == len(batch.infrared) == 4


def test_without_shared_infrared_labels_all_are_visible(rng):
    """OTLA gives visible images no infrared label: all labels of a batch are visible ones."""
    labels = random_association(rng)._replace(visible_to_infrared=np.full(60, -1))
    shared = shared_labels(labels)
    assert len(shared[0]) >= 4 and len(shared[1]) == 0
    batch = sample_pair_batch(labels, shared, num_labels=4, instances=3, rng=rng)
    names = labels.visible[batch.visible]
    np.testing.assert_array_equal(labels.infrared_to_visible[batch.infrared], names)
    assert sorted(Counter(names.tolist()).values()) == [3] * 4


@given(st.integers(0, 10**6))
def test_sampled_images_have_labels_in_both_spaces(seed):
    """A pair of either space has labels in the other one as well: outliers are not sampled."""
    rng = np.random.default_rng(seed)
    labels = random_association(rng)
    batch = sample_pair_batch(labels, shared_labels(labels), num_labels=6, instances=5, rng=rng)
    assert (labels.visible < 0).any() and (labels.infrared < 0).any()
    for side in (labels.visible, labels.visible_to_infrared):
        assert (side[batch.visible] >= 0).all()
    for side in (labels.infrared, labels.infrared_to_visible):
        assert (side[batch.infrared] >= 0).all()


def test_every_shared_label_is_sampled_equally_often(rng):
    """Over many batches, each shared label of a space occurs about equally often."""
    labels = random_association(rng)
    shared = shared_labels(labels)
    seen = Counter()
    for _ in range(300):
        batch = sample_pair_batch(labels, shared, num_labels=2, instances=1, rng=rng)
        seen["visible", int(labels.visible[batch.visible[0]])] += 1
        seen["infrared", int(labels.infrared[batch.infrared[1]])] += 1
    for space, names in zip(("visible", "infrared"), shared, strict=True):
        counts = [seen[space, name] for name in names.tolist()]
        assert sum(counts) == 300 and min(counts) > 0.5 * 300 / len(names)


def test_batches_follow_their_generator(rng):
    """Equal generators produce equal batches; different generators do not."""
    labels = random_association(rng)
    batches = [
        sample_pair_batch(
            labels,
            shared_labels(labels),
            num_labels=4,
            instances=5,
            rng=np.random.default_rng(seed),
        )
        for seed in (1, 1, 2)
    ]
    contents = [np.concatenate(batch).tolist() for batch in batches]
    assert contents[0] == contents[1] != contents[2]
