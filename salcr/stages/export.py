"""Write a trained network as ONNX, and check that onnxruntime computes the same features.

The input is uint8 RGB images [B, H, W, 3], of the size of the training images and with any B; the
output is the unit features [B, C] of evaluation. Normalization, mirroring and averaging are part of
the graph. A file is for one modality.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import torch

from salcr import files
from salcr.config.schema import Config, Numerics
from salcr.errors import SalcrError
from salcr.log import say
from salcr.models.onnx_export import run_onnx, write_onnx
from salcr.search.embedder import Embedder, read_embedder
from salcr.training.seeding import make_generator
from salcr.types import MODALITIES

_BATCHES = (1, 3)  # batch sizes of the check; the network is traced with two
_TOLERANCE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="trained network")
    parser.add_argument("--modality", choices=MODALITIES, required=True, help="of the input images")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the file, unless onnxruntime's features deviate."""
    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise SalcrError(f"{package} is not installed; run: pip install onnx onnxruntime")
    exact = Numerics(autocast="never", channels_last=False, compile=False)
    embedder = read_embedder(arguments.checkpoint, torch.device("cpu"), exact)
    height, width = embedder.image_size
    with files.atomic_path(arguments.out) as temporary:
        write_onnx(
            temporary,
            embedder.network,
            arguments.modality,
            image_size=embedder.image_size,
            origin=embedder.origin,
        )
        worst = max(_difference(temporary, embedder, arguments.modality, n) for n in _BATCHES)
        if not worst <= _TOLERANCE:
            raise SalcrError(
                f"{arguments.out}: not written, because onnxruntime's features differ by "
                f"{worst:.1e}, more than {_TOLERANCE:.0e}; try another version of onnxruntime"
            )
    say(
        f"{arguments.out}: {arguments.modality} images, uint8 [B, {height}, {width}, 3], to "
        f"features [B, {embedder.network.num_channels}]; onnxruntime's differ by {worst:.1e}"
    )


def _difference(path: Path, embedder: Embedder, modality: str, num_images: int) -> float:
    """Return the largest difference between features of onnxruntime and torch, on random images."""
    size = (num_images, *embedder.image_size, 3)
    images = make_generator(num_images).integers(256, size=size, dtype=np.uint8)
    expected = embedder.features(images, [modality] * num_images)
    return float(np.abs(run_onnx(path, images) - expected).max())
