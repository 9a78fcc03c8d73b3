"""A hash of the code that a stage runs, so that editing it reruns the stage and nothing else.

It covers the digests of all modules that the stage imports. A module's digest is taken of its
syntax tree, the same under every Python from 3.11 on and every locale. Not counted, since they
change no result:

- comments, docstrings and layout;
- in a `raise` statement, everything but the type of the exception;
- the arguments of `say` and `warn`, and the title and total of `progress`.

So an assignment by `:=` or a call for its effect does not belong inside such an expression. That
the statement is there counts, and so does a message that was assigned to a variable before.

`python -m salcr.codehash` prints the hash of every stage. With `--accept "why no result changes"`
the edits since the last commit are accepted as harmless: each edited module gets a row in
equivalent_code.csv, by which this code of the module counts as the committed one, until its next
edit. Rows are of modules, so that edits accepted on two branches remain accepted after a merge.
A new module's row says that it counts as none; other changes of what a stage runs are refused.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from salcr.errors import SalcrError

PACKAGE = Path(__file__).parent
_EQUIVALENT, _NONE = "equivalent_code.csv", ""  # the table; what a new module counts as in it
_COLUMNS = ["module", "code", "counts_as", "reason"]
# What carries settings and words between a person and a stage, hashes, or refuses files.
_NO_RESULT = {
    "codehash", "config.checkpoint_kinds", "config.cli", "config.figure_kinds",
    "config.index_kinds", "config.json_kinds", "config.kinds", "config.loading", "config.method",
    "config.paths", "config.reading", "config.schema", "config.section", "config.stages",
    "config.synthetic", "config.table_kinds", "errors", "log", "provenance", "training.tensorboard",
}  # fmt: skip
_MESSAGES = {"say", "warn"}
_WORDS_OF_PROGRESS = {"title", "total"}


def stage_hash(stage: str, unused: Collection[str] = (), package: Path = PACKAGE) -> str:
    """Return a hash of the stage's module and of all salcr modules that it imports.

    An import inside a function counts as well; accepted code has the hash of the older code.

    Args:
        stage: name of the stage.
        unused: modules that it imports but does not run, such as the readers of other data sets,
            "datasets.sysu"; they do not count, nor does what only they import.
        package: folder of the package.

    Raises:
        SalcrError: equivalent_code.csv contradicts itself.
    """
    digests = _digests(stage, unused, package)
    return _hash("\n".join(f"{name} {digests[name]}" for name in sorted(digests)))


def stage_names(package: Path = PACKAGE) -> list[str]:
    """Return the names of all stages, sorted."""
    stems = (path.stem for path in (package / "stages").glob("*.py"))
    return sorted(stem for stem in stems if stem != "__init__")


def imported_modules(path: Path, package: Path = PACKAGE) -> tuple[Path, ...]:
    """Return the files of the salcr modules that a module imports itself, packages included."""
    return _module(path, package)[1]


def accept(reason: str, package: Path = PACKAGE) -> tuple[list[str], list[str]]:
    """Let the modules of the working tree count as those of the last commit.

    Args:
        reason: why no result changes, for the reader of equivalent_code.csv.
        package: folder of the package, in a Git repository.

    Returns:
        The names of the modules that differed, and of the stages that run them. A stage that runs
        other modules than before, new ones apart, is not among these and will run again.

    Raises:
        SalcrError: nothing can be accepted, or Git cannot tell what was committed.
    """
    if not reason.strip():
        raise SalcrError("--accept: say why no result changes")
    with TemporaryDirectory() as folder:
        committed = _export_last_commit(package, Path(folder))
        before = {stage: _digests(stage, (), committed) for stage in stage_names(committed)}
    after = {stage: _digests(stage, (), package) for stage in stage_names(package)}
    stages = [stage for stage in after if stage in before and after[stage] != before[stage]]
    if not stages:
        raise SalcrError("nothing to accept: all stages' code counts as at the last commit")
    older, known = {}, set().union(*before.values())
    others = {s: sorted((before[s].keys() ^ after[s].keys()) & known) for s in stages}
    if not (stages := [stage for stage in stages if not others[stage]]):
        which = "; ".join(f"{s} runs other modules ({', '.join(o)})" for s, o in others.items())
        raise SalcrError(f"only edits inside of modules and new ones can be accepted: {which}")
    for stage in stages:
        changed = after[stage].items() - before[stage].items()
        older.update({(name, code): before[stage].get(name, _NONE) for name, code in changed})
    path = package / _EQUIVALENT
    _resolve({**_read_equivalent(path), **older}, path)  # refuses what would contradict itself
    with path.open("a", encoding="utf-8", newline="") as file:
        rows = ([*key, older[key], reason] for key in sorted(older))
        csv.writer(file, lineterminator="\n").writerows(rows)
    _equivalent.cache_clear()
    return sorted(name for name, _ in older), stages


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _digests(stage: str, unused: Collection[str], package: Path) -> dict[str, str]:
    """Return name -> digest that counts, of all modules that the stage runs."""
    skipped = _NO_RESULT.union(unused)
    equivalent = _equivalent(package)
    digests: dict[str, str] = {}
    waiting = [package / "stages" / f"{stage}.py"]
    while waiting:
        path = waiting.pop()
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        if name not in digests and name not in skipped:
            code, imported = _module(path, package)
            digests[name] = equivalent.get((name, code), code)
            waiting += imported
    return {name: digest for name, digest in digests.items() if digest != _NONE}


@cache
def _module(path: Path, package: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the digest of a module and the salcr modules that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = (file for line in _statements(tree) for file in _imported(line, path, package))
    return _hash(_canonical(tree)), tuple(imported)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements inside a node, at any depth."""
    for name in ("body", "orelse", "handlers", "finalbody", "cases"):
        for line in getattr(node, name, ()):
            yield line
            yield from _statements(line)


