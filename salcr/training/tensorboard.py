"""Curves for TensorBoard during training: `tensorboard --logdir results/NAME/curves`.

Like a log, they are for users; results do not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from salcr.log import warn


class AddPoints(Protocol):
    """A function that adds the values of one step to the curves."""

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each name."""


@contextmanager
def curve_writer(folder: Path | None, *, first: int | None = None) -> Iterator[AddPoints]:
    """Yield the function that adds the points of a job; after each call they are on disk.

    Args:
        folder: of this stage's curves, or None for no curves.
        first: first step of the job. It hides later points by an earlier job that was stopped or
            had other settings. None hides nothing, for jobs with different steps in parallel.
    """
    if folder is None:
        yield lambda step, values: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        warn("tensorboard is not installed: no curves are written")
        yield lambda step, values: None
        return
    with SummaryWriter(str(folder), purge_step=first) as writer:

        def add(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)
            writer.flush()

        yield add
