"""Batches go to a GPU without waiting for it, a few ahead of it at most."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from salcr.data import store
from salcr.data.store import Images

CARD = torch.device("cuda", 0)


class Card:
    """A card that is as late as allowed: a copy is made when something waits for it, not before."""

    def __init__(self) -> None:
        self.copies: list[Callable[[], None]] = []
        """Those that are enqueued and not complete."""
        self.enqueued = self.waits = self.most_waiting = 0

    def buffer(self, shape: tuple[int, ...], device: torch.device) -> Buffer:
        """Return a buffer in host memory."""
        assert device == CARD
        self.most_waiting = max(self.most_waiting, len(self.copies))
        return Buffer(self, np.empty(shape, np.uint8))

    def complete(self, upto: int) -> None:
        """Make the copies up to one."""
        while self.enqueued - len(self.copies) < upto:
            self.copies.pop(0)()


class Buffer:
    """A tensor that copies itself to the card, late."""

    def __init__(self, card: Card, array: np.ndarray) -> None:
        self.card, self.array = card, array

    def numpy(self) -> np.ndarray:
        """Return its memory."""
        return self.array

    def to(self, device: torch.device, *, non_blocking: bool) -> np.ndarray:
        """Return what will be the copy."""
        assert device == CARD and non_blocking
        target = np.zeros_like(self.array)
        self.card.copies.append(lambda: np.copyto(target, self.array))
        self.card.enqueued += 1
        return target


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    """Return a card that takes the place of CUDA."""
    late = Card()

    class Event:
        def record(self) -> None:
            self.upto = late.enqueued

        def synchronize(self) -> None:
            late.waits += 1
            late.complete(self.upto)

    monkeypatch.setattr(store, "host_buffer", late.buffer)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    return late


def images_of(rng: np.random.Generator, count: int) -> Images:
    """Return a split of so many images, in shuffled order, of a larger array."""
    array = rng.integers(0, 256, (count + 5, 4, 3, 3), dtype=np.uint8)
    return Images(array, rng.permutation(count + 5)[:count], np.ones(count, np.int64))


@pytest.mark.parametrize("count", [1, 10, 11, 64])
def test_a_card_gets_all_images_and_is_given_the_next_before_it_is_done(
    rng: np.random.Generator, card: Card, count: int
) -> None:
    """Two batches wait at most, whatever their number, and the last ones are not waited for."""
    images = images_of(rng, count)
    batches = list(images.batches(10, CARD))
    assert card.waits == max(0, len(batches) - 2) and card.most_waiting == min(1, len(batches) - 1)
    assert len(card.copies) == min(2, len(batches))
    card.complete(card.enqueued)
    assert max(map(len, batches)) <= 10
    np.testing.assert_array_equal(np.concatenate(batches), images.array[images.rows])


def test_a_training_batch_is_not_waited_for(rng: np.random.Generator, card: Card) -> None:
    """The images at repeated positions are copied while the process does something else."""
    images, positions = images_of(rng, 20), np.array([3, 19, 3, 0])
    batch = images.batch(positions, CARD)
    assert len(card.copies) == 1 and card.waits == 0
    card.complete(1)
    np.testing.assert_array_equal(batch, images.array[images.rows[positions]])


def test_the_cpu_gets_all_images_in_order(rng: np.random.Generator) -> None:
    """Batches of a split that is not a multiple of their size are joined to the whole."""
    images = images_of(rng, 23)
    batches = list(images.batches(10, torch.device("cpu")))
    assert [len(batch) for batch in batches] == [8, 8, 7]
    np.testing.assert_array_equal(torch.cat(batches), images.array[images.rows])


def test_images_that_are_on_the_card_do_not_wait(
    rng: np.random.Generator, device: torch.device
) -> None:
    """Batches of a copy on the device equal those of the file."""
    images = images_of(rng, 23)
    copied = store._copy_to_device(images, device)
    batches = torch.cat(list(copied.batches(10, device)))
    np.testing.assert_array_equal(batches.cpu(), images.array[images.rows])


def test_a_buffer_for_a_gpu_is_page_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA copies from such memory alone without waiting; on the CPU it is ordinary memory."""
    pinned: list[bool] = []

    def empty(shape: tuple[int, ...], *, dtype: torch.dtype, pin_memory: bool) -> torch.Tensor:
        pinned.append(pin_memory)
        return torch.zeros(shape, dtype=dtype)

    monkeypatch.setattr(torch, "empty", empty)
    for place in (CARD, torch.device("cpu")):
        assert store.host_buffer((2, 3), place).dtype == torch.uint8
    assert pinned == [True, False]
