"""Curves for TensorBoard during training: `tensorboard --logdir results/NAME/curves`.

Like a log, they are for users; results do not depend on them. So a job that cannot write them, on a
full disk for example, continues without.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from salcr.log import warn

_VERSION = "brain.Event:2"  # of the format of the file


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
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
    except ImportError:
        warn("tensorboard is not installed: no curves are written")
        yield lambda step, values: None
        return
    # In the order of their names the files are read.
    path: Path | None = folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}"

    def append(*events: Any) -> None:
        nonlocal path
        if path is not None and not _append(path, events):
            path = None  # a file that ends within a point can be read, but not continued

    def add(step: int, values: Mapping[str, float]) -> None:
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        append(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))

    append(Event(wall_time=time.time(), file_version=_VERSION))
    if first is not None:
        append(Event(step=first, session_log=SessionLog(status=SessionLog.START)))
    yield add


def _append(path: Path, events: tuple[Any, ...]) -> bool:
    """Add events to a file; warn, and return False, if that fails."""
    # Not torch's SummaryWriter: its thread reports a full disk by a traceback.
    from tensorboard.summary.writer.record_writer import RecordWriter

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            for event in events:
                RecordWriter(file).write(event.SerializeToString())
    except OSError as error:
        warn(f"{path}: cannot be written ({error.strerror}); no more curves are written")
        return False
    return True
