"""Queries and hits as one HTML page."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from salcr.reporting import page
from salcr.search.images import escape_name, thumbnail

_HEIGHT = 160  # pixels of a picture

_STYLE = """:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 1.5rem auto; max-width: 90rem; padding: 0 1rem; }
section { border-top: 1px solid #8886; display: flex; gap: 1.2rem; padding: 1rem 0; }
ol { display: flex; flex-wrap: wrap; gap: .6rem; list-style: none; margin: 0; padding: 0; }
figure { margin: 0; width: 5.5rem; }
img { display: block; height: 160px; max-width: 100%; object-fit: contain; }
.query img { outline: 3px solid; outline-offset: 2px; }
figcaption { font-size: .75rem; margin-top: .4rem; overflow-wrap: anywhere; }
figcaption b { display: block; font-size: .95rem; }
"""


class Shown(NamedTuple):
    """A picture on the page."""

    path: Path
    caption: str
    """What it is, such as its rank and score."""
    name: str
    """What its file is called on the page."""


def hits_page(summary: str, rows: Sequence[tuple[Shown, Sequence[Shown]]]) -> str:
    """Return the page of queries, each with its hits.

    Args:
        summary: a sentence above them.
        rows: query and hits, nearest first.
    """
    parts = [f"<h1>SALCR search</h1>\n<p>{html.escape(summary)}</p>\n"]
    for query, hits in rows:
        parts.append(f'<section>\n<div class="query">{_figure(query)}</div>\n<ol>\n')
        parts += [f"<li>{_figure(hit)}</li>\n" for hit in hits]
        parts.append("</ol>\n</section>\n")
    return page.document("SALCR search", _STYLE, "".join(parts))


def _figure(shown: Shown) -> str:
    caption, name = html.escape(shown.caption), html.escape(escape_name(shown.name))
    breaks = name.replace("/", "/<wbr>").replace("_", "_<wbr>")
    picture = _data_uri(thumbnail(shown.path, _HEIGHT))
    return (
        f'<figure><img src="{picture}" alt="{caption}: {name}">'
        f"<figcaption><b>{caption}</b>{breaks}</figcaption></figure>"
    )


def _data_uri(picture: Image.Image) -> str:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=85)
    return page.data_uri(content.getvalue(), "jpeg")
