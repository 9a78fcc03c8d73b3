"""Training steps on the device: time, memory, launches, waits, and smaller cards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.device.check import IMAGES_OF_EACH, Check
from salcr.data.store import preload
from salcr.models.features import to_device
from salcr.models.network import Network
from salcr.training import pretraining
from salcr.training.optimizer import make_optimizer
from salcr.training.round import train_round
from salcr.types import MODALITIES, PseudoLabels


class Batch(NamedTuple):
    """The batch of a step."""

    stage: int
    labels: int
    instances: int


class Way(NamedTuple):
    """A way to compute a step."""

    numerics: dict[str, Any]
    tf32: bool = True


BATCHES = {
    "stage one, 432 images": Batch(1, 12, 12),
    "stage two, 192 images": Batch(2, 8, 8),
    "stage two, 432 images": Batch(2, 12, 12),
}
SMALL_BATCHES = {"stage one, 24 images": Batch(1, 4, 2), "stage two, 24 images": Batch(2, 4, 2)}
DEFAULT = Way({"autocast": "always", "channels_last": True})
WAYS = {
    "bfloat16": DEFAULT,
    "TF32": Way({"autocast": "never", "channels_last": True}),
    "bfloat16, contiguous": Way({"autocast": "always", "channels_last": False}),
    "float32": Way({"autocast": "never", "channels_last": True}, tf32=False),
}
_LAUNCHES = ("cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx")
_WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize")
_RESERVED = 1e9  # bytes: the CUDA context, its libraries, a desktop
_SYSU_IMAGES = 34_167
# GiB of a card, batch, numerics.checkpoint, whether SYSU-MM01's images are on it, too
CARDS = (
    (24, "stage one, 432 images", "none", False),
    (24, "stage one, 432 images", "none", True),
    (24, "stage one, 432 images", "early", True),
    (16, "stage one, 432 images", "early", False),
    (12, "stage one, 432 images", "all", False),
    (16, "stage two, 192 images", "none", True),
    (12, "stage two, 192 images", "none", False),
)


def batches(check: Check) -> dict[str, Batch]:
    """Return the batches by name."""
    return SMALL_BATCHES if check.small else BATCHES


def steps(check: Check) -> None:
    """Time a step of both stages in every way, with its peak memory."""
    on_cpu = {"float32": WAYS["float32"]}  # which has no TF32, and takes long for bfloat16
    for way_name, way in (WAYS if check.on_gpu else on_cpu).items():
        for batch_name, batch in batches(check).items():
            if not check.time_is_up:
                check.keep("steps", f"{batch_name}, {way_name}", _or_error(check, batch, way))


def compiled(check: Check) -> None:
    """Time a step of a network that torch has compiled."""
    way = Way({**DEFAULT.numerics, "compile": True})
    for name, batch in list(batches(check).items())[:2]:
        if not check.time_is_up:
            check.keep("compiled", name, timed_step(check, batch, way))


def profiled(check: Check) -> None:
    """Count the launches and waits of a step, and the share of its time that the device works."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if check.on_gpu else [])]
    for name, batch in list(batches(check).items())[:2]:
        train = trainer(check, batch, DEFAULT)
        milliseconds = _milliseconds_of_a_step(check, train)
        found = []
        for iterations in (1, 3):  # the difference leaves out the features of an epoch
            with profile(activities=activities) as profiled_:
                train(iterations)
                check.synchronize()
            events = profiled_.key_averages()
            found.append(_counts(events))
        print(events.table(sort_by=None, row_limit=60), file=check.log, flush=True)
        counts = {key: (found[1][key] - found[0][key]) / 2 for key in found[0]}
        share = counts["busy ms"] / milliseconds
        check.keep("profile", name, {**counts, "step ms": milliseconds, "busy share": share})


def _counts(events: Any) -> dict[str, float]:
    on_device = [event for event in events if event.device_type != torch.autograd.DeviceType.CPU]
    called = {event.key: event.count for event in events}
    return {
        "launches": sum(called.get(name, 0) for name in _LAUNCHES),
        "waits": sum(called.get(name, 0) for name in _WAITS),
        "busy ms": sum(event.self_device_time_total for event in on_device) / 1000,
    }


