"""A trained network that computes the features of evaluation for images of either modality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from salcr import files
from salcr.config.schema import Numerics
from salcr.data.store import Images
from salcr.errors import SalcrError
from salcr.models.checkpoint import read_network
from salcr.models.features import mirrored_features
from salcr.models.network import Network
from salcr.types import MODALITIES, Floats


class Embedder(NamedTuple):
    """A network with the size of its images and its origin."""

    network: Network
    image_size: tuple[int, int]
    """Height and width of its images, in pixels."""
    origin: dict[str, object]
    """Plain values that identify it: sha256 of the file, round and trial."""

    def features(self, images: NDArray[np.uint8], modalities: Sequence[str]) -> Floats:
        """Return the features that evaluation uses, float32 [N, C], unit rows.

        Args:
            images: uint8 [N, H, W, 3] of the network's size.
            modalities: [N], "visible" or "infrared".

        Raises:
            SalcrError: a feature is not finite.
        """
        features = np.empty((len(images), self.network.num_channels), dtype=np.float32)
        for modality in MODALITIES:
            rows = np.flatnonzero(np.asarray(modalities) == modality)
            if len(rows):
                side = Images(images, rows, camera=np.zeros_like(rows))
                features[rows] = mirrored_features(self.network, side, modality).cpu().numpy()
        return features


def read_embedder(path: Path, device: torch.device, numerics: Numerics) -> Embedder:
    """Return the network of a checkpoint, on the device.

    Raises:
        SalcrError: the file is damaged, or does not hold a network and the size of its images.
    """
    network, checkpoint = read_network(path, device, numerics)
    if checkpoint.get("image_size") is None:
        raise SalcrError(
            f"{path}: is by an older version and does not hold the size of its images; run the "
            "workflow (or import-checkpoint) again"
        )
    height, width = checkpoint["image_size"]
    origin = {"sha256": files.sha256(path), **{key: checkpoint[key] for key in ("round", "trial")}}
    return Embedder(network, (height, width), origin)
