"""Random numbers belong to a unit of work, not to a process: no state has to be saved."""

from __future__ import annotations

import numpy as np
import torch


def make_generator(*seeds: int) -> np.random.Generator:
    """Return the random generator of one unit of work, such as (seed, trial, round, iteration).

    A unit draws the same numbers whatever ran before it, in this process or another.
    """
    return np.random.default_rng(seeds)


def seed_torch(*seeds: int) -> None:
    """Seed torch's global state, from which new weights are drawn."""
    torch.manual_seed(int(make_generator(*seeds).integers(2**63)))
