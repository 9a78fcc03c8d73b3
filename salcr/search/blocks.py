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
from salcr.log import escape_name, progress, say
from salcr.search import index
from salcr.search.content import report_content
from salcr.search.embedder import Embedder
from salcr.search.images import Picture, content_digest, read_picture
from salcr.search.known import Embedded, Read, origin_of, read_known
from salcr.types import Floats

FOLDER = "blocks"
"""Folder of the blocks, in that of the index, until the index is written."""
SETTINGS = "settings.json"
"""Beside the blocks of shards: what all of them have in common."""
_BLOCK = 512  # files in memory at a time; a run that is killed loses at most these


class Source(NamedTuple):
    """A file that may be an image."""

    folder: int
    """Number of its folder, from 0."""
    file: str
    """Relative to the folder."""
    digest: str
    """Of its content when it was listed; empty if that does not matter."""


class Block(NamedTuple):
    """Some consecutive files, whose features are a file of their own until the index is written."""

    path: Path
    key: str
    """Hash of all that the features depend on."""
    sources: list[Source]


class Shard(NamedTuple):
    """Every n-th block, for one of several jobs that share the work."""

    number: int
    """From 1."""
    of: int
    """Number of shards."""

    @property
    def blocks(self) -> slice:
        """Return the slice of its blocks among all."""
        return slice(self.number - 1, None, self.of)


def embed_folders(
    embedder: Embedder,
    folders: list[Path],
    modalities: list[str],
    out: Path,
    summary: dict[str, Any],
    *,
    processes: int | None,
    kind: str = "flat",
    shard: Shard | None = None,
) -> None:
    """Write the index of all images in folders, unless it is there already.

    A run that was killed is resumed after its last complete block. Pictures of an older index in
    the same folder keep their features.

    Args:
        embedder: computes the features.
        folders: absolute paths, none of them in another.
        modalities: "visible", "infrared" or "auto" (guessed image by image) for each folder.
        out: folder of the index.
        summary: plain values on which the features depend, and the names of the `folders`; the
            index holds them, with a key and the numbers of images.
        processes: that decode images; with fewer than two, this one does; None: as many as
            are worth it.
        kind: of the index: flat, ivf, hnsw, or pq.
        shard: write only the blocks of this shard, and no index; None: all.

    Raises:
        SalcrError: a folder cannot be read or loses files in the meantime, it holds no images, or a
            feature is not finite. An older index is kept.
    """
    work = list_work(folders, out, summary, shard)
    if shard is None:
        summary = {**summary, "key": key_of(work)}
        if is_done(out, summary["key"], kind):
            end(out, "is already the index of these images; nothing to do")
            return
    missing = [one for one in work if not is_block(one)]
    if len(missing) < len(work):
        say(f"resuming after {len(work) - len(missing)} of {len(work)} blocks")
    known = read_known(out, origin_of(summary))
    kept = [[known.find(s.digest, modalities[s.folder]) for s in one.sources] for one in missing]
    if num_kept := sum(one is not None for block in kept for one in block):
        say(f"{num_kept} images keep the features of the index before")
    listed = [
        (folders[source.folder], source.file, source.digest, modalities[source.folder])
        for one, block in zip(missing, kept, strict=True)
        for source, embedded in zip(one.sources, block, strict=True)
        if embedded is None
    ]
    height, width = embedder.image_size
    read = partial(read_picture, height=height, width=width)
    if processes is None:
        processes = workers.sensible_number(len(listed), threads=torch.get_num_threads())
    with closing(workers.apply(read, listed, processes=processes)) as pictures:
        todo = progress(zip(missing, kept, strict=True), title=f"blocks of {_BLOCK} files")
        for one, block in todo:
            new = islice(pictures, block.count(None))
            content = [next(new) if embedded is None else embedded for embedded in block]
            arrays = _embed_block(embedder, content)
            files.write_arrays(one.path, {"key": np.array(one.key), **arrays})
    if shard is None:
        finish(out, work, summary, kind)


def finish(out: Path, work: list[Block], summary: dict[str, Any], kind: str) -> None:
    """Write the index from its blocks, which are then deleted.

    Args:
        out: folder of the index.
        work: all blocks.
        summary: as in `embed_folders`, with the key.
        kind: of the index.
    """
    num_images = _finish(out, work, {**summary, "origin": origin_of(summary)}, kind)
    end(out, f"index of {num_images} images written")


