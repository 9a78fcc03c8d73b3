"""A network as an ONNX file: normalization, mirroring and averaging are part of the graph."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from salcr.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from salcr.models.features import l2_normalize
from salcr.models.network import Network
from salcr.types import Floats

_INPUT, _OUTPUT = "images", "features"
_OPSET = 18  # of 2022, which current ONNX runtimes support


def write_onnx(
    path: Path,
    network: Network,
    modality: str,
    *,
    image_size: tuple[int, int],
    origin: Mapping[str, object],
) -> None:
    """Write a network as ONNX: from uint8 images [B, H, W, 3], any B, to unit features [B, C].

    Args:
        path: file to write.
        network: put into evaluation mode.
        modality: "visible" or "infrared", of the images.
        image_size: height and width of the images.
        origin: plain values that identify the checkpoint; the file's properties hold them and the
            modality.
    """
    import onnx

    images = torch.zeros(2, *image_size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # torch warns that there is a newer exporter, which needs a third package, and that sizes
        # other than the batch's are traced as constants, as intended.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Exported(network, modality),
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
    width.dim_value = network.num_channels  # traced as of unknown size
    properties = {"modality": modality, "checkpoint": json.dumps(origin)}
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def run_onnx(path: Path, images: NDArray[np.uint8]) -> Floats:
    """Return the features [B, C] that onnxruntime computes of uint8 images [B, H, W, 3]."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    features: Floats = session.run([_OUTPUT], {_INPUT: images})[0]
    return features


class _Exported(nn.Module):
    """The network from uint8 images to the features of evaluation."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, modality: str) -> None:
        super().__init__()
        self.network, self.modality = network.eval(), modality
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN))
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD))

    def forward(self, images: Tensor) -> Tensor:
        """Return unit features [B, C] of uint8 images [B, H, W, 3]."""
        views = ((images.float() - self.mean) / self.std).permute(0, 3, 1, 2)
        direct, _ = self.network(views, self.modality)
        mirror, _ = self.network(views.flip(3), self.modality)
        return l2_normalize(l2_normalize(direct) + l2_normalize(mirror))
