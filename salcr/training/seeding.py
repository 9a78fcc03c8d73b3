"""Random generators for units of work instead of processes: their state need not be saved."""

from __future__ import annotations

import numpy as np
import torch


def make_generator(*seeds: int) -> np.random.Generator:
    """Return the random generator of one unit of work, such as (seed, trial, round, iteration).

    Its numbers do not depend on earlier work, in this process or another.
    """
    return np.random.default_rng(seeds)


def seed_torch(*seeds: int) -> None:
    """Seed torch's global random state, which initializes weights."""
    torch.manual_seed(int(make_generator(*seeds).integers(2**63)))
