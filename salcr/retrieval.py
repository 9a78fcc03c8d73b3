"""From a network and test images to the features that retrieval compares."""

from __future__ import annotations

import torch

from salcr.data import Images
from salcr.engine import extract, unit
from salcr.model import Network


def mirrored_features(network: Network, images: Images, modality: str) -> torch.Tensor:
    """Return unit features [N, C]: the mean of those of each image and of its mirror image."""
    direct, _ = extract(network, images, modality)
    mirror, _ = extract(network, images, modality, mirrored=True)
    return unit(direct + mirror)
