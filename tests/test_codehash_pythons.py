"""The hash of a stage's code is the same under every Python and in every locale."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path

import pytest

from salcr import codehash
from tests.support.pythons import pythons

REPOSITORY = codehash.PACKAGE.parent

# name -> code whose hash is stored; each piece is one that a version of Python represented
# differently, or might
SOURCES = {
    "texts": """
a = f"{x}" f'{d["key"]!r:>{width}.{digits}f} of {{all}}' "and" f"{y:%Y-%m-%d {z}}" u"!"
b = f"{x = }, {x=!s:^20}, {x:}", rf"\\d{x}\\w", f'''
{
    (lambda: 1)()
} {f"{y:{'>'}{10}}"}''', f"", "" f"{x != y}" ""
c = "é \\ud800 \U0001fae8 \U0001f9cc \\N{BULLET}", b"\\x00 bytes" b"", f"\U0001fae8{x:\\N{BULLET}}"
""",
    "numbers": """
a = 0, 1, True, False, None, ..., 123_456_789_012_345_678_901_234_567_890, 0xFF, -1
b = 1.0, 1e-7, 1e16, 1e999, 0.1, 5e-324, 2j, 1.5e3j
""",
    "match": """
match point:
    case None | True | -1 | "a" | 1 + 2j: pass
    case [Point(x=0, y=_) as first, *_, {"k": v, **rest}] if (n := len(rest)) > 1: pass
    case [*others] | (a.b): pass
    case _: pass
""",
    "functions": """
@decorated
@decorator(1, *a, k=2, **b)
def f(a: int, b: "str" = "x", /, c=1, *d: *Ts, e, f=2, g: list[int] | None = None, **h) -> None:
    global w, größe
    return lambda *x, y=1, z: (yield)

class C(Base, metaclass=M):
    field: int
    (other): str = "s"
    self.third: float = 1.0
    def method(self): ...
""",
    "async": """
async def f():
    async with a as b, c: await d
    async for i in j: continue
    else: pass
    return [x async for x in y if x for (z, *w) in x], {**a, "b": 1}, {*a, 1}, {k: v for k in q}
""",
    "statements": """
from . import sibling
from ..above import name as other
import a.b, c as d
try:
    with (open(a) as b, c): x[1:, ::2, *y] = z[:1] = a if b else c
except* (E, F) as e: raise
else: assert a, "text"
finally: del x[-1], y.z
while not (a and b or c) and (d < e <= f is not g not in h): x @= ~y ** -z // 2
first, *rest = print(*a, sep="", **{}), (yield_ := 1)
""",
}
DIGESTS = {
    "texts": "7d6a59f968ea94c5",
    "numbers": "72b904287d298f39",
    "match": "548a0d09ac30b1f0",
    "functions": "eb6cff51fd02704e",
    "async": "91e4722d8e790c88",
    "statements": "eda043e6d878042c",
}

PRINT_HASHES = """
import json, sys
from pathlib import Path
from salcr import codehash
package = Path(sys.argv[1])
stages = codehash.stage_names(package)
print(json.dumps({stage: codehash.stage_hash(stage, package=package) for stage in stages}))
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a package whose stages are the sources."""
    package = tmp_path / "salcr"
    (package / "stages").mkdir(parents=True)
    (package / "equivalent_code.csv").write_text("module,code,counts_as,reason\n")
    for name, source in SOURCES.items():
        (package / f"stages/{name}.py").write_text(source, encoding="utf-8")
    return package


def hashes(python: str, package: Path, **environment: str) -> dict[str, str]:
    """Return stage -> hash, as another interpreter computes it for a package."""
    done = subprocess.run(
        [python, "-B", "-c", PRINT_HASHES, str(package)],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_every_python_takes_the_stored_hashes(sources: Path) -> None:
    """Each interpreter on this machine computes the hashes stored here."""
    taken = {version: hashes(python, sources) for version, python in pythons().items()}
    assert taken == dict.fromkeys(pythons(), DIGESTS)


def test_every_python_takes_the_same_hashes_of_the_stages() -> None:
    """Each real stage has one hash, whichever interpreter on this machine computes it."""
    here = {stage: codehash.stage_hash(stage) for stage in codehash.stage_names()}
    assert len(set(here.values())) == len(here) > 20
    for version, python in pythons().items():
        assert hashes(python, codehash.PACKAGE) == here, version


def test_the_locale_does_not_count(sources: Path) -> None:
    """Even where Python assumes that files are ASCII, other characters are read."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for version, python in pythons().items():
        assert hashes(python, sources, **ascii_only) == DIGESTS, version


def test_where_python_cuts_the_texts_of_an_f_string_does_not_count() -> None:
    """Texts in pieces, and empty ones, as in format specifications of Python 3.12, do not count."""

    def digest(*texts: str) -> str:
        spec = ast.JoinedStr([ast.Constant(text) for text in texts])
        value = ast.FormattedValue(ast.Name("x"), -1, spec)
        return codehash._canonical(ast.JoinedStr([*spec.values, value]))

    assert digest("ab") == digest("a", "", "b") == digest("", "a", "b", "")
    assert digest("ab") != digest("a", "c")


def test_fields_of_a_later_python_do_not_count_while_they_are_empty() -> None:
    """An empty new field is ignored, such as type parameters in code without them."""

    class Later(ast.Return):
        _fields = ("value", "types", "other", "is_new")

    Later.__name__ = "Return"
    value = ast.Name("x")
    assert codehash._canonical(Later(value, [], None, 0)) == codehash._canonical(ast.Return(value))
    assert codehash._canonical(Later(value, [], None, 1)) != codehash._canonical(ast.Return(value))
