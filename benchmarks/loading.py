"""Rows of the benchmark: decoding of pictures by several processes, and extraction of features.

A run reads 2000 JPEG files of people cut out of a video, so 2000 divided by the seconds of a run is
the number of pictures per second, the start of the processes included; plain is a single process.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.row import Row
from salcr.data import workers
from salcr.data.store import Images
from salcr.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from salcr.models.features import mirrored_features
from salcr.models.network import Network
from salcr.search.images import Picture, read_picture

_PICTURES, _IMAGES = 2000, 512
_HEIGHT, _WIDTH = 288, 144  # to which pictures are resized


class _Folder(NamedTuple):
    files: list[tuple[Path, str, str, str]]
    """Arguments of `read_picture`."""
    kept: tempfile.TemporaryDirectory[str]
    """Deletes the folder when the process ends."""


def _prepare_pictures() -> _Folder:
    """Write JPEG files of 128x64 pixels, about 3 kB each."""
    rng = np.random.default_rng(0)
    kept = tempfile.TemporaryDirectory()
    for number in range(_PICTURES):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((64, 128), Image.Resampling.BICUBIC)).astype(np.int64)
        noisy = (smooth + rng.integers(-12, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(Path(kept.name, f"{number}.jpg"), quality=90)
    listed = [(Path(kept.name), f"{number}.jpg", "", "auto") for number in range(_PICTURES)]
    return _Folder(listed, kept)


def _read(folder: _Folder, *, processes: int) -> list[int]:
    """Return the sum of each picture's values; all pictures would be 250 MB."""
    read = partial(read_picture, height=_HEIGHT, width=_WIDTH)
    with closing(workers.apply(read, folder.files, processes=processes)) as pictures:
        return [int(one.image.sum()) for one in pictures if isinstance(one, Picture)]


def _agree(ours: list[int], plain: list[int]) -> None:
    assert len(ours) == _PICTURES
    assert ours == plain


class _Inputs(NamedTuple):
    network: Network
    images: NDArray[np.uint8]
    """[512, 96, 48, 3]."""


def _prepare_network() -> _Inputs:
    """Return the demo's network and random images."""
    torch.manual_seed(0)
    network = Network(backbone="resnet18", width=16, num_parts=3).eval()
    network.memory_format = torch.channels_last
    network.to(memory_format=torch.channels_last)
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, 96, 48, 3), dtype=np.uint8)
    return _Inputs(network, images)


def _extract(inputs: _Inputs) -> Tensor:
    rows = np.arange(len(inputs.images))
    return mirrored_features(inputs.network, Images(inputs.images, rows, rows), "visible")


@torch.no_grad()
def _extract_one_by_one(inputs: _Inputs) -> Tensor:
    features = []
    for image in inputs.images:
        scaled = (image / 255 - IMAGENET_MEAN) / IMAGENET_STD
        view = torch.from_numpy(scaled.astype(np.float32)).permute(2, 0, 1)[None]
        direct, mirror = (inputs.network(v, "visible")[0] for v in (view, view.flip(3)))
        features.append(F.normalize(F.normalize(direct, dim=1) + F.normalize(mirror, dim=1), dim=1))
    return torch.cat(features)


def _agree_in_features(ours: Tensor, plain: Tensor) -> None:
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-5)


ROWS = [
    Row(
        name=f"decoding of {_PICTURES} pictures, {processes} processes",
        wanted=f"{0.8 * processes:.1f} times with {processes + 1} idle cores",
        prepare=_prepare_pictures,
        ours=partial(_read, processes=processes),
        plain=partial(_read, processes=1),
        agree=_agree,
    )
    for processes in (2, 3, 4)
] + [
    Row(
        name=f"features of {_IMAGES} images of 96x48, mirrored, demo",
        wanted="half of the time of one by one",
        prepare=_prepare_network,
        ours=_extract,
        plain=_extract_one_by_one,
        agree=_agree_in_features,
    )
]
