"""Which differences between two pieces of code change the hash of a stage's code."""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path

import pytest

from salcr import codehash

# what is reworded -> the same code in other words
SAME = {
    "an error's text": ("raise E('a')", "raise E(f'b {x + 1}', y) from None"),
    "an error without a text": ("raise lib.E", "raise lib.E('a') from error"),
    "a message": ("say('a')", "say(f'b {x(1):.2f}', end='')"),
    "a warning": ("log.warn('a')", "log.warn('b' + c)"),
    "a progress bar": (
        "for x in progress(y, title='a'): z(x)",
        "for x in progress(y, title=f'b {n}', total=len(y)): z(x)",
    ),
    "a docstring": ("def f():\n  'a'\n  return 1", "def f():\n  return 1"),
    "quotes and parentheses": ("x = (u'a' \"b\")", "x = 'ab'"),
    "an f-string in pieces": ("x = f'a' f'{y}' 'b' f''", "x = f'a{y}b'"),
    "an empty format specification": ("x = f'{y:}'", "x = f'{y}'"),
}
# what is edited -> code that does something else
OTHER = {
    "an error that is gone": ("if x: raise E('a')", "if x: pass"),
    "an error's type": ("raise E('a')", "raise F('a')"),
    "an error's condition": ("if x > 0: raise E('a')", "if x >= 0: raise E('a')"),
    "an error that is raised again": ("raise", "raise E"),
    "an error of a variable": ("raise (a or b)", "raise (b or a)"),
    "a text assigned first": ("text = 'a'; raise E(text)", "text = 'b'; raise E(text)"),
    "a message that is gone": ("say('a')", "pass"),
    "a warning instead of a message": ("say('a')", "warn('a')"),
    "a printed text": ("print('a')", "print('b')"),
    "items under a progress bar": ("progress(x, title='a')", "progress(y, title='a')"),
    "an argument called title": ("plot(x, title='a')", "plot(x, title='b')"),
    "an f-string's text": ("x = f'a{y}'", "x = f'b{y}'"),
    "an f-string's format": ("x = f'{y:.1f}'", "x = f'{y:.2f}'"),
    "an f-string's conversion": ("x = f'{y!r}'", "x = f'{y!s}'"),
    "text instead of an f-string": ("x = f'{y}'", "x = '{y}'"),
    "bytes": ("x = 'a'", "x = b'a'"),
    "a number's type": ("x = 1", "x = 1.0"),
    "a truth value": ("x = 1", "x = True"),
    "zero": ("x = 0", "x = None"),
    "a matched constant": ("match x:\n  case None: y", "match x:\n  case False: y"),
    "a slice's end": ("x[1:]", "x[:1]"),
    "a default": ("def f(a, *, b, c=1): pass", "def f(a, *, b=1, c): pass"),
    "an unpacked argument": ("f(*a)", "f(**a)"),
    "a decorator": ("@d\ndef f(): pass", "def f(): pass"),
    "an asynchronous loop": ("[x async for x in y]", "[x for x in y]"),
    "an annotation": ("x: int = 1", "x: float = 1"),
    "a relative import": ("from . import x", "from .. import x"),
    "an import's name": ("import x", "import x as y"),
}


def hash_of(folder: Path, code: str) -> str:
    """Return the hash of a stage whose only module contains the code, inside a function."""
    package = Path(tempfile.mkdtemp(dir=folder)) / "salcr"  # cached by name, so a new one
    (package / "stages").mkdir(parents=True)
    (package / "equivalent_code.csv").write_text("module,code,counts_as,reason\n")
    body = textwrap.indent(code, "    ")
    (package / "stages/one.py").write_text(f"async def run():\n{body}\n")
    return codehash.stage_hash("one", package=package)


@pytest.mark.parametrize("change", SAME)
def test_a_reworded_text_does_not_count(tmp_path, change):
    """Text for human readers can be corrected without rerunning anything."""
    first, second = SAME[change]
    assert hash_of(tmp_path, first) == hash_of(tmp_path, second)


@pytest.mark.parametrize("change", OTHER)
def test_what_acts_differently_counts(tmp_path, change):
    """Small differences of syntax that change behavior, next to messages or not, all count."""
    first, second = OTHER[change]
    assert hash_of(tmp_path, first) != hash_of(tmp_path, second)
