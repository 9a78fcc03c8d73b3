"""A hash of the code that a stage runs, so that editing it reruns the stage and nothing else."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
# What only carries settings and words between a person and a stage changes no result; nor does a
# hash.
_NO_RESULT = {
    "codehash", "config.cli", "config.loading", "config.schema", "config.stages", "errors", "log",
    "provenance", "training.tensorboard",
}  # fmt: skip


def stage_hash(stage: str, unused: Collection[str] = ()) -> str:
    """Return a hash of the stage's module and of all salcr modules that it imports.

    Comments, docstrings and layout do not count; an import inside a function does.

    Args:
        stage: name of the stage.
        unused: modules that it imports but does not run, such as the readers of other data sets,
            "datasets.sysu"; they do not count, nor does what only they import.
    """
    skipped = _NO_RESULT.union(unused)
    seen: dict[Path, str] = {}
    waiting = [_PACKAGE / "stages" / f"{stage.replace('-', '_')}.py"]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path], imported = _module(path)
            waiting += [other for other in imported if _name(other) not in skipped]
    text = "\n".join(f"{path.relative_to(_PACKAGE)} {seen[path]}" for path in sorted(seen))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _name(path: Path) -> str:
    """Return the name of a module inside the package, such as "drawing.curves"."""
    return ".".join(path.relative_to(_PACKAGE).with_suffix("").parts)


@cache
def _module(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return the dumped syntax tree of a module and the salcr modules that it imports."""
    tree = ast.parse(path.read_text())
    imported = [file for node in ast.walk(tree) for file in _imported(node)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a lambda's is no list
            node.body = [line for line in body if not _is_docstring(line)]  # type: ignore[attr-defined]
    return ast.dump(tree), tuple(imported)


def _is_docstring(node: ast.stmt) -> bool:
    """Tell whether a statement is a bare string: a docstring, of an attribute too."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _imported(node: ast.AST) -> list[Path]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return []
    inside = [name.split(".")[1:] for name in names if name.split(".")[0] == "salcr"]
    candidates = [_PACKAGE.joinpath(*parts).with_suffix(".py") for parts in inside if parts]
    candidates += [_PACKAGE.joinpath(*parts, "__init__.py") for parts in inside if parts]
    return [path for path in candidates if path.is_file()]
