"""Embed folders of images block by block, so that a run that was killed can be resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from salcr import codehash, files
from salcr.data import workers
from salcr.data.pictures import list_files
from salcr.errors import SalcrError
from salcr.log import escape_name, progress, say, warn
from salcr.search import index
from salcr.search.embedder import Embedder
from salcr.search.images import Picture, content_digest, read_picture
from salcr.types import Floats

FOLDER = "blocks"
"""Folder of the blocks, in that of the index, until the index is written."""
_BLOCK = 512  # files in memory at a time; a run that is killed loses at most these
_MAX_REASONS = 10  # in the message if none of the files is an image


class Source(NamedTuple):
    """A file that may be an image."""

    folder: int
    """Number of its folder, from 0."""
    file: str
    """Relative to the folder."""
    digest: str
    """Of its content when it was listed; empty if that does not matter."""


def embed_folders(
    embedder: Embedder,
    folders: list[Path],
    modalities: list[str],
    out: Path,
    summary: dict[str, Any],
    *,
    processes: int | None,
) -> None:
    """Write the index of all images in folders, unless it is there already.

    A run that was killed is resumed after its last complete block.

    Args:
        embedder: computes the features.
        folders: absolute paths, none of them in another.
        modalities: "visible", "infrared" or "auto" (guessed image by image) for each folder.
        out: folder of the index.
        summary: plain values on which the features depend, and the names of the `folders`; the
            index holds them, with a key and the numbers of images.
        processes: that decode images; with fewer than two, this one does; None: as many as
            are worth it.

    Raises:
        SalcrError: a folder cannot be read or loses files in the meantime, it holds no images, or a
            feature is not finite. An older index is kept.
    """
    sources = _list_sources(folders)
    blocks = [sources[start : start + _BLOCK] for start in range(0, len(sources), _BLOCK)]
    keys = [_key(summary, block) for block in blocks]
    summary = {**summary, "key": hashlib.sha256("".join(keys).encode()).hexdigest()}
    if _is_done(out, summary["key"]):
        say(f"{out}: is already the index of these images; nothing to do")
        return
    paths = [out / FOLDER / f"{number:06d}.npz" for number in range(len(blocks))]
    work = list(zip(paths, keys, blocks, strict=True))
    missing = [(path, key, block) for path, key, block in work if not _is_block(path, key)]
    if len(missing) < len(work):
        say(f"resuming after {len(work) - len(missing)} of {len(work)} blocks")
    height, width = embedder.image_size
    listed = (
        (folders[number], name, digest, modalities[number])
        for _, _, block in missing
        for number, name, digest in block
    )
    read = partial(read_picture, height=height, width=width)
    if processes is None:
        num_files = sum(len(block) for _, _, block in missing)
        processes = workers.sensible_number(num_files, threads=torch.get_num_threads())
    with closing(workers.apply(read, listed, processes=processes)) as pictures:
        for path, key, block in progress(missing, title=f"blocks of {_BLOCK} files"):
            arrays = _embed_block(embedder, list(islice(pictures, len(block))))
            files.write_arrays(path, {"key": np.array(key), **arrays})
    _finish(out, work, summary)
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def _list_sources(folders: list[Path]) -> list[Source]:
    """Return all files of the folders.

    Each is read once for its digest: another picture may have the size and the date of the one
    that it replaces, and decoding takes ten times as long.
    """
    names = [(number, name) for number, folder in enumerate(folders) for name in list_files(folder)]
    say(f"embed: {len(names)} files in {len(folders)} folder{'s' * (len(folders) > 1)}")
    listed = progress(names, title="read", total=len(names))
    return [Source(n, name, content_digest(folders[n], name)) for n, name in listed]


def _key(summary: dict[str, Any], block: list[Source]) -> str:
    """Return a hash of all that a block's features depend on."""
    origin = [summary, codehash.stage_hash("embed"), str(torch.__version__), block]
    return hashlib.sha256(json.dumps(origin).encode()).hexdigest()


def _is_done(out: Path, key: str) -> bool:
    """Return whether an index is complete and of these images."""
    try:
        return bool(index.read_index(out).summary["key"] == key)
    except SalcrError:
        return False