def end(out: Path, words: str) -> None:
    """Delete the blocks of a complete index, and say what happened."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)
    say(f"{out}: {words}")


def list_work(
    folders: list[Path], out: Path, summary: dict[str, Any], shard: Shard | None = None
) -> list[Block]:
    """Return the blocks of the files of folders, or those of a shard.

    Each file is read once for its digest: another picture may have the size and the date of the one
    that it replaces, and decoding takes ten times as long.

    Args:
        folders: absolute paths.
        out: folder of the index.
        summary: as in `embed_folders`.
        shard: of which to return the blocks; None: all.
    """
    names = [(number, name) for number, folder in enumerate(folders) for name in list_files(folder)]
    say(f"embed: {len(names)} files in {len(folders)} folder{'s' * (len(folders) > 1)}")
    starts = range(0, len(names), _BLOCK)
    numbers = range(len(starts)) if shard is None else range(len(starts))[shard.blocks]
    chosen = [(number, names[starts[number] : starts[number] + _BLOCK]) for number in numbers]
    work = []
    for number, block in progress(chosen, title="read", total=len(chosen)):
        sources = [Source(n, name, content_digest(folders[n], name)) for n, name in block]
        path = out / FOLDER / f"{number:06d}.npz"
        work.append(Block(path, _key(summary, sources), sources))
    return work


def key_of(work: list[Block]) -> str:
    """Return a hash of all that an index's features depend on."""
    return hashlib.sha256("".join(one.key for one in work).encode()).hexdigest()


def _key(summary: dict[str, Any], block: list[Source]) -> str:
    """Return a hash of all that a block's features depend on."""
    origin = [summary, codehash.stage_hash("embed"), str(torch.__version__), block]
    return hashlib.sha256(json.dumps(origin).encode()).hexdigest()


def is_done(out: Path, key: str, kind: str) -> bool:
    """Return whether an index is complete, of these images, and of this kind."""
    try:
        summary = index.read_index(out).summary
        return bool(summary["key"] == key and summary.get("kind", "flat") == kind)
    except SalcrError:
        return False


def is_block(block: Block) -> bool:
    """Return whether a run with the same images and settings has already written a block."""
    try:
        return str(files.read_arrays(block.path)["key"]) == block.key
    except (KeyError, SalcrError):
        return False


def _embed_block(embedder: Embedder, block: list[Read]) -> dict[str, Any]:
    """Return the features and properties of a block's files, as arrays.

    Args:
        embedder: computes the features.
        block: what was read or is known of each file.

    Returns:
        of the images, `features` [n, C], `kept` [n] positions in the block, `modality` [n] and
        `guessed` [n], whether the modality was guessed; of the other files, `skipped` [m] positions
        and `reason` [m].
    """
    height, width = embedder.image_size
    images = {i: read for i, read in enumerate(block) if not isinstance(read, str)}
    reasons = {i: read for i, read in enumerate(block) if isinstance(read, str)}
    new = [one for one in images.values() if isinstance(one, Picture)]
    empty = np.empty((0, height, width, 3), np.uint8)
    stacked = np.stack([picture.image for picture in new]) if new else empty
    computed = iter(embedder.features(stacked, [picture.modality for picture in new]))
    features = [
        one.feature if isinstance(one, Embedded) else next(computed) for one in images.values()
    ]
    none = np.empty((0, embedder.network.num_channels), np.float32)
    return {
        "features": np.stack(features) if features else none,
        "kept": np.array(list(images), dtype=np.int64),
        "modality": np.array([one.modality for one in images.values()], dtype=str),
        "guessed": np.array([one.guessed for one in images.values()], dtype=bool),
        "skipped": np.array(list(reasons), dtype=np.int64),
        "reason": np.array(list(reasons.values()), dtype=str),
    }


def _finish(out: Path, work: list[Block], summary: dict[str, Any], kind: str) -> int:
    """Write the index from its blocks, report its content, and return the number of images."""
    images: list[tuple[int, str, str]] = []
    skipped: list[tuple[int, str, str]] = []
    digests = bytearray()
    guessed: Counter[str] = Counter()
    for path, _, sources in work:
        arrays = files.read_arrays(path)
        for position, modality in zip(arrays["kept"], arrays["modality"], strict=True):
            number, name, digest = sources[position]
            images.append((number, name, str(modality)))
            digests += bytes.fromhex(digest).ljust(32, b"\0")
        for position, reason in zip(arrays["skipped"], arrays["reason"], strict=True):
            number, name, _ = sources[position]
            skipped.append((number, escape_name(name), str(reason)))
        guessed.update(arrays["modality"][arrays["guessed"]].tolist())
    if not images:
        shutil.rmtree(out / FOLDER, ignore_errors=True)
    report_content(out, summary, images, skipped, guessed)

    def blocks() -> Iterator[Floats]:
        return (files.read_arrays(path)["features"] for path, _, _ in work)

    index.write_index(
        out,
        blocks,
        images=pd.DataFrame(images, columns=index.IMAGE_COLUMNS),
        skipped=pd.DataFrame(skipped, columns=index.SKIPPED_COLUMNS),
        digests=np.frombuffer(bytes(digests), np.uint8).reshape(-1, 32),
        summary=summary,
        kind=kind,
    )
    return len(images)
