"""Queries and hits as one HTML page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from salcr.log import escape_name
from salcr.reporting import page
from salcr.search.images import thumbnail

_HEIGHT = 160  # pixels of a picture


class Shown(NamedTuple):
    """A picture on the page."""

    path: Path
    caption: str
    """What it is, such as its rank and score."""
    name: str
    """Name of its file on the page."""


def hits_page(summary: str, rows: Sequence[tuple[Shown, Sequence[Shown]]], *, no_hit: str) -> str:
    """Return the page of queries, each with its hits.

    Args:
        summary: a sentence above them.
        rows: query and hits, nearest first.
        no_hit: in the place of the hits of a query without any.
    """
    figures = [(_figure(query), [_figure(hit) for hit in hits]) for query, hits in rows]
    return page.render_page(
        "search/hits.html.j2", title="SALCR search", summary=summary, rows=figures, no_hit=no_hit
    )


def _figure(shown: Shown) -> dict[str, str]:
    content = io.BytesIO()
    thumbnail(shown.path, _HEIGHT).save(content, "JPEG", quality=85)
    return {
        "uri": page.data_uri(content.getvalue(), "jpeg"),
        "caption": shown.caption,
        "name": escape_name(shown.name),
    }