def _imported(node: ast.AST, path: Path, package: Path) -> list[Path]:
    """Return the files of the package that a statement imports, if it does."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        above = ["salcr", *path.relative_to(package).parts][: -node.level] if node.level else []
        start = ".".join([*above, *filter(None, [node.module])])
        names = [start, *(f"{start}.{alias.name}" for alias in node.names)]
    else:
        return []
    inside = [name.split(".")[1:] for name in names if name.split(".")[0] == "salcr"]
    # With a module, Python runs the packages that hold it.
    bases = {package.joinpath(*parts[: end + 1]) for parts in inside for end in range(len(parts))}
    files = {base.with_suffix(".py") for base in bases} | {base / "__init__.py" for base in bases}
    return sorted(filter(Path.is_file, files))


def _canonical(value: object) -> str:
    """Return a part of a syntax tree as text: the class of a node and its fields, sorted.

    Left out are empty fields, which differ between versions of Python. Strings are in ASCII: which
    characters are printable differs, too.
    """
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    if not isinstance(value, ast.AST):
        return ascii(value)
    kind = type(value).__name__
    if isinstance(value, ast.Constant | ast.MatchSingleton):  # whose value may be None or 0
        return f"{kind}({value.value!a})"
    if isinstance(value, ast.Raise):
        error = value.exc.func if isinstance(value.exc, ast.Call) else value.exc
        return f"{kind}({_canonical(error)})"
    names = sorted({*value._fields} - {"ctx"})  # its place says whether a name is set
    fields = {name: getattr(value, name, None) for name in names}
    if isinstance(value, ast.Call):
        fields.update(_counted_arguments(value))
    elif isinstance(value, ast.JoinedStr):
        fields["values"] = _joined(value.values)
    elif isinstance(value, ast.FormattedValue) and isinstance(value.format_spec, ast.JoinedStr):
        fields["format_spec"] = _joined(value.format_spec.values)
    elif isinstance(body := fields.get("body"), list):  # a lambda's is an expression
        fields["body"] = [line for line in body if not _is_docstring(line)]
    filled = (item for item in fields.items() if item[1] not in (None, 0, []))
    return f"{kind}({','.join(f'{name}={_canonical(part)}' for name, part in filled)})"


def _is_docstring(node: ast.stmt) -> bool:
    """Tell whether a statement is a bare string: a docstring, of an attribute too."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _counted_arguments(call: ast.Call) -> dict[str, list[ast.expr] | list[ast.keyword]]:
    """Return the arguments of a call that count, where not all do."""
    name = getattr(call.func, "id", None) or getattr(call.func, "attr", None)
    if name in _MESSAGES:
        return {"args": [], "keywords": []}
    if name == "progress":
        return {"keywords": [word for word in call.keywords if word.arg not in _WORDS_OF_PROGRESS]}
    return {}


