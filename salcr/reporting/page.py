"""HTML pages that open without a network and without other files, from Jinja templates."""

from __future__ import annotations

import base64
from typing import Any

import jinja2
from markupsafe import Markup

from salcr.log import escape_text


def _escaped(value: Any) -> Any:
    """Return a value of a template; text without marks that change how the page is read."""
    return escape_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


# Everything that a template shows is escaped unless it is markup itself; a name that a template
# uses and does not get is an error.
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("salcr", "."),
    autoescape=True,
    finalize=_escaped,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(template: str, **values: Any) -> str:
    """Return a whole page.

    Args:
        template: path of a template inside the package, such as "reporting/report.html.j2"; it
            extends "reporting/page.html.j2".
        values: what the template shows, `title` among them; text is escaped.
    """
    return _TEMPLATES.get_template(template).render(**values)


def data_uri(picture: bytes, form: str) -> str:
    """Return a picture, "png" or "jpeg", as the address of an image."""
    return f"data:image/{form};base64,{base64.b64encode(picture).decode()}"
