"""The table and figure of a study: variants over the same starts, and their paired differences."""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt

from salcr import files
from salcr.config import cli
from salcr.config.schema import Config
from salcr.errors import SalcrError
from salcr.log import say
from salcr.reporting import starts, study
from salcr.reporting.figures.differences import plot_differences
from salcr.reporting.figures.style import rc_settings, save_figure

_PAGE_DPI = 120  # so that a picture beside a page is small


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the stage reads and writes."""
    parser.add_argument("--rows", type=Path, required=True, help="csv of finished starts")
    parser.add_argument(
        "--starts", type=Path, nargs="*", default=[], help="json of starts that it must hold"
    )
    parser.add_argument(
        "--origins", type=cli.json_of(dict[str, tuple[str, str]], "JSON of digests"), required=True,
        help="variant -> digests of its present settings and code",
    )  # fmt: skip
    parser.add_argument(
        "--compare",
        type=cli.json_of(dict[str, list[str]], "JSON of names"),
        default={},
        help="variant -> variants to compare it with",
    )
    parser.add_argument("--table", type=Path, required=True, help="csv to write")
    parser.add_argument("--text", type=Path, required=True, help="Markdown to write")
    parser.add_argument("--latex", type=Path, required=True, help="LaTeX to write")
    parser.add_argument("--figures", type=Path, nargs="+", required=True, help="png, pdf to write")
    parser.add_argument(
        "--page", type=Path, help="page in which the table is replaced; the figure beside it"
    )
    parser.add_argument(
        "--page-table", default="study", help="name of the table in the page, and of the figure"
    )


def run(arguments: argparse.Namespace, settings: Config) -> None:
    """Write the table in three forms and the figure, and both into the page if one is named."""
    starts.merge_rows(
        arguments.rows, [row for p in arguments.starts for row in starts.read_start(p)]
    )
    now = {name: starts.Origin(*one) for name, one in arguments.origins.items()}
    if others := {*chain(*arguments.compare.values())} - now.keys():
        raise SalcrError(f"--compare: {min(others)} is not one of --origins")
    table = study.compare_variants(starts.read_rows(arguments.rows), now, arguments.compare)
    text = study.as_markdown(table, list(now))
    files.write_table(arguments.table, table)
    files.write_text(arguments.text, text)
    files.write_text(arguments.latex, study.as_latex(table, list(now)))
    pictures = dict.fromkeys(arguments.figures, settings.plot.dpi)
    if arguments.page and not table.empty:
        picture = arguments.page.parent / f"{arguments.page_table}.png"
        pictures[picture] = _PAGE_DPI
        content = f"{text}\n![Paired differences]({picture.name})\n"
        _write_page(arguments.page, content, arguments.page_table)
    with plt.rc_context(rc_settings(settings.plot.font_size)):
        figure = plot_differences(table)
        for path, dpi in pictures.items():
            save_figure(figure, path, dpi)
        plt.close(figure)
    say(f"{arguments.text}: {len(table)} lines; {', '.join(map(str, pictures))} written")


def _write_page(path: Path, content: str, table: str) -> None:
    """Replace the table in a page; one that does not exist is made of the table alone."""
    empty = "".join(f"{mark}\n" for mark in study.marks(table))
    page = files.read_text(path) if path.exists() else empty
    try:
        files.write_text(path, study.replace_section(page, content, table))
    except SalcrError as error:
        raise SalcrError(f"{path}: {error}") from None