def _joined(parts: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string, its texts as few and as long as possible.

    Versions of Python differ in where they cut them, and in whether they keep empty ones.
    """
    joined: list[ast.expr] = []
    for part in parts:
        if isinstance(part, ast.Constant) and joined and isinstance(joined[-1], ast.Constant):
            joined[-1] = ast.Constant(f"{joined[-1].value!s}{part.value!s}")
        elif not isinstance(part, ast.Constant) or part.value:
            joined.append(part)
    return joined


@cache
def _equivalent(package: Path) -> dict[tuple[str, str], str]:
    """Return module and digest -> the oldest digest that it counts as."""
    path = package / _EQUIVALENT
    return _resolve(_read_equivalent(path), path)


def _read_equivalent(path: Path) -> dict[tuple[str, str], str]:
    """Return module and digest -> the older digest, of every row of the file."""
    older: dict[tuple[str, str], str] = {}
    # A commit may be older than the file.
    text = path.read_text(encoding="utf-8") if path.exists() else ",".join(_COLUMNS)
    header, *rows = list(csv.reader(text.splitlines())) or [[]]
    if any(len(row) != len(_COLUMNS) for row in rows) or header != _COLUMNS:
        raise SalcrError(f"{path}: every row needs the columns {', '.join(_COLUMNS)}")
    for module, code, counts_as, _ in rows:
        if older.setdefault((module, code), counts_as) != counts_as:
            raise SalcrError(f"{path}: {module} {code} counts as two; delete one of the rows")
    return older


def _resolve(older: dict[tuple[str, str], str], path: Path) -> dict[tuple[str, str], str]:
    """Return the same with the oldest digest, at the end of each chain of rows."""
    oldest = {}
    for module, first in older:
        passed, code = {first}, older[module, first]
        while (module, code) in older and code not in passed:
            passed.add(code)
            code = older[module, code]
        if code in passed:
            raise SalcrError(f"{path}: {module} {code} counts as itself; delete one of the rows")
        oldest[module, first] = code
    return oldest


def _export_last_commit(package: Path, folder: Path) -> Path:
    """Write the package as it was last committed into a folder and return where it is."""
    words = ["git", "-C", str(package.parent), "archive", "--format=zip", "HEAD", package.name]
    try:
        done = subprocess.run(words, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", None) or str(error).encode()).decode(errors="replace")
        raise SalcrError(f"{package}: no commit to compare with, {said.strip()}") from None
    zipfile.ZipFile(io.BytesIO(done.stdout)).extractall(folder)
    return folder / package.name


def main(words: list[str] | None = None) -> int:
    """Print the hash of every stage's code, or accept the edits since the last commit."""
    parser = argparse.ArgumentParser("python -m salcr.codehash", description=main.__doc__)
    parser.add_argument("--accept", metavar="REASON", help="why the edits change no result")
    reason = parser.parse_args(words).accept
    try:
        if reason is None:
            print("\n".join(f"{stage} {stage_hash(stage)}" for stage in stage_names()))
        else:
            modules, stages = map(", ".join, accept(reason))
            print(f"count as at the last commit: {modules}")
            print(f"so these stages are not run again: {stages}")
    except SalcrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
