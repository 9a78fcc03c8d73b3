"""Find the person of a picture among those of an index, in the other modality."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.data.images import decode_image
from salcr.errors import SalcrError
from salcr.log import say, warn
from salcr.search.embedder import Embedder, read_embedder
from salcr.search.images import escape_name, guess_modality, thumbnail
from salcr.search.index import Hits, SearchIndex, read_index
from salcr.search.page import Shown, hits_page
from salcr.training import devices
from salcr.types import MODALITIES

_BLOCK = 512  # queries in memory at a time
_MOST_ROWS, _MOST_COLUMNS = 40, 20  # of the sheet: more are no picture to look at
_SHEET_HEIGHT = 192  # pixels of a picture on the sheet
_DPI = 150


class Query(NamedTuple):
    """A picture that was asked for, and what was found."""

    path: Path
    modality: str
    guessed: bool
    hits: list[dict[str, Any]]
    """Nearest first: rank, score, row, modality and path of each."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--index", type=Path, required=True, help="folder that embed wrote")
    parser.add_argument("--checkpoint", type=Path, required=True, help="network that embed used")
    parser.add_argument(
        "--query", type=Path, nargs="+", required=True, metavar="IMG", help="pictures to find"
    )
    parser.add_argument("--top", type=int, default=10, help="hits of each query (default: 10)")
    parser.add_argument(
        "--modality",
        choices=["auto", *MODALITIES],
        default="auto",
        help="of the queries; auto (the default): infrared if the channels are equal",
    )
    parser.add_argument(
        "--among",
        choices=["other", "all"],
        default="other",
        help="find pictures of the other modality only (the default), or all",
    )
    parser.add_argument("--json", type=Path, help="json to write")
    parser.add_argument("--sheet", type=Path, help="picture of queries and hits to write (png)")
    parser.add_argument("--page", type=Path, help="HTML file of queries and hits to write")
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Print the nearest pictures of each query, and write them as asked for."""
    if arguments.top < 1:
        raise SalcrError(f"--top {arguments.top}: at least 1 hit must be wanted")
    if arguments.sheet is not None and arguments.sheet.suffix.lower() != ".png":
        raise SalcrError(f"--sheet {arguments.sheet}: the picture is a png; name it so")
    gallery = read_index(arguments.index)
    _check_model(arguments, gallery)
    device = devices.prepare(arguments.device, arguments.threads)
    faiss.omp_set_num_threads(arguments.threads)  # else all cores, whatever the job was given
    embedder = read_embedder(arguments.checkpoint, device, settings.numerics)
    queries: list[Query] = []
    for start in range(0, len(arguments.query), _BLOCK):
        paths = arguments.query[start : start + _BLOCK]
        queries += _answered(embedder, gallery, paths, arguments)
    _warn_of_guesses(queries)
    if arguments.json is not None:
        content = {"index": str(arguments.index), "checkpoint": embedder.origin}
        found = [{**query._asdict(), "path": str(query.path)} for query in queries]
        files.write_json(arguments.json, {**content, "queries": found})
        say(f"{arguments.json} written")
    if arguments.sheet is not None:
        _write_sheet(arguments.sheet, queries)
    if arguments.page is not None:
        _write_page(arguments.page, queries, gallery, among=arguments.among)
    _print_tables(queries)


def _check_model(arguments: argparse.Namespace, gallery: SearchIndex) -> None:
    """Refuse a network whose features mean nothing beside those of the index."""
    digest = gallery.summary["checkpoint"]["sha256"]
    if not arguments.checkpoint.is_file():
        raise SalcrError(f"{arguments.checkpoint}: no such file")
    if (other := files.sha256(arguments.checkpoint)) != digest:
        raise SalcrError(
            f"{arguments.index}: was made with another model (sha256 {digest[:12]}..., not "
            f"{other[:12]}... of {arguments.checkpoint}); give that one, or run embed again"
        )


def _answered(
    embedder: Embedder, gallery: SearchIndex, paths: list[Path], arguments: argparse.Namespace
) -> list[Query]:
    """Return queries with their hits.

    Raises:
        SalcrError: a picture cannot be read, or the index has none of the modality to find.
    """
    height, width = embedder.image_size
    images = np.stack([decode_image(path, height=height, width=width) for path in paths])
    guessed = arguments.modality == "auto"
    modalities = [guess_modality(i) if guessed else arguments.modality for i in images]
    features = embedder.features(images, modalities)
    answers: dict[int, Query] = {}
    for modality in sorted(set(modalities)):
        asked = np.flatnonzero(np.array(modalities) == modality)
        wanted = [m for m in MODALITIES if arguments.among == "all" or m != modality]
        rows = gallery.rows_of(wanted)
        if len(rows) == 0:
            raise SalcrError(
                f"{arguments.index}: holds no {' or '.join(wanted)} pictures for the {modality} "
                f"query {paths[asked[0]]}; say --among all, or --modality if that is not its own"
            )
        if arguments.top > len(rows):
            warn(f"--top {arguments.top}: the index has {len(rows)} {' or '.join(wanted)} pictures")
        found = gallery.search(features[asked], rows, arguments.top)
        for number, position in enumerate(asked.tolist()):
            hits = _listed(gallery, found, number)
            answers[position] = Query(paths[position], modality, guessed, hits)
    return [answers[position] for position in range(len(paths))]


def _listed(gallery: SearchIndex, found: Hits, number: int) -> list[dict[str, Any]]:
    return [
        {
            "rank": rank,
            "score": float(score),
            "row": int(row),
            "modality": gallery.pictures["modality"].iloc[row],
            "path": str(gallery.path(row)),
        }
        for rank, (row, score) in enumerate(
            zip(found.rows[number], found.scores[number], strict=True), start=1
        )
    ]


def _warn_of_guesses(queries: list[Query]) -> None:
    for modality in MODALITIES:
        found = [str(one.path) for one in queries if one.guessed and one.modality == modality]
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            warn(
                f"{escape_name(found[0])}{more}: guessed to be {modality} from the channels; "
                "--modality says it for certain"
            )


def _print_tables(queries: list[Query]) -> None:
    """Print each query's hits in columns: rank, cosine similarity, file."""
    lines = []
    for query in queries:
        lines += [f"{_short(str(query.path))} ({query.modality})", "rank   score  file"]
        for hit in query.hits:
            lines.append(f"{hit['rank']:4}  {hit['score']:6.4f}  {_short(hit['path'])}")
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # `| head` has read enough; Python would complain once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _short(path: str) -> str:
    """Return a path as a person would give it: from here if it is below."""
    here = Path.cwd()
    below = Path(path).is_relative_to(here)
    return escape_name(str(Path(path).relative_to(here)) if below else path)