def _is_block(path: Path, key: str) -> bool:
    """Return whether a run with the same images and settings has already written a block."""
    try:
        return str(files.read_arrays(path)["key"]) == key
    except (KeyError, SalcrError):
        return False


def _embed_block(embedder: Embedder, block: list[Picture | str]) -> dict[str, Any]:
    """Return the features and properties of a block's files, as arrays.

    Args:
        embedder: computes the features.
        block: what was read of each file.

    Returns:
        of the images, `features` [n, C], `kept` [n] positions in the block, `modality` [n] and
        `guessed` [n], whether the modality was guessed; of the other files, `skipped` [m] positions
        and `reason` [m].
    """
    height, width = embedder.image_size
    kept = [position for position, read in enumerate(block) if isinstance(read, Picture)]
    pictures = [read for read in block if isinstance(read, Picture)]
    reasons = {position: read for position, read in enumerate(block) if isinstance(read, str)}
    empty = np.empty((0, height, width, 3), np.uint8)
    stacked = np.stack([picture.image for picture in pictures]) if pictures else empty
    modality = [picture.modality for picture in pictures]
    return {
        "features": embedder.features(stacked, modality),
        "kept": np.array(kept, dtype=np.int64),
        "modality": np.array(modality, dtype=str),
        "guessed": np.array([picture.guessed for picture in pictures], dtype=bool),
        "skipped": np.array(list(reasons), dtype=np.int64),
        "reason": np.array(list(reasons.values()), dtype=str),
    }


def _finish(out: Path, work: list[tuple[Path, str, list[Source]]], summary: dict[str, Any]) -> None:
    """Write the index from its blocks, and report its content."""
    images: list[tuple[int, str, str]] = []
    skipped: list[tuple[int, str, str]] = []
    guessed: Counter[str] = Counter()
    for path, _, block in work:
        arrays = files.read_arrays(path)
        for position, modality in zip(arrays["kept"], arrays["modality"], strict=True):
            number, name, _ = block[position]
            images.append((number, name, str(modality)))
        for position, reason in zip(arrays["skipped"], arrays["reason"], strict=True):
            number, name, _ = block[position]
            skipped.append((number, escape_name(name), str(reason)))
        guessed.update(arrays["modality"][arrays["guessed"]].tolist())
    _report_content(out, summary, images, skipped, guessed)

    def blocks() -> Iterator[Floats]:
        return (files.read_arrays(path)["features"] for path, _, _ in work)

    index.write_index(
        out,
        blocks,
        images=pd.DataFrame(images, columns=index.IMAGE_COLUMNS),
        skipped=pd.DataFrame(skipped, columns=index.SKIPPED_COLUMNS),
        summary=summary,
    )
    say(f"{out}: index of {len(images)} images written")


def _report_content(
    out: Path,
    summary: dict[str, Any],
    images: list[tuple[int, str, str]],
    skipped: list[tuple[int, str, str]],
    guessed: Counter[str],
) -> None:
    """Add the numbers of images to the summary, and warn about skipped files and guesses.

    Raises:
        SalcrError: there are no images.
    """
    reasons = [f"{summary['folders'][n]}/{name}: {reason}" for n, name, reason in skipped]
    if not images:
        shutil.rmtree(out / FOLDER, ignore_errors=True)
        listed = "".join(f"\n  {reason}" for reason in reasons[:_MAX_REASONS])
        more = len(reasons) - _MAX_REASONS
        listed += f"\n  and {more} more" if more > 0 else ""
        folders = ", ".join(summary["folders"])
        raise SalcrError(f"{folders}: no readable images{listed}")
    if skipped:
        warn(f"{len(skipped)} files skipped, see {out / index.SKIPPED}; first {reasons[0]}")
    used = {number for number, _, _ in images}
    for number, folder in enumerate(summary["folders"]):
        if number not in used:  # the disk of one camera may be missing
            warn(f"{folder}: no readable images")
    summary["num_pictures"] = dict(Counter(modality for _, _, modality in images))
    summary["num_guessed"], summary["num_skipped"] = dict(guessed), len(skipped)
    if guessed:
        counted = ", ".join(f"{count} {modality}" for modality, count in sorted(guessed.items()))
        warn(
            f"guessed from the channels: {counted}; if that is wrong, give --modality for each "
            "folder"
        )
