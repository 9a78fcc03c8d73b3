"""The stored images of one split, as `preprocess` writes them.

A folder holds `visible.npy` and `infrared.npy` (uint8 [N, H, W, 3]), `manifest.csv` (the rows for
training and test in each trial), `identities.csv` (the same lines with the true identity, read
for evaluation only) and `preprocess.json` (sizes and hashes, against which the other files are
checked whenever they are read). All later arrays have the order of the manifest's lines.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from salcr import files
from salcr.config.json_kinds import Preprocessed
from salcr.errors import SalcrError
from salcr.types import MODALITIES, Integers

if TYPE_CHECKING:
    import torch

ARRAYS = {modality: f"{modality}.npy" for modality in MODALITIES}
MANIFEST, IDENTITIES, SUMMARY = "manifest.csv", "identities.csv", "preprocess.json"
MANIFEST_COLUMNS = ["trial", "split", "modality", "row", "camera", "file"]
TRACK = "track"  # one more column, if a track of any image is known
# preprocess alone, so that nothing is trained again if its files are the same as before.
PREPROCESS_HINT = (
    "run your snakemake command with `--forcerun preprocess --until preprocess`, which writes it "
    "again, and then without these flags"
)
_COPIED_AT_ONCE = 128
_BATCHES_AHEAD = 2
IDENTITY_COLUMNS = ["trial", "split", "modality", "row", "identity"]


@dataclass(frozen=True)
class Images:
    """The images of one modality in one split."""

    array: NDArray[np.uint8]
    """[A, H, W, 3], all images of the modality, memory-mapped."""
    rows: Integers
    """[N], rows of the split's images in `array`."""
    camera: Integers
    """[N], number of the camera that took each image."""
    tracks: Integers | None = None
    """[N], number of each image's track, or -1; None if no image of the data set has one."""
    preloaded: torch.Tensor | None = None
    """uint8 [N, H, W, 3], the split's images on the training device, if `preload` copied them."""

    def __len__(self) -> int:
        """Return the number of images in the split."""
        return len(self.rows)

    def batch(self, positions: Integers, device: torch.device) -> torch.Tensor:
        """Return the images at some positions, 0 .. N-1, of the split, uint8 [B, H, W, 3].

        On a GPU they may still be on their way: what computes with them waits, this process not.
        """
        import torch  # takes two seconds, and preprocess and figures do not need it

        if self.preloaded is not None:
            index = torch.from_numpy(np.ascontiguousarray(positions))
            return self.preloaded[index.to(self.preloaded.device, non_blocking=True)]
        rows = self.rows[positions]
        if device.type == "cpu":
            return torch.from_numpy(np.ascontiguousarray(self.array[rows]))
        buffer = host_buffer((len(rows), *self.array.shape[1:]), device)
        self.array.take(rows, axis=0, out=buffer.numpy(), mode="clip")  # "raise" copies once more
        return buffer.to(device, non_blocking=True)

    def batches(self, size: int, device: torch.device) -> Iterator[torch.Tensor]:
        """Yield all images of the split in order, uint8 [B, H, W, 3] with B <= size.

        A GPU computes with one batch while the next one is gathered and copied; this process waits
        only where it is further ahead, which would fill the memory with batches.
        """
        import torch

        copied: deque[torch.cuda.Event] = deque()
        for positions in np.array_split(np.arange(len(self)), max(1, -(-len(self) // size))):
            if len(copied) == _BATCHES_AHEAD:
                copied.popleft().synchronize()
            batch = self.batch(positions, device)
            if self.preloaded is None and device.type == "cuda":
                copied.append(torch.cuda.Event())
                copied[-1].record()
            yield batch


class Split(NamedTuple):
    """The training or the test images of one trial."""

    images: dict[str, Images]
    """By modality."""
    data_hash: str
    """Identifies the stored data set."""
    layout: str
    """Layout of the data set, which determines how it is evaluated."""

    @property
    def sizes(self) -> dict[str, int]:
        """Modality -> number of images."""
        return {modality: len(images) for modality, images in self.images.items()}

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of every image, in pixels."""
        height, width = self.images["visible"].array.shape[1:3]
        return height, width

    def __str__(self) -> str:
        """Return the numbers of images as text."""
        return ", ".join(f"{size} {modality}" for modality, size in self.sizes.items()) + " images"


def load_split(folder: Path, *, trial: int, split: str) -> Split:
    """Return the "train" or "test" images of a trial. Identities are not read.

    Args:
        folder: that `preprocess` wrote.
        trial: number of the split, from 1.
        split: "train" or "test".

    Raises:
        SalcrError: a file is missing, damaged or of another data set, or the trial is unknown.
    """
    summary = read_summary(folder)
    _check(folder / MANIFEST, summary)
    has_tracks = summary.get("has_tracks", False)
    columns = [*MANIFEST_COLUMNS[:-1], *([TRACK] if has_tracks else [])]
    table = files.read_columns(folder / MANIFEST, columns)
    chosen = table[(table["trial"] == trial) & (table["split"] == split)]
    sides: dict[str, Images] = {}
    for modality in MODALITIES:
        lines = chosen[chosen["modality"] == modality]
        if lines.empty:
            raise SalcrError(
                f"{folder / MANIFEST}: no {modality} {split} images of trial {trial}; "
                f"its trials: {sorted(table['trial'].unique().tolist())}"
            )
        path = folder / ARRAYS[modality]
        _check(path, summary)
        sides[modality] = Images(
            files.map_array(path),
            lines["row"].to_numpy(np.int64),
            lines["camera"].to_numpy(np.int64),
            lines[TRACK].to_numpy(np.int64) if has_tracks else None,
        )
    return Split(sides, summary["data_hash"], summary["layout"])


def host_buffer(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return an uninitialized uint8 tensor in host memory, from which copies to a GPU do not wait.

    Its memory is page-locked. torch keeps it for the next buffer once this one is deleted and, by
    CUDA events, its copies are complete.
    """
    import torch

    return torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")


def preload(split: Split, device: torch.device, *, needed: int) -> Split:
    """Return the split with its images copied to a GPU, if they fit; else the split itself.

    Args:
        split: of a data set.
        device: that the images are used on.
        needed: bytes of the device's free memory that must be left.
    """
    if device.type == "cpu":  # the system keeps the pages of a mapped file in memory
        return split
    import torch

    num_bytes = sum(side.array[0].nbytes * len(side) for side in split.images.values())
    if torch.cuda.mem_get_info(device)[0] - num_bytes < needed:
        return split
    return split._replace(
        images={m: _copy_to_device(side, device) for m, side in split.images.items()}
    )


def _copy_to_device(images: Images, device: torch.device) -> Images:
    """Return images whose batches are taken from a copy on the device."""
    import torch

    shape = (len(images), *images.array.shape[1:])
    copy = torch.empty(shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), _COPIED_AT_ONCE):
        part = copy[start : start + _COPIED_AT_ONCE]
        part.copy_(images.batch(np.arange(start, start + len(part)), device))
    return replace(images, preloaded=copy)


def read_summary(folder: Path) -> dict[str, Any]:
    """Return layout, shapes and hashes of the data set that is stored in a folder.

    Raises:
        SalcrError: the summary is missing or damaged.
    """
    return files.read_json(folder / SUMMARY, Preprocessed, hint=PREPROCESS_HINT)


def load_identities(path: Path, *, trial: int, split: str) -> dict[str, Integers]:
    """Return the true identities of a split's images: modality -> [N]. Never used for training.

    Raises:
        SalcrError: the file is missing, damaged or of another data set than the summary beside it.
    """
    summary = read_summary(path.parent)
    _check(path, summary)
    table = files.read_columns(path, IDENTITY_COLUMNS)
    chosen = table[(table["trial"] == trial) & (table["split"] == split)]
    return {
        modality: chosen.loc[chosen["modality"] == modality, "identity"].to_numpy(np.int64)
        for modality in MODALITIES
    }


def data_hash(hashes: Mapping[str, str]) -> str:
    """Return a hash that identifies images and splits; identities are not part of it.

    Args:
        hashes: name of a stored file -> its SHA-256.
    """
    hashed = [f"{name} {hashes[name]}" for name in sorted(hashes) if name != IDENTITIES]
    return hashlib.sha256("\n".join(hashed).encode()).hexdigest()


def _check(path: Path, summary: Mapping[str, Any]) -> None:
    """Refuse a file that is not the one that the summary describes.

    Arrays are large and checked by CRC-32, which is twice as fast; tables by SHA-256.
    """
    checksum, kind = (
        (files.crc32, "crc32") if path.name in summary["crc32"] else (files.sha256, "sha256")
    )
    if checksum(path) != summary[kind].get(path.name):
        raise SalcrError(
            f"{path}: is damaged or of another data set: not the file that {SUMMARY} beside it "
            f"describes; {PREPROCESS_HINT}"
        )
