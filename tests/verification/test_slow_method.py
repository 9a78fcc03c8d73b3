"""The slow method itself, on the released code's values: it may judge only if it agrees there."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest

from tests.reference import slow_network
from tests.reference.slow_golden import SLOW
from tests.support.helpers import canonical, close, golden_arrays, golden_shapes
from tests.support.plans import REPOSITORY

# CMRR rounds to float16; a neck magnifies the rounding of preceding layers, see the README
LOOSE = {"cmrr_": 5e-3, "train_global": 1e-3, "train_": 2e-3}

NUM_RESULTS = {
    "jaccard": 3, "sinkhorn": 1, "cmfp": 1, "association": 8, "other_associations": 4,
    "memory": 4, "losses": 26, "metrics": 9, "rerank": 3,
    "stage_one": 10,
}  # fmt: skip


def agree(actual: dict[str, Any], expected: dict[str, np.ndarray]) -> None:
    """Assert that every result is within the tolerance of its kind."""
    for name, values in actual.items():
        reference = expected[name]
        if name.startswith("labels_"):
            assert canonical(values) == canonical(reference), name
        elif reference.dtype.kind == "i":
            np.testing.assert_array_equal(values, reference, err_msg=name)
        elif name == "plan":  # all entries are below the tolerance: compare shares of the row
            close(values * len(values), reference * len(values))
        else:
            kinds = [atol for kind, atol in LOOSE.items() if name.startswith(kind)]
            close(values, reference, **({"atol": kinds[0]} if kinds else {}))


@pytest.mark.parametrize("name", SLOW)
def test_slow_results_are_the_released_ones(name: str) -> None:
    """From the inputs in a shipped file, the slow method computes all of the file's results."""
    expected = golden_arrays(name)
    actual = SLOW[name](expected)
    agree(actual, expected)
    assert len(actual) == NUM_RESULTS[name]


def test_slow_network_is_the_released_one() -> None:
    """Random weights, both modes, all three patterns: the released network's features."""
    expected = {**golden_arrays("network"), **golden_arrays("network_cross")}
    actual = slow_network.forward(expected, golden_shapes())
    agree(actual, expected)
    assert expected.keys() - actual.keys() == {"weight_seed", "image_seed"}  # nothing left out


def test_slow_method_is_independent() -> None:
    """None of its files imports anything from salcr."""
    paths = [*REPOSITORY.glob("tests/reference/slow_*.py"), REPOSITORY / "tests/support/helpers.py"]
    assert len(paths) == 8
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "salcr" for name in names), path
