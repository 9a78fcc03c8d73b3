"""Reads configurations: YAML without what it drops or misreads in silence.

YAML 1.1 keeps only the last of two equal keys, takes `010` for eight and `1:30` for ninety, and
`1e-3` for text. Here the first three are errors, and the last one is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from salcr.errors import SalcrError

_INTEGER, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_WITH_EXPONENT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_OCTAL = re.compile(r"[-+]?0[0-7_]+$")
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")  # how UTF-16 and UTF-32 begin


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice and numbers that have another value than they seem to."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                where = (
                    f"in lines {lines[name]} and {line}" if line > lines[name] else "in one line"
                )
                problem = f"`{name}` is given twice, {where}; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            lines[name] = line
        return node

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Return the number of a scalar."""
        text = node.value
        is_integer = node.tag == _INTEGER
        value = self.construct_yaml_int(node) if is_integer else self.construct_yaml_float(node)
        if ":" in text:
            problem = f'YAML takes {text} for {value}; write {value}, or "{text}" for text'
        elif is_integer and _OCTAL.match(text):
            problem = f"YAML takes {text} for {value}, in base 8; write {int(text)} or {value}"
        else:
            return float(value) if node.tag == _FLOAT else int(value)
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_Loader.add_implicit_resolver(_FLOAT, _WITH_EXPONENT, [*"-+.0123456789"])
for _tag in (_INTEGER, _FLOAT):
    _Loader.add_constructor(_tag, _Loader.construct_number)


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `overlay`, merged section by section."""
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def read_configurations(paths: Iterable[Path], words: Iterable[str] = ()) -> dict[str, Any]:
    """Return the values of configuration files, each laid over those before it.

    Args:
        paths: the files.
        words: `key=value` of the command line, laid over all of them; the value is YAML.

    Raises:
        SalcrError: one cannot be read, see `read_configuration` and `parse_value`.
    """
    values: dict[str, Any] = {}
    for path in paths:
        values = merge(values, read_configuration(path))
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise SalcrError(f"--config {word}: write it as key=value")
        try:
            values = merge(values, {key: parse_value(value)})
        except SalcrError as error:
            raise SalcrError(f"--config {word}: {error}") from None
    return values


def read_configuration(path: Path) -> dict[str, Any]:
    """Return the values in a configuration file.

    Raises:
        SalcrError: the file is missing, empty, not in UTF-8, not YAML or not a mapping, a key is
            given twice, a number can be misread, or it would run code.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SalcrError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = "is in UTF-16" if content.startswith(_WIDE) else f"line {line} is not in UTF-8"
        raise SalcrError(f"{path}: {found}; save the file in UTF-8") from None
    try:
        values = parse_value(text)
    except SalcrError as error:
        raise SalcrError(f"{path}: {error}") from None
    if values is None:
        raise SalcrError(f"{path}: holds no keys; leave the file out or write `key: value` pairs")
    if not isinstance(values, dict):
        raise SalcrError(f"{path}: must hold `key: value` pairs")
    if "__use_yte__" in values:
        raise SalcrError(f"{path}: `__use_yte__` lets Snakemake run code in the file; remove it")
    return values


def parse_value(text: str) -> Any:
    """Return the value that a YAML text holds.

    Raises:
        SalcrError: it is not YAML, a key is given twice, or a number can be misread.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark and "\n" in text.strip() else ""
        raise SalcrError(f"{line}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: dates, huge numbers
        raise SalcrError(f"not valid YAML ({' '.join(str(error).split())})") from None
