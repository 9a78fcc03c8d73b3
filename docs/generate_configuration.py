"""Writes docs/configuration.md, the reference of every key, from the schema and the defaults.

python -m docs.generate_configuration
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from salcr.config.loading import DEFAULT_CONFIG
from salcr.config.schema import Config, Section
from salcr.config.stages import STAGES
from salcr.files import read_yaml

PAGE = Path(__file__).with_name("configuration.md")
_INTRODUCTION = """\
# Configuration reference

Written by `python -m docs.generate_configuration` from the schema in `salcr/config/` (allowed
values and meaning) and `config/default.yaml` (defaults): edit those, not this page.
[Changing something](changing.md) explains how to set a key and what a change runs again. For the
commands, a key such as `clustering.k1` is the flag `--clustering-k1`.
"""
_TYPES = {
    "array": "list", "boolean": "true or false", "integer": "integer", "null": "null",
    "number": "number", "object": "mapping", "string": "text",
}  # fmt: skip
_BOUNDS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
}  # fmt: skip
_HEADER = "| key | default | allowed | meaning |\n|---|---|---|---|\n"


def allowed(schema: dict[str, Any]) -> str:
    """Return in words what a JSON schema allows, such as "integer, ≥ 1"."""
    if "anyOf" in schema:
        return " or ".join(allowed(choice) for choice in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema["type"] == "array":
        return f"list of: {allowed(schema['items'])}"
    text = "name (letters, digits, `-`, `_`)" if "pattern" in schema else _TYPES[schema["type"]]
    bounds = [words.format(schema[key]) for key, words in _BOUNDS.items() if key in schema]
    return ", ".join([text, *bounds])


def section_text(name: str, model: type[Section], defaults: dict[str, Any]) -> str:
    """Return the heading of a section, its purpose, the stages that use it, and its table."""
    stages = [f"`{stage.command}`" for stage in STAGES.values() if name in stage.sections]
    used = ", ".join(stages) or "the workflow"
    keys = model.model_json_schema()["properties"]
    rows = "".join(row(f"{name}.{key}", schema, defaults[key]) for key, schema in keys.items())
    return f"## {name}\n\n{model.__doc__} Used by {used}.\n\n{_HEADER}{rows}"


def row(key: str, schema: dict[str, Any], default: Any) -> str:
    """Return the line of a key in its table."""
    cells = (f"`{key}`", f"`{json.dumps(default)}`", allowed(schema), schema.get("description", ""))
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    """Return the text of the whole page."""
    defaults = read_yaml(DEFAULT_CONFIG)
    schema = Config.model_json_schema()["properties"]
    fields = Config.model_fields.items()
    sections = {
        name: field.annotation
        for name, field in fields
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
    plain = [name for name, _ in fields if name not in sections]
    rows = "".join(row(name, schema[name], defaults[name]) for name in plain)
    parts = [_INTRODUCTION, f"## Outside the sections\n\n{_HEADER}{rows}"]
    parts += [section_text(name, model, defaults[name]) for name, model in sections.items()]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
