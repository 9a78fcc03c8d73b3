"""Compute the features of folders of images, and an index in which `search` finds people."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from salcr.atomic import claimed
from salcr.config import cli
from salcr.config.schema import MAX_THREADS, Config
from salcr.errors import SalcrError
from salcr.search import index, shards
from salcr.search.blocks import FOLDER, SETTINGS, Shard, embed_folders
from salcr.search.embedder import read_embedder
from salcr.search.factory import KINDS
from salcr.training import devices
from salcr.types import MODALITIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="folders of images, including their subfolders",
    )
    parser.add_argument(
        "--modality",
        choices=["auto", *MODALITIES],
        nargs="+",
        default=["auto"],
        help="of the images: one word for all folders, or one for each; auto (the default) "
        "takes images with equal channels for infrared",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="trained network")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the index to")
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="flat",
        help="of the index: flat is exact (the default); ivf, hnsw and pq are approximate, for "
        "hundreds of thousands of images",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="compute the features of one of N parts only, such as 3/8; join-index joins them",
    )
    parser.add_argument(
        "--workers",
        action=cli.Integer,
        least=0,
        most=MAX_THREADS,
        help="processes that decode images; 0 or 1: this one alone (default: by the numbers of "
        "cores and images)",
    )
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the index; a run that was killed resumes after its last complete block."""
    import faiss  # here, because --help does not need it

    if arguments.shard is not None and arguments.kind != "flat":
        raise SalcrError(f"--kind {arguments.kind}: is for join-index, not for a --shard")
    faiss.omp_set_num_threads(arguments.threads)  # its default is all cores
    device = devices.prepare(arguments.device, arguments.threads, wait=False)
    folders = _require_separate_folders(arguments.images, arguments.out.resolve())
    _check_out(arguments.out)
    _keep_other_folders(arguments.out, folders)
    modalities = _modality_of_each(arguments.modality, len(folders))
    embedder = read_embedder(arguments.checkpoint, device, settings.numerics)
    summary = {
        "checkpoint": embedder.origin,
        "image_size": list(embedder.image_size),
        "num_channels": embedder.network.num_channels,
        "numerics": {**settings.numerics.model_dump(), "autocast": embedder.network.autocast},
        "device": device.type,
        "folders": [str(folder) for folder in folders],
        "modalities": modalities,
    }
    # Shards write at the same time, but not while the index is written.
    with claimed(arguments.out, together=arguments.shard is not None):
        if arguments.shard is not None:
            shards.write_settings(arguments.out, summary)
        embed_folders(
            embedder,
            folders,
            modalities,
            arguments.out,
            summary,
            processes=arguments.workers,
            kind=arguments.kind,
            shard=arguments.shard,
        )


def _shard(word: str) -> Shard:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", word)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{word!r} is not a part such as 3/8, from 1/8 to 8/8")
    return Shard(int(match[1]), int(match[2]))


def _require_separate_folders(given: list[Path], out: Path) -> list[Path]:
    """Return the absolute paths of folders, none of which may hold another one or the index."""
    folders = [folder.resolve() for folder in given]
    for number, folder in enumerate(folders):
        if not folder.is_dir():
            reason = "is not a folder" if folder.exists() else "no such folder"
            raise SalcrError(f"{folder}: {reason}")
        if out.is_relative_to(folder):  # the next run would list the index among the images
            raise SalcrError(f"--out {out}: is among the images of {folder}; choose another folder")
        for other in folders[:number]:
            if folder.is_relative_to(other) or other.is_relative_to(folder):
                raise SalcrError(f"{folder}: its images are already among those of {other}")
    return folders


def _check_out(out: Path) -> None:
    """Refuse a folder that holds other files than an index."""
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if out.is_dir() and (out / FOLDER).is_dir():
        names += [f"{FOLDER}/{path.name}" for path in (out / FOLDER).iterdir()]
    is_ours = any(name in names for name in (index.SUMMARY, index.INDEX, FOLDER))
    ours = [*index.FILES, FOLDER] if is_ours else []
    names_of_ours = rf"\d+\.npz|{re.escape(SETTINGS)}"
    for name in names:
        is_block = re.fullmatch(
            rf"{FOLDER}/({names_of_ours}|\.({names_of_ours})\.unfinished-.*)", name
        )
        if not (name in ours or is_block or name.startswith(".")):
            raise SalcrError(f"--out {out}: holds {name}; choose an empty folder")


def _keep_other_folders(out: Path, folders: list[Path]) -> None:
    """Refuse to replace an index of other folders; one that is damaged may be replaced."""
    try:
        indexed = index.read_summary(out)["folders"]
    except SalcrError:
        return
    if others := [name for name in indexed if Path(name) not in folders]:
        raise SalcrError(
            f"--out {out}: is an index of {others[0]}; name this folder with --images too, choose "
            f"another --out, or delete {out}"
        )


def _modality_of_each(words: list[str], count: int) -> list[str]:
    if len(words) not in (1, count):
        raise SalcrError(f"--modality: {len(words)} words for {count} folders; give 1 or {count}")
    return words if len(words) == count else words * count
