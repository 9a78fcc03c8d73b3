"""What the machine can do, and how fast features and pseudo-labels come."""

from __future__ import annotations

import platform
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.device.check import Check
from salcr.data.store import preload
from salcr.models.features import extract, to_device
from salcr.models.network import Network
from salcr.pseudo_labels.generate import generate_pseudo_labels

_EPS, _CMFP_K = 0.6, 30  # so that the features below form clusters


def machine(check: Check) -> None:
    """Name the machine, and measure its ceilings: copies, products, launches."""
    check.keep("machine", "versions", {
        "torch": str(torch.__version__), "CUDA": torch.version.cuda or "none",
        "Python": platform.python_version(), "cores": check.cores,
        "threads": check.threads,
    })  # fmt: skip
    if not check.on_gpu:
        return
    card = torch.cuda.get_device_properties(0)
    check.keep("machine", "card", {"name": card.name, "GB": card.total_memory / 1e9})
    block = torch.zeros(1 << 30, dtype=torch.uint8, device=check.device)
    other = torch.empty_like(block)
    other.copy_(block)
    copying = check.seconds(lambda: other.copy_(block), 20)
    check.keep("machine", "copies on the card, TB/s", 2 * (1 << 30) / copying / 1e12)
    square = torch.randn(8192, 8192, device=check.device, dtype=torch.bfloat16)
    square @ square
    product = check.seconds(lambda: square @ square, 10)
    check.keep("machine", "bfloat16 products, TFLOP/s", 2 * 8192**3 / product / 1e12)
    host = torch.zeros(1 << 28, dtype=torch.uint8)
    for name, memory in (("pageable", host), ("pinned", host.pin_memory())):
        sending = check.seconds(partial(block[: 1 << 28].copy_, memory), 3)
        check.keep("machine", f"copies from {name} memory, GB/s", (1 << 28) / sending / 1e9)
    number = torch.zeros(1, device=check.device)

    def launch() -> None:
        for _ in range(2000):
            number.add_(1)

    launch()
    check.keep("machine", "microseconds of a launch", check.seconds(launch, 3) / 2000 * 1e6)


def features(check: Check) -> None:
    """Measure the images per second of an extraction, from the host and from the card."""
    split = check.split(check.num_images)
    model = check.settings.model
    for numerics, autocast in (("bfloat16", "always"), ("TF32", "never")):
        torch.manual_seed(0)
        network = Network(
            backbone=model.backbone, width=model.width, num_parts=check.settings.fgsal.parts
        )
        update = {"autocast": autocast, "channels_last": True}
        to_device(network, check.device, check.settings.numerics.model_copy(update=update))
        for place, there in (("host", split), ("card", preload(split, check.device, needed=0))):
            images = there.images["visible"]
            extract(network, images, "visible")
            taken = check.seconds(partial(extract, network, images, "visible"), 2)
            row = f"{numerics}, images on the {place}, images/s"
            check.keep("features", row, check.num_images / taken)


def association(check: Check) -> None:
    """Cluster and associate SYSU-MM01's numbers of images on the device and on the CPU."""
    rows = _features_of_people(check)
    clustering = check.settings.clustering.model_copy(update={"eps": _EPS})
    associate = check.settings.associate.model_copy(update={"cmfp_k": _CMFP_K})
    there = {m: side.to(check.device) for m, side in rows.items()}
    first = {m: side[:500] for m, side in there.items()}
    generate_pseudo_labels(first, clustering, associate)  # compiles the kernels
    if check.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    labels = {}
    for name, given in (("device", there), ("CPU", rows)):
        if name != "device" and check.time_is_up:
            return

        def compute(name: str = name, given: dict[str, Tensor] = given) -> None:
            labels[name] = generate_pseudo_labels(given, clustering, associate)[1]

        check.keep("association", f"{name}, s", check.seconds(compute))
        if check.on_gpu and name == "device":
            check.keep("association", "peak GB", torch.cuda.max_memory_allocated() / 1e9)
    different = [float((a != b).mean()) for a, b in zip(*labels.values(), strict=True)]
    check.keep("association", "largest share of other labels", max(different))


def _features_of_people(check: Check) -> dict[str, Tensor]:
    """Return unit rows of both modalities: noisy copies of each person's, and an offset."""
    num_visible, num_infrared, width = (600, 400, 64) if check.small else (22_120, 11_850, 2048)
    rng = np.random.default_rng(0)
    people = rng.standard_normal((num_visible // 20, width), dtype=np.float32)
    rows = {}
    for modality, size in (("visible", num_visible), ("infrared", num_infrared)):
        owner = np.repeat(np.arange(len(people)), rng.integers(20, 61, len(people)))[:size]
        noise = rng.standard_normal((size, width), dtype=np.float32)
        offset = rng.standard_normal(width, dtype=np.float32)
        rows[modality] = normalize(
            torch.from_numpy(people[owner] + 0.9 * noise + 0.5 * offset), dim=1
        )
    return rows