def _write_sheet(path: Path, queries: list[Query]) -> None:
    """Write the queries, each with its hits, as a picture."""
    from matplotlib import rc_context  # here, since it takes a second

    from salcr.reporting.figures.contact_sheet import Framed, picture_rows

    if len(queries) > _MOST_ROWS:
        warn(f"{path}: shows the first {_MOST_ROWS} of {len(queries)} queries")
    if any(len(query.hits) > _MOST_COLUMNS for query in queries):
        warn(f"{path}: shows the first {_MOST_COLUMNS} hits of each query")

    def framed(picture: Path, title: str, color: str) -> Framed:
        return Framed(np.asarray(thumbnail(picture, _SHEET_HEIGHT)), title, color)

    rows = [
        [framed(query.path, query.modality, "#000000")]
        + [
            framed(Path(hit["path"]), f"{hit['rank']}: {hit['score']:.2f}", "#0072B2")
            for hit in query.hits[:_MOST_COLUMNS]
        ]
        for query in queries[:_MOST_ROWS]
    ]
    with rc_context({"font.size": 8}), files.atomic_path(path) as temporary:
        picture_rows(rows).savefig(temporary, dpi=_DPI, format="png", bbox_inches="tight")
    say(f"{path} written")


def _write_page(path: Path, queries: list[Query], gallery: SearchIndex, *, among: str) -> None:
    """Write the queries, each with its hits, as one HTML file."""
    rows = [
        (
            Shown(query.path, f"{query.modality} query", _short(str(query.path))),
            [
                Shown(
                    Path(hit["path"]),
                    f"{hit['rank']}: {hit['score']:.3f}",
                    gallery.pictures["file"].iloc[hit["row"]],
                )
                for hit in query.hits
            ],
        )
        for query in queries
    ]
    counted = " and ".join(f"{n} {m}" for m, n in gallery.summary["num_pictures"].items())
    summary = (
        f"{len(queries)} {'query' if len(queries) == 1 else 'queries'}, searched among {counted} "
        f"pictures{', each in the other modality' if among == 'other' else ''}. Beside each query "
        "its nearest pictures, with their rank and cosine similarity."
    )
    files.write_text(path, hits_page(summary, rows))
    say(f"{path} written")
