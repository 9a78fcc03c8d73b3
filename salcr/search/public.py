"""A trained network as an object of Python, see `salcr.api`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from salcr.types import MODALITIES, Floats

if TYPE_CHECKING:
    from salcr.search.embedder import Embedder

Device = Literal["auto", "cpu", "cuda"]
_BLOCK = 512  # images of one size in memory at a time


class TrainedNetwork:
    """A trained network that turns images into features; `load_network` returns one."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that images are resized to."""
        return self._embedder.image_size

    @property
    def num_channels(self) -> int:
        """Width C of the features."""
        return self._embedder.network.num_channels

    def embed(
        self,
        images: NDArray[np.uint8] | Sequence[str | os.PathLike[str] | NDArray[np.uint8]],
        modality: str | Sequence[str],
    ) -> Floats:
        """Return the features that evaluation uses: the mean of an image's and its mirror image's.

        Args:
            images: uint8 RGB array [N, H, W, 3], or a list of paths and of arrays [H, W, 3]; of
                any sizes. Each is resized to `image_size`, as the workflow resizes its images.
            modality: "visible" or "infrared": one word for all images, or one for each.

        Returns:
            [N, C] float32, unit rows.

        Raises:
            ValueError: an array is not uint8 RGB, or a modality is unknown.
            SalcrError: a file is missing or cannot be decoded.

        See Also:
            The commands `embed` and `search`, for whole folders and an index on disk.

        Examples:
            See `load_network`.
        """
        if isinstance(images, str | os.PathLike):
            raise ValueError("images: one path; give a list of paths")
        words = [modality] * len(images) if isinstance(modality, str) else list(modality)
        if len(words) != len(images):
            raise ValueError(f"modality: {len(words)} words for {len(images)} images")
        for word in words:
            _check_choice("modality", word, MODALITIES)
        features = np.empty((len(images), self.num_channels), dtype=np.float32)
        for start in range(0, len(images), _BLOCK):
            block = slice(start, start + _BLOCK)
            resized = [_resized(one, *self.image_size) for one in images[block]]
            features[block] = self._embedder.features(np.stack(resized), words[block])
        return features


def load_network(checkpoint: str | os.PathLike[str], device: Device = "auto") -> TrainedNetwork:
    """Return the network of a checkpoint that the workflow or `import-checkpoint` wrote.

    Args:
        checkpoint: path of a round's checkpoint.pt. Nothing in it is executed.
        device: "auto" (a GPU if there is one), "cpu" or "cuda".

    Raises:
        ValueError: `device` is none of these, or is "cuda" and there is no GPU.
        SalcrError: the file is missing or damaged, or holds no network.

    See Also:
        retrieval_metrics: how well features retrieve.
        cluster: clusters of features.

    References:
        METHOD 1 and 4.1.

    Examples:
        With `checkpoint` the path of a narrow ResNet-18 for images of 64 × 32:

        >>> network = load_network(checkpoint, device="cpu")
        >>> network.image_size, network.num_channels
        ((64, 32), 64)
        >>> images = np.random.default_rng(0).integers(256, size=(3, 100, 50, 3), dtype=np.uint8)
        >>> features = network.embed(images, "visible")
        >>> features.shape, np.linalg.norm(features, axis=1).round(4).tolist()
        ((3, 64), [1.0, 1.0, 1.0])
    """
    import torch

    from salcr.config.loading import DEFAULT_CONFIG
    from salcr.config.schema import Numerics
    from salcr.files import read_yaml
    from salcr.search.embedder import read_embedder

    _check_choice("device", device, get_args(Device))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: 'cuda', but torch sees no GPU; use 'auto' or 'cpu'")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    numerics = Numerics(**read_yaml(DEFAULT_CONFIG)["numerics"])
    place = torch.device("cuda" if on_gpu else "cpu")
    return TrainedNetwork(read_embedder(Path(checkpoint), place, numerics))


def _resized(image: Any, height: int, width: int) -> NDArray[np.uint8]:
    from PIL import Image

    from salcr.data.images import decode_image

    if isinstance(image, str | os.PathLike):
        return decode_image(Path(image), height=height, width=width)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ValueError(
            f"images: must be uint8 [height, width, 3], not {array.dtype} {list(array.shape)}"
        )
    return np.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.BILINEAR))


def _check_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: must be one of {', '.join(allowed)}, not {value!r}")
