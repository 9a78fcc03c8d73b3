"""Who is in a synthetic data set, and who of them is trained and tested on in each trial."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from salcr.types import MODALITIES

_SEED_OF_SPLIT, _SEED_OF_UNPAIRED = 2, 5  # others: generate.py and layouts.py
_GOLDEN_RATIO = 0.618033988749895


class People(NamedTuple):
    """Numbers of identities, of images of each and of trials, and the seed."""

    num_identities: int
    """In each trial."""
    images_per_identity: int
    """In each modality."""
    num_trials: int
    seed: int
    own_people: bool = False
    """Whether each trial has people of its own; otherwise all have the same."""
    look_alikes: float = 0.0
    """Share of people who are in a pair of look-alikes."""
    unpaired: float = 0.0
    """Share of a trial's training people whom one modality does not show."""

    @property
    def identities(self) -> range:
        """The identities of all trials."""
        return range(self.num_identities * (self.num_trials if self.own_people else 1))

    def original(self, identity: int) -> int:
        """Return the person whom an identity resembles; itself, if it resembles none.

        The people 2 i and 2 i + 1 of a trial are look-alikes or not however many people there are,
        and those of a smaller share remain so with a larger one.
        """
        # Multiples of the golden ratio, modulo 1, fill [0, 1) evenly from the start.
        is_pair = identity // 2 * _GOLDEN_RATIO % 1 < self.look_alikes
        is_second = identity % self.num_identities % 2
        return identity - 1 if is_pair and is_second else identity

    def halves(self, trial: int) -> dict[str, list[int]]:
        """Return the "train" and the "test" identities of a trial, from 0, in random order.

        Look-alikes are in the same half, so the training half may have one person fewer.
        """
        first = (trial - 1) * self.num_identities if self.own_people else 0
        rng = np.random.default_rng([self.seed, _SEED_OF_SPLIT, trial])
        order = [first + int(number) for number in rng.permutation(self.num_identities)]
        groups: dict[int, list[int]] = {}
        for identity in order:
            groups.setdefault(self.original(identity), []).append(identity)
        halves: dict[str, list[int]] = {"train": [], "test": []}
        for group in groups.values():
            fits = len(halves["train"]) + len(group) <= self.num_identities // 2
            halves["train" if fits else "test"] += group
        return halves

    def unseen(self, trial: int) -> dict[str, set[int]]:
        """Return modality -> training identities whom it does not show, equally many up to one."""
        train = self.halves(trial)["train"]
        rng = np.random.default_rng([self.seed, _SEED_OF_UNPAIRED, trial])
        chosen = rng.permutation(train)[: round(self.unpaired * len(train))].tolist()
        return {modality: set(chosen[side::2]) for side, modality in enumerate(MODALITIES)}

    def never_seen(self) -> dict[str, set[int]]:
        """Return modality -> identities whom it shows in none of the trials that they are in."""
        trials = [self.unseen(trial) for trial in range(1, self.num_trials + 1)]
        combine = set.union if self.own_people else set.intersection
        return {
            modality: combine(*(trial[modality] for trial in trials)) for modality in MODALITIES
        }
