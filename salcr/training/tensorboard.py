"""Curves that TensorBoard shows while a training runs: `tensorboard --logdir results/NAME/curves`.

They are words to a person, like a log: no result hangs on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from salcr.log import warn


class Curves(Protocol):
    """Takes the values of a step."""

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of every name."""


@contextmanager
def curve_writer(folder: Path | None, *, first: int | None = None) -> Iterator[Curves]:
    """Yield what takes the points of a job; they are on disk when it ends, and after each step.

    Args:
        folder: of this stage's curves, or None for no curves.
        first: the job's first step. Points from there on of an earlier job, which was stopped or
            had other settings, are hidden. None hides nothing: jobs of other steps may run beside.
    """
    if folder is None:
        yield lambda step, values: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        warn("tensorboard is not installed: no curves are drawn")
        yield lambda step, values: None
        return
    with SummaryWriter(str(folder), purge_step=first) as writer:

        def add(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)
            writer.flush()

        yield add
