"""Who is in a synthetic data set, and who of them is trained and tested on in each trial."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_SEED_OF_SPLIT = 2  # 0, 1 and 4: generate.py; 3: layouts.py


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

    @property
    def identities(self) -> range:
        """The identities of all trials."""
        return range(self.num_identities * (self.num_trials if self.own_people else 1))

    def halves(self, trial: int) -> dict[str, list[int]]:
        """Return the "train" and the "test" identities of a trial, from 0, in random order."""
        first = (trial - 1) * self.num_identities if self.own_people else 0
        rng = np.random.default_rng([self.seed, _SEED_OF_SPLIT, trial])
        order = [first + int(number) for number in rng.permutation(self.num_identities)]
        half = self.num_identities // 2
        return {"train": order[:half], "test": order[half:]}
