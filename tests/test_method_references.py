"""docs/METHOD.md and references to it: sections, links, paths, configuration keys, defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from salcr.config.loading import merge, validate
from salcr.config.schema import Config, Section
from salcr.files import read_yaml

ROOT = Path(__file__).parents[1]
METHOD = ROOT / "docs/METHOD.md"
TEXT = METHOD.read_text()
HEADINGS = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
NUMBERS = {match[0] for title in HEADINGS if (match := re.match(r"\d+(\.\d+)*(?= )", title))}
KEY = re.compile(r"(?P<section>[a-z]\w*)\.(?P<name>\w+)(?:: (?P<value>.+))?")
SPANS = re.findall(r"`([^`\n]+)`", TEXT)
"""What is set as code."""

_NUMBER = r"\d+(?:\.\d+)*"
_LIST = rf"{_NUMBER}(?:(?:,\s+|\s+and\s+){_NUMBER})*"
REFERENCE = re.compile(rf"docs/METHOD\.md,\s+sections?\s+({_LIST})|(?<!\w)METHOD\s+({_LIST})")
MENTION = re.compile(r"(?<![\w/])METHOD\b(?!\.md[\])#])")
"""Without a section; links in Markdown and docs/METHOD.md as a whole do not count."""


def citing_files() -> list[Path]:
    """Return the repository's Python and Markdown files that may cite METHOD, except this one."""
    folders = ("salcr", "tests", "benchmarks", "workflow", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.*")]
    files += ROOT.glob("*.*")
    mine = (Path(__file__), METHOD)
    return sorted(p for p in files if p.suffix in (".py", ".md") and p not in mine)


def cited_numbers(text: str) -> list[str]:
    """Return the section numbers cited in a text."""
    lists = [match[1] or match[2] for match in REFERENCE.finditer(text)]
    return [number for numbers in lists for number in re.findall(_NUMBER, numbers)]


def anchor(title: str) -> str:
    """Return the fragment that a Markdown renderer assigns to a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def parameters() -> list[list[str]]:
    """Return key, default and SYSU-MM01's value for every row of the table of parameters."""
    rows = [re.findall(r"`([^`]+)`", line) for line in TEXT.splitlines() if line.startswith("|")]
    return [row[:3] for row in rows if len(row) >= 3]


def value_of(values: dict[str, Any], key: str) -> Any:
    """Return the value of a key such as memory.momentum."""
    for word in key.split("."):
        values = values[word]
    return values


def configuration_keys() -> set[str]:
    """Return every key of the configuration, including sections and top-level keys."""
    keys = set(Config.model_fields)
    for section, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            keys |= {f"{section}.{name}" for name in field.annotation.model_fields}
    return keys


def test_every_cited_section_is_a_heading() -> None:
    """Docstrings and pages cite only numbers that exist in METHOD.md, at least 20 times."""
    cited = {path: cited_numbers(path.read_text()) for path in citing_files()}
    missing = {path.name: set(numbers) - NUMBERS for path, numbers in cited.items()}
    assert {name: numbers for name, numbers in missing.items() if numbers} == {}
    assert sum(len(numbers) for numbers in cited.values()) >= 20


def test_every_mention_has_a_section() -> None:
    """Citations have one of two forms: `METHOD 2.7`, or `docs/METHOD.md, section 2.7`."""
    loose = {
        path.name: [match[0] for match in MENTION.finditer(REFERENCE.sub("", path.read_text()))]
        for path in citing_files()
    }
    assert {name: match for name, match in loose.items() if match} == {}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("(METHOD 2.7).", ["2.7"]),
        ("see docs/METHOD.md, sections 2.2,\n3.1.3 and 5.", ["2.2", "3.1.3", "5"]),
        ("docs/METHOD.md,\n    section 3.1.2.", ["3.1.2"]),
        ("METHOD 2.2 and 3.1 define", ["2.2", "3.1"]),
        ("_METHOD 3", []),
    ],
)
def test_references_are_recognized(text: str, numbers: list[str]) -> None:
    """The pattern reads both forms, several numbers, and line breaks between them."""
    assert cited_numbers(text) == numbers


def test_numbers_of_headings_are_unique_and_in_order() -> None:
    """A cited number leads to one heading, and every subsection follows its section."""
    numbers = [match[0] for title in HEADINGS if (match := re.match(r"\d+(\.\d+)*(?= )", title))]
    split = [tuple(map(int, number.split("."))) for number in numbers]
    assert split == sorted(set(split))
    assert {parent[:-1] for parent in split if len(parent) > 1} <= set(split)
    assert {f"2.{n}" for n in range(1, 9)} <= NUMBERS


def test_links_lead_to_headings_and_files() -> None:
    """Each link to a place in METHOD.md has a heading, and each link from it to a page a file."""
    targets = re.findall(r"\]\(([^)\s]+)\)", TEXT)
    inside = {target[1:] for target in targets if target.startswith("#")}
    assert inside
    for path in citing_files():
        inside |= set(re.findall(r"METHOD\.md#([\w-]+)", path.read_text()))
    assert inside <= {anchor(title) for title in HEADINGS}
    pages = [target for target in targets if not target.startswith(("#", "https://"))]
    assert [page for page in pages if not (METHOD.parent / page).exists()] == []


def test_named_paths_exist() -> None:
    """Every module and file named in METHOD.md exists, and most modules of the method are named."""
    named = {span for span in SPANS if "/" in span}
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
    rooms = ("losses", "models/network.py", "pseudo_labels", "data/samplers.py")
    modules = {p for room in rooms for p in (ROOT / "salcr").glob(f"{room}/*.py")}
    modules -= {p for p in modules if p.stem in ("__init__", "arguments", "kernels", "public")}
    assert {str(path.relative_to(ROOT)) for path in modules} <= named


def test_named_keys_exist() -> None:
    """Every configuration key named in METHOD.md is in the schema."""
    named = [match for span in SPANS if (match := KEY.fullmatch(span))]
    assert len(named) > 40
    assert {key["section"] + "." + key["name"] for key in named} <= configuration_keys()


def test_named_values_are_allowed() -> None:
    """Every `key: value` named in METHOD.md fits the schema."""
    valued = [match for span in SPANS if (match := KEY.fullmatch(span)) and match["value"]]
    assert valued
    for key in valued:
        value = {key["section"]: {key["name"]: yaml.safe_load(key["value"])}}
        validate(merge(read_yaml(ROOT / "config/default.yaml"), value))


def test_defaults_are_those_of_the_configuration() -> None:
    """The table's two columns equal config/default.yaml, without and with config/sysu.yaml."""
    default = read_yaml(ROOT / "config/default.yaml")
    sysu = merge(default, read_yaml(ROOT / "config/sysu.yaml"))
    rows = parameters()
    assert len(rows) > 30
    for key, *shown in rows:
        expected = [value_of(default, key), value_of(sysu, key)]
        assert [yaml.safe_load(value) for value in shown] == expected, key


def test_equations_survive_a_renderer() -> None:
    """Formulas avoid what Markdown interprets: backslashes before punctuation, and < and *."""
    blocks = re.findall(r"^\$\$\n(.+?)\n\$\$$", TEXT, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^\$\$\n.+?\n\$\$$|`[^`\n]+`", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"\$([^$]+)\$", rest)
    assert len(blocks) > 15
    assert len(inline) > 100
    for formula in [*blocks, *inline]:
        assert not re.search(r"\\[^A-Za-z]|[<>*]", formula), formula
        assert formula.count("{") == formula.count("}"), formula
    assert not any("\n" in formula for formula in inline)