def cards(check: Check) -> None:
    """Run steps with the allocator limited to what a smaller card has."""
    if not check.on_gpu:
        check.say("cards: only on a GPU")
        return
    total = torch.cuda.get_device_properties(0).total_memory
    for gib, name, checkpoint, with_images in CARDS if not check.small else ():
        if check.time_is_up:
            return
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1, (gib * 2**30 - _RESERVED) / total))
        try:
            way = Way({**DEFAULT.numerics, "checkpoint": checkpoint})
            result = _or_error(check, BATCHES[name], way, _SYSU_IMAGES * with_images)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        check.keep("cards", name_of_card(gib, name, checkpoint, with_images), result)


def name_of_card(gib: int, batch: str, checkpoint: str, with_images: bool) -> str:
    """Return the row of a smaller card."""
    images = "with" if with_images else "without"
    return f"{gib} GiB, {batch}, checkpoint {checkpoint}, {images} SYSU-MM01's images"


def _or_error(check: Check, batch: Batch, way: Way, num_held: int = 0) -> Any:
    """Return what `timed_step` does or, where memory is short, what torch says."""
    size = check.settings.preprocess
    try:
        held = torch.empty(num_held * size.height * size.width * 3, dtype=torch.uint8,
                           device=check.device)  # fmt: skip
        result: Any = timed_step(check, batch, way)
        del held
    except torch.OutOfMemoryError as error:
        result = f"out of memory: {str(error)[:100]}"
    if check.on_gpu:
        torch.cuda.empty_cache()
    return result


def timed_step(check: Check, batch: Batch, way: Way) -> dict[str, float]:
    """Return the milliseconds of a step, the seconds of the first ones, and the peak memory."""
    with tf32(way.tf32):
        train = trainer(check, batch, way)
        first = check.seconds(lambda: train(2))
        if check.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        result = {"ms": _milliseconds_of_a_step(check, train), "first steps s": first}
    if check.on_gpu:
        result["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
    return result


def _milliseconds_of_a_step(check: Check, train: Callable[[int], None]) -> float:
    few, many = (1, 3) if check.small else (4, 14)
    taken = check.seconds(lambda: train(many)) - check.seconds(lambda: train(few))
    return 1000 * taken / (many - few)


def trainer(check: Check, batch: Batch, way: Way) -> Callable[[int], None]:
    """Return the function that trains so many iterations as the stage does, features included."""
    torch.manual_seed(0)
    settings = check.settings
    split = preload(check.split(check.num_images), check.device, needed=0)
    model, parts = settings.model, 1 if batch.stage == 1 else settings.fgsal.parts
    network = Network(backbone=model.backbone, width=model.width, num_parts=parts)
    to_device(network, check.device, settings.numerics.model_copy(update=way.numerics))
    adam = make_optimizer(network, 1e-5, settings.optimizer.weight_decay)
    people = np.arange(check.num_images) % (check.num_images // IMAGES_OF_EACH)
    section, size = ("pretrain", "clusters") if batch.stage == 1 else ("train", "labels")

    def train(iterations: int) -> None:
        update = {"iterations": iterations, size: batch.labels, "instances": batch.instances}
        stage = getattr(settings, section).model_copy(update=update)
        chosen = settings.model_copy(update={section: stage})
        if batch.stage == 1:
            # Random weights have no clusters.
            with mock.patch.object(pretraining, "cluster", lambda *_, **__: people):
                pretraining._train_epoch(network, adam, split, chosen, seeds=(0,))
        else:
            labels, clusters = PseudoLabels(*[people] * 4), dict.fromkeys(MODALITIES, people)
            train_round(network, adam, split, labels, clusters, chosen, trial=1, round_=1)

    return train


@contextlib.contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Let convolutions round to TF32, torch's default, or not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = on
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
