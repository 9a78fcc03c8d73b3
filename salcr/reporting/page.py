"""HTML that opens without a network and without other files."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

# Nothing may be loaded from anywhere, whatever a file is called.
_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}</style>
"""


def document(title: str, style: str, body: str) -> str:
    """Return a whole page.

    Args:
        title: plain text.
        style: CSS.
        body: HTML, all that is not markup escaped.
    """
    return _HEAD.format(title=html.escape(title), style=style) + body + "</html>\n"


def data_uri(picture: bytes, form: str) -> str:
    """Return a picture, "png" or "jpeg", as the address of an image."""
    return f"data:image/{form};base64,{base64.b64encode(picture).decode()}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain text."""
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>\n</table>\n"
