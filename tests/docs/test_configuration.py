"""docs/configuration.md, the reference of the configuration."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from docs.generate_configuration import PAGE, allowed, page
from tests.support.markdown import ROOT


def test_the_page_is_up_to_date() -> None:
    """The repository contains exactly what the generator writes now."""
    assert PAGE.read_text() == page(), "run: python -m docs.generate_configuration"


def test_every_default_is_on_the_page() -> None:
    """Read independently, each key of config/default.yaml occurs once, with its value."""
    rows = re.findall(r"^\| `([\w.]+)` \| `(.+?)` \|", PAGE.read_text(), re.MULTILINE)
    shown = {key: json.loads(value) for key, value in rows}
    assert len(shown) == len(rows)
    defaults: dict[str, Any] = {}
    for name, value in yaml.safe_load((ROOT / "config/default.yaml").read_text()).items():
        if isinstance(value, dict) and name != "variants":
            defaults |= {f"{name}.{key}": default for key, default in value.items()}
        else:
            defaults[name] = value
    assert shown == defaults


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "integer, ≥ 1"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number, > 0, ≤ 1"),
        ({"enum": ["a", "b"], "type": "string"}, "`a`, `b`"),
        ({"const": "a", "type": "string"}, "`a`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"type": "array", "items": {"type": "integer"}}, "list of: integer"),
    ],
)
def test_ranges_in_words(schema: dict[str, Any], words: str) -> None:
    """Bounds, choices, alternatives and lists are described."""
    assert allowed(schema) == words
