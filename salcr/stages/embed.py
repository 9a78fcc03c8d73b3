"""Turn folders of pictures into features and an index, in which `search` finds people."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from salcr import codehash, files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.data.images import decode_image
from salcr.errors import SalcrError
from salcr.log import progress, say, warn
from salcr.search import index
from salcr.search.embedder import Embedder, read_embedder
from salcr.search.images import escape_name, guess_modality, list_files, rejection_reason
from salcr.training import devices
from salcr.types import MODALITIES, Floats

_BLOCK = 512  # files: what is in memory at a time, and what a run that is killed loses at most
_BLOCKS = "blocks"
_MOST_REASONS = 10  # why files are no pictures, where none is


class Source(NamedTuple):
    """A file that may be a picture."""

    folder: int
    """Number of its folder."""
    file: str
    """Relative to the folder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="folders of pictures, with all that is below them",
    )
    parser.add_argument(
        "--modality",
        choices=["auto", *MODALITIES],
        nargs="+",
        default=["auto"],
        help="of the pictures: one word for all folders, or one for each; auto (the default) "
        "takes pictures with equal channels for infrared",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="trained network")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the index to")
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the index; a run that was killed is continued after its last whole block."""
    device = devices.prepare(arguments.device, arguments.threads)
    folders = _checked_folders(arguments.images, arguments.out.resolve())
    _check_out(arguments.out)
    modalities = _modality_of_each(arguments.modality, len(folders))
    embedder = read_embedder(arguments.checkpoint, device, settings.numerics)
    sources = [Source(n, name) for n, folder in enumerate(folders) for name in list_files(folder)]
    say(f"embed: {len(sources)} files in {len(folders)} folder{'s' * (len(folders) > 1)}")
    summary: dict[str, Any] = {
        "checkpoint": embedder.origin,
        "image_size": list(embedder.image_size),
        "num_channels": embedder.network.num_channels,
        "numerics": {**settings.numerics.model_dump(), "autocast": embedder.network.autocast},
        "device": device.type,
        "folders": [str(folder) for folder in folders],
        "modalities": modalities,
    }
    blocks = [sources[start : start + _BLOCK] for start in range(0, len(sources), _BLOCK)]
    keys = [_key(summary, folders, block) for block in blocks]
    summary["key"] = hashlib.sha256("".join(keys).encode()).hexdigest()
    if _is_done(arguments.out, summary["key"]):
        say(f"{arguments.out}: is the index of these pictures already; nothing to do")
        return
    paths = [arguments.out / _BLOCKS / f"{number:06d}.npz" for number in range(len(blocks))]
    work = list(zip(paths, keys, blocks, strict=True))
    missing = [one for one in work if not _is_block(one[0], one[1])]
    if len(missing) < len(work):
        say(f"going on after {len(work) - len(missing)} of {len(work)} blocks")
    for path, key, block in progress(missing, title=f"blocks of {_BLOCK} files"):
        arrays = _embedded(embedder, folders, modalities, block)
        files.write_arrays(path, {"key": np.array(key), **arrays})
    _finish(arguments.out, work, summary)
    shutil.rmtree(arguments.out / _BLOCKS, ignore_errors=True)


def _checked_folders(given: list[Path], out: Path) -> list[Path]:
    """Return the folders as absolute paths, none of which holds another's files or the index."""
    folders = [folder.resolve() for folder in given]
    for number, folder in enumerate(folders):
        if not folder.is_dir():
            raise SalcrError(f"{folder}: {'is no folder' if folder.exists() else 'no such folder'}")
        if out.is_relative_to(folder):  # what is written there would be walked by the next run
            raise SalcrError(f"--out {out}: lies among the pictures of {folder}; choose another")
        for other in folders[:number]:
            if folder.is_relative_to(other) or other.is_relative_to(folder):
                raise SalcrError(f"{folder}: its pictures are among those of {other} already")
    return folders


def _check_out(out: Path) -> None:
    """Refuse a folder of other things, among which an index would be lost."""
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if out.is_dir() and (out / _BLOCKS).is_dir():
        names += [f"{_BLOCKS}/{path.name}" for path in (out / _BLOCKS).iterdir()]
    is_ours = any(name in names for name in (index.SUMMARY, index.INDEX, _BLOCKS))
    ours = [*index.FILES, _BLOCKS] if is_ours else []
    for name in names:
        is_block = re.fullmatch(rf"{_BLOCKS}/(\d+\.npz|\..*)", name)
        if not (name in ours or is_block or name.startswith(".")):
            raise SalcrError(f"--out {out}: holds {name}; choose a folder of the index's own")


def _modality_of_each(words: list[str], count: int) -> list[str]:
    if len(words) not in (1, count):
        raise SalcrError(f"--modality: {len(words)} words for {count} folders; give 1 or {count}")
    return words if len(words) == count else words * count


