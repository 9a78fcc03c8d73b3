"""Images preloaded to the training device are identical to those in the file."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from salcr.data import store
from salcr.data.store import Images, Split


def split_of(rng: np.random.Generator) -> Split:
    """Return a split of 300 and 5 images, in shuffled order, of larger arrays."""
    sides = {}
    for modality, stored, used in (("visible", 400, 300), ("infrared", 9, 5)):
        array = rng.integers(0, 256, (stored, 4, 3, 3), dtype=np.uint8)
        rows = rng.permutation(stored)[:used]
        sides[modality] = Images(array, rows, np.zeros(used, np.int64))
    return Split(sides, data_hash="", layout="sysu")


def test_batches_of_copied_images_are_those_of_the_file(rng, device):
    """Each position gives the same image as before, also when repeated, from the device."""
    for images in split_of(rng).images.values():
        copied = store._copy_to_device(images, device)
        positions = np.append(rng.permutation(len(images)), [0, 0, len(images) - 1])[::-1]
        expected = np.stack([images.array[images.rows[position]] for position in positions])
        for side in (copied, images):
            batch = side.batch(positions, device)
            assert batch.device.type == device.type and batch.dtype == torch.uint8
            np.testing.assert_array_equal(batch.cpu(), expected)
        assert copied.rows is images.rows, "evaluation names files by them"


@pytest.mark.parametrize(("free", "copied"), [(305 * 36 + 99, True), (305 * 36 + 98, False)])
def test_images_are_copied_to_a_gpu_that_has_room_beside_them(rng, monkeypatch, free, copied):
    """The 305 images of 36 bytes are copied if 99 bytes, as needed otherwise, are left."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10 * free))
    monkeypatch.setattr(
        store, "_copy_to_device", lambda images, device: SimpleNamespace(device=device)
    )
    split = split_of(rng)
    preloaded = store.preload(split, torch.device("cuda", 0), needed=99)
    if copied:
        assert {side.device for side in preloaded.images.values()} == {torch.device("cuda", 0)}
    else:
        assert preloaded is split
    assert preloaded.data_hash == split.data_hash


def test_images_stay_in_the_file_on_the_cpu(rng):
    """On the CPU nothing is copied, because mapped files are already in memory."""
    split = split_of(rng)
    assert store.preload(split, torch.device("cpu"), needed=0) is split
