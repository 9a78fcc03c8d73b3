"""Write a trained network as ONNX, and check that onnxruntime computes the same features.

The input is uint8 RGB images [B, H, W, 3], of the size of the training images and with any B; the
output is the unit features [B, C] of evaluation. Normalization, mirroring and averaging are part of
the graph. A file is for one modality.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from salcr import files
from salcr.config.schema import Config, Numerics
from salcr.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from salcr.errors import SalcrError
from salcr.log import say
from salcr.models.features import l2_normalize
from salcr.search.embedder import Embedder, read_embedder
from salcr.training.seeding import make_generator
from salcr.types import MODALITIES

_INPUT, _OUTPUT = "images", "features"
_OPSET = 18  # of 2022, which current ONNX runtimes support
_BATCHES = (1, 3)  # batch sizes of the check; the network is traced with two
_TOLERANCE = 1e-4


class _Exported(nn.Module):
    """The network from uint8 images to the features of evaluation."""

    mean: Tensor
    std: Tensor

    def __init__(self, embedder: Embedder, modality: str) -> None:
        super().__init__()
        self.network, self.modality = embedder.network.eval(), modality
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN))
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD))

    def forward(self, images: Tensor) -> Tensor:
        """Return unit features [B, C] of uint8 images [B, H, W, 3]."""
        views = ((images.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        direct, _ = self.network(views, self.modality)
        mirror, _ = self.network(views.flip(3), self.modality)
        return l2_normalize(l2_normalize(direct) + l2_normalize(mirror))


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
        _write(temporary, embedder, arguments.modality)
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


def _write(path: Path, embedder: Embedder, modality: str) -> None:
    """Write the ONNX file; its properties identify modality and checkpoint."""
    import onnx

    images = torch.zeros(2, *embedder.image_size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # torch warns that there is a newer exporter, which needs a third package, and that sizes
        # other than the batch's are traced as constants, as intended.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Exported(embedder, modality),
            (images,),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=[_INPUT],
            output_names=[_OUTPUT],
            dynamic_axes={_INPUT: {0: "batch"}, _OUTPUT: {0: "batch"}},
        )
    model = onnx.load(str(path))
    _, width = model.graph.output[0].type.tensor_type.shape.dim
    width.dim_value = embedder.network.num_channels  # traced as of unknown size
    origin = {"modality": modality, "checkpoint": json.dumps(embedder.origin)}
    onnx.helper.set_model_props(model, origin)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _difference(path: Path, embedder: Embedder, modality: str, num_images: int) -> float:
    """Return the largest difference between features of onnxruntime and torch, on random images."""
    import onnxruntime

    size = (num_images, *embedder.image_size, 3)
    images = make_generator(num_images).integers(256, size=size, dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (features,) = session.run([_OUTPUT], {_INPUT: images})
    expected = embedder.features(images, [modality] * num_images)
    return float(np.abs(features - expected).max())
