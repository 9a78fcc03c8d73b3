"""Find the images of an index, in the other modality, that show the person of a query image."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.data.images import decode_image
from salcr.errors import SalcrError
from salcr.log import escape_name, say, warn
from salcr.search.calibration import Limits, limits_of
from salcr.search.images import thumbnail
from salcr.search.index import SearchIndex
from salcr.search.page import Shown, hits_page
from salcr.search.queries import Query, Searcher, read_index_of, record, searched
from salcr.training import devices
from salcr.types import MODALITIES

_BLOCK = 512  # queries in memory at a time
_MAX_ROWS, _MAX_COLUMNS = 40, 20  # of the sheet, so that it remains legible
_SHEET_HEIGHT = 192  # pixels of an image on the sheet
_DPI = 150


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command-line arguments."""
    parser.add_argument("--index", type=Path, required=True, help="folder that embed wrote")
    parser.add_argument("--checkpoint", type=Path, required=True, help="network that embed used")
    parser.add_argument(
        "--query", type=Path, nargs="+", required=True, metavar="IMG", help="images to search for"
    )
    parser.add_argument(
        "--top", action=cli.Integer, default=10, help="hits of each query (default: 10)"
    )
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
        help="search images of the other modality only (the default), or all",
    )
    smallest = parser.add_mutually_exclusive_group()
    smallest.add_argument(
        "--min-score",
        type=cli.number(-1, 1),
        metavar="X",
        help="leave out hits whose cosine similarity is below X; there may be no hit",
    )
    smallest.add_argument(
        "--at-fmr",
        type=cli.number(0, 1),
        metavar="RATE",
        help="leave out hits below the threshold of this false-match rate, such as 1e-3, of "
        "`calibrate`",
    )
    parser.add_argument("--json", type=Path, help="json to write")
    parser.add_argument("--sheet", type=Path, help="png of queries and hits to write")
    parser.add_argument("--page", type=Path, help="HTML file of queries and hits to write")
    cli.add_compute(parser)


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Print the nearest images of each query, and write the requested files."""
    if arguments.sheet is not None and arguments.sheet.suffix.lower() != ".png":
        raise SalcrError(f"--sheet {arguments.sheet}: the name must end with .png")
    index = read_index_of(arguments.index, arguments.checkpoint)
    limits = limits_of(
        arguments.index,
        index.summary,
        arguments.among,
        min_score=arguments.min_score,
        rate=arguments.at_fmr,
    )
    device = devices.prepare(arguments.device, arguments.threads, wait=False)
    searcher = Searcher.read(
        index, arguments.checkpoint, device, settings.numerics, threads=arguments.threads
    )
    queries = [
        query._replace(hits=limits.keep(query.hits, query.modality))
        for query in _search(searcher, arguments)
    ]
    _warn_of_guesses(queries)
    if arguments.json is not None:
        files.write_json(arguments.json, record(searcher, queries, limits.scores))
        say(f"{arguments.json} written")
    if arguments.sheet is not None:
        _write_sheet(arguments.sheet, queries)
    if arguments.page is not None:
        _write_page(arguments.page, queries, index, limits, among=arguments.among)
    _print_tables(queries, limits)


def _search(searcher: Searcher, arguments: argparse.Namespace) -> list[Query]:
    """Return the queries with their hits.

    Raises:
        SalcrError: an image cannot be read, or the index has no images of the other modality.
    """
    height, width = searcher.embedder.image_size
    queries: list[Query] = []
    for start in range(0, len(arguments.query), _BLOCK):
        paths = arguments.query[start : start + _BLOCK]
        images = [decode_image(path, height=height, width=width) for path in paths]
        queries += searcher.search(
            paths, images, arguments.modality, among=arguments.among, top=arguments.top
        )
    for modality in sorted({query.modality for query in queries}):
        wanted = searched(modality, arguments.among)
        if arguments.top > (num_rows := len(searcher.index.rows_of(wanted))):
            warn(f"--top {arguments.top}: the index has {num_rows} {' or '.join(wanted)} images")
    return queries


def _warn_of_guesses(queries: list[Query]) -> None:
    for modality in MODALITIES:
        paths = [
            str(query.path) for query in queries if query.guessed and query.modality == modality
        ]
        if paths:
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            warn(
                f"{escape_name(paths[0])}{more}: guessed to be {modality} from the channels; if "
                "that is wrong, give --modality"
            )


def _print_tables(queries: list[Query], limits: Limits) -> None:
    """Print each query's hits in columns: rank, cosine similarity, file."""
    lines = []
    for query in queries:
        lines += [f"{_short(str(query.path))} ({query.modality})", "rank   score  file"]
        for hit in query.hits:
            lines.append(f"{hit['rank']:4}  {hit['score']:6.4f}  {_short(hit['path'])}")
        if not query.hits:
            lines.append(f"   -       -  {limits.no_hit}")
    print("\n".join(lines))


def _short(path: str) -> str:
    """Return a path relative to the working folder, if it is in that folder."""
    here = Path.cwd()
    is_below = Path(path).is_relative_to(here)
    return escape_name(str(Path(path).relative_to(here)) if is_below else path)


def _write_sheet(path: Path, queries: list[Query]) -> None:
    """Write the queries, each with its hits, as a png."""
    from matplotlib import rc_context  # here, because the import takes a second

    from salcr.reporting.figures.contact_sheet import Framed, picture_rows

    if len(queries) > _MAX_ROWS:
        warn(f"{path}: shows the first {_MAX_ROWS} of {len(queries)} queries")
    if any(len(query.hits) > _MAX_COLUMNS for query in queries):
        warn(f"{path}: shows the first {_MAX_COLUMNS} hits of each query")

    def frame(image: Path, title: str, color: str) -> Framed:
        return Framed(np.asarray(thumbnail(image, _SHEET_HEIGHT)), title, color)

    rows = [
        [frame(query.path, query.modality, "#000000")]
        + [
            frame(Path(hit["path"]), f"{hit['rank']}: {hit['score']:.2f}", "#0072B2")
            for hit in query.hits[:_MAX_COLUMNS]
        ]
        for query in queries[:_MAX_ROWS]
    ]
    with rc_context({"font.size": 8}), files.atomic_path(path) as temporary:
        picture_rows(rows).savefig(temporary, dpi=_DPI, format="png", bbox_inches="tight")
    say(f"{path} written")


def _write_page(
    path: Path,
    queries: list[Query],
    index: SearchIndex,
    limits: Limits,
    *,
    among: str,
) -> None:
    """Write the queries, each with its hits, as one HTML file."""
    rows = [
        (
            Shown(query.path, f"{query.modality} query", _short(str(query.path))),
            [
                Shown(
                    Path(hit["path"]),
                    f"{hit['rank']}: {hit['score']:.3f}",
                    index.images["file"].iloc[hit["row"]],
                )
                for hit in query.hits
            ],
        )
        for query in queries
    ]
    counted = " and ".join(f"{n} {m}" for m, n in index.summary["num_pictures"].items())
    summary = (
        f"{len(queries)} {'query' if len(queries) == 1 else 'queries'}, searched among {counted} "
        f"images{', each in the other modality' if among == 'other' else ''}. Beside each query "
        f"are the nearest images, with their rank and cosine similarity{limits.sentence}."
    )
    files.write_text(path, hits_page(summary, rows, no_hit=limits.no_hit))
    say(f"{path} written")