def _key(summary: dict[str, Any], folders: list[Path], block: list[Source]) -> str:
    """Return a hash of all that a block's features depend on."""
    origin = [summary, codehash.stage_hash("embed"), str(torch.__version__)]
    digest = hashlib.sha256(json.dumps(origin).encode())
    for source in block:
        path = folders[source.folder] / source.file
        try:
            status = path.stat()
            facts = [status.st_size, status.st_mtime_ns]
        except OSError:  # a link to nowhere: it will be skipped
            facts = []
        digest.update(json.dumps([source, facts]).encode())
    return digest.hexdigest()


def _is_done(out: Path, key: str) -> bool:
    """Tell whether an index is whole and of just these pictures."""
    try:
        return bool(index.read_index(out).summary["key"] == key)
    except SalcrError:
        return False


def _is_block(path: Path, key: str) -> bool:
    """Tell whether a block was written before, by a run on the same pictures and settings."""
    try:
        return str(files.read_arrays(path)["key"]) == key
    except (KeyError, SalcrError):
        return False


def _embedded(
    embedder: Embedder, folders: list[Path], modalities: list[str], block: list[Source]
) -> dict[str, Any]:
    """Return what is to be known of a block's files, as arrays.

    Returns:
        `features` [n, C], `kept` [n] positions in the block and `modality` [n] of the pictures,
        `guessed` [n]; `skipped` [m] positions and `reason` [m] of the other files.
    """
    height, width = embedder.image_size
    images, kept, modality, guessed = [], [], [], []
    reasons: dict[int, str] = {}
    for position, (number, name) in enumerate(block):
        path = folders[number] / name
        if (reason := rejection_reason(folders[number], name)) is not None:
            reasons[position] = reason
            continue
        try:
            image = decode_image(path, height=height, width=width)
        except SalcrError as error:
            reasons[position] = str(error).removeprefix(f"{path}: ")
            continue
        guess = modalities[number] == "auto"
        images.append(image)
        kept.append(position)
        guessed.append(guess)
        modality.append(guess_modality(image) if guess else modalities[number])
    stacked = np.stack(images) if images else np.empty((0, height, width, 3), np.uint8)
    return {
        "features": embedder.features(stacked, modality),
        "kept": np.array(kept, dtype=np.int64),
        "modality": np.array(modality, dtype=str),
        "guessed": np.array(guessed, dtype=bool),
        "skipped": np.array(list(reasons), dtype=np.int64),
        "reason": np.array(list(reasons.values()), dtype=str),
    }


def _finish(out: Path, work: list[tuple[Path, str, list[Source]]], summary: dict[str, Any]) -> None:
    """Join the blocks to the gallery, and say what is in it."""
    pictures: list[tuple[int, str, str]] = []
    skipped: list[tuple[int, str, str]] = []
    guessed: Counter[str] = Counter()
    for path, _, block in work:
        arrays = files.read_arrays(path)
        for position, modality in zip(arrays["kept"], arrays["modality"], strict=True):
            pictures.append((*block[position], str(modality)))
        for position, reason in zip(arrays["skipped"], arrays["reason"], strict=True):
            number, name = block[position]
            skipped.append((number, escape_name(name), str(reason)))
        guessed.update(arrays["modality"][arrays["guessed"]].tolist())
    _say_what_is_there(out, summary, pictures, skipped, guessed)

    def blocks() -> Iterator[Floats]:
        return (files.read_arrays(path)["features"] for path, _, _ in work)

    index.write_index(
        out,
        blocks,
        pictures=pd.DataFrame(pictures, columns=index.IMAGE_COLUMNS),
        skipped=pd.DataFrame(skipped, columns=index.SKIPPED_COLUMNS),
        summary=summary,
    )
    say(f"{out}: index of {len(pictures)} pictures written")


def _say_what_is_there(
    out: Path,
    summary: dict[str, Any],
    pictures: list[tuple[int, str, str]],
    skipped: list[tuple[int, str, str]],
    guessed: Counter[str],
) -> None:
    """Count what was found, and warn of what was skipped or guessed.

    Raises:
        SalcrError: there is no picture at all.
    """
    reasons = [f"{summary['folders'][n]}/{name}: {reason}" for n, name, reason in skipped]
    if not pictures:
        shutil.rmtree(out / _BLOCKS, ignore_errors=True)
        found = "".join(f"\n  {reason}" for reason in reasons[:_MOST_REASONS])
        more = len(reasons) - _MOST_REASONS
        found += f"\n  and {more} more" if more > 0 else ""
        folders = ", ".join(summary["folders"])
        raise SalcrError(f"{folders}: no picture that can be read there{found}")
    if skipped:
        listed = out / index.SKIPPED
        warn(f"{len(skipped)} files skipped, listed in {listed}; first {reasons[0]}")
    summary["num_pictures"] = dict(Counter(modality for _, _, modality in pictures))
    summary["num_guessed"], summary["num_skipped"] = dict(guessed), len(skipped)
    if guessed:
        counted = ", ".join(f"{count} {modality}" for modality, count in sorted(guessed.items()))
        warn(
            f"guessed from the channels: {counted}; where that is wrong, give --modality for each "
            "folder"
        )
